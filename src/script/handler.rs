//! A script's handler as the engine sees it: a request becomes a call, and what that returns a response.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Weak,
    task::{Context, Poll, Waker},
};

use mlua::prelude::{LuaResult, LuaTable, LuaValue};

use super::{
    Script,
    encoding::{PlainAnswer, take_source, write_answer},
    raw_vm::{Called, Part},
    scheduler::Delivery,
};
use crate::engine::{
    answer::Shape,
    intake::Refusal,
    numbered::Numbered,
    service::{Answer, BodyPart, Reply, Request, RequestBody, Rest, Service},
    websocket::{Upgrade, handshake::ClientHandshake},
};

/// The exchanges that are not over, by number.
#[derive(Default)]
pub struct Exchanges {
    open: RefCell<Numbered<Exchange>>,
    /// The exchange whose handler has not yielded yet; 0 when there is none.
    current: Cell<u64>,
    /// The WebSocket that its client asks for.
    handshake: RefCell<Option<ClientHandshake>>,
    /// What its handler has answered, if that is not written.
    answered: RefCell<Option<HandlerAnswer>>,
    /// The answer that makes it one.
    upgraded: RefCell<Option<(Vec<u8>, Box<Upgrade>)>>,
}

/// An exchange whose handler waits, or may wait for the request's body, or whose answer's body is sent.
struct Exchange {
    shape: Shape,
    shape_once_read: Shape,
    handshake: Option<ClientHandshake>,
    /// The worker in which its handler waits.
    worker: Option<u64>,
    answer: Option<Answer>,
    connection: Option<Waker>,
    client_ended: bool,
    body: BodyPipe,
    /// Why the request's body does not come to its end.
    broken: Option<Refusal>,
}

/// A streamed request body between the connection and the script, one part at a time.
#[derive(Default)]
struct BodyPipe {
    wanted: bool,
    part: Option<Result<Option<Vec<u8>>, String>>,
    /// No more parts come: it is whole, or broken.
    over: bool,
    /// Usually one.
    readers: Vec<Waker>,
}

impl Exchanges {
    /// Whether the client of an exchange that is not over has ended its side.
    pub fn has_client_ended(&self, number: u64) -> bool {
        let open = self.open.borrow();
        open.get(&number)
            .is_some_and(|exchange| exchange.client_ended)
    }

    /// The WebSocket that the client of an exchange asks for, while it has no answer.
    pub fn handshake(&self, number: u64) -> Option<ClientHandshake> {
        if self.current.get() == number {
            return self.handshake.borrow().clone();
        }
        let exchanges = self.open.borrow();
        let exchange = exchanges.get(&number)?;
        exchange
            .handshake
            .clone()
            .filter(|_| exchange.answer.is_none())
    }

    /// Answers an exchange that has a [`Self::handshake`] with `bytes`: its connection becomes a WebSocket.
    pub fn upgrade(&self, number: u64, bytes: Vec<u8>, upgrade: Box<Upgrade>) {
        if self.current.get() == number {
            self.handshake.take();
            self.upgraded.replace(Some((bytes, upgrade)));
            return;
        }
        if let Some(exchange) = self.open.borrow_mut().get_mut(&number) {
            exchange.answer = Some(Answer {
                bytes,
                rest: Rest::Upgrade(upgrade),
            });
            exchange.connection.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The handler of an exchange is called.
    fn begin(&self, number: u64, request: &Request<'_>) {
        self.current.set(number);
        *self.handshake.borrow_mut() = if request.head.upgrade() {
            ClientHandshake::of(request)
        } else {
            None
        };
    }

    /// The handler has returned or waits; the answer, if it was upgraded.
    fn end_call(&self) -> Option<(Vec<u8>, Box<Upgrade>)> {
        self.current.set(0);
        self.upgraded.take()
    }

    /// Takes the answer of the handler that is called.
    pub fn answered(&self, answer: HandlerAnswer) {
        self.answered.replace(Some(answer));
    }

    /// Takes a handler's late answer. When its client is gone, the function that would have made its body learns that.
    pub fn answer(&self, script: &Script, number: u64, answer: HandlerAnswer) {
        let exchanges = self.open.borrow();
        let exchange = exchanges.get(&number);
        // One that was upgraded has its answer.
        let exchange = exchange.filter(|exchange| exchange.answer.is_none());
        let known = exchange.map(|exchange| (exchange.shape, exchange.broken.clone()));
        drop(exchanges);
        let Some((shape, broken)) = known else {
            drop(take_source(script, &answer));
            return;
        };
        let mut bytes = Vec::new();
        let rest = match broken.filter(|_| answer.status.is_none()) {
            // The handler had nothing to say to what it got of the body.
            Some(refusal) => {
                let date = script.engine.clock().date();
                refusal.write(shape.refusal_body(), &date, &mut bytes);
                Rest::Close
            }
            None => write_answer(script, number, shape, answer, &mut bytes),
        };
        if let Some(exchange) = self.open.borrow_mut().get_mut(&number) {
            exchange.answer = Some(Answer { bytes, rest });
            exchange.worker = None;
            exchange.connection.take().into_iter().for_each(Waker::wake);
        }
    }

    /// The next part of an exchange's request body: a string, or nil at its end.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub async fn read_body(script: Weak<Script>, number: u64) -> Result<Delivery, String> {
        let part = poll_fn(|context| {
            let gone = Err("the client is gone or has its answer".to_owned());
            let Some(script) = script.upgrade() else {
                return Poll::Ready(gone);
            };
            let mut exchanges = script.exchanges.open.borrow_mut();
            let Some(exchange) = exchanges.get_mut(&number) else {
                return Poll::Ready(gone);
            };
            if let Some(part) = exchange.body.part.take() {
                return Poll::Ready(part);
            }
            if exchange.body.over {
                return Poll::Ready(Ok(None));
            }
            exchange.body.wanted = true;
            let readers = &mut exchange.body.readers;
            if !readers.iter().any(|one| one.will_wake(context.waker())) {
                readers.push(context.waker().clone());
            }
            exchange.connection.take().into_iter().for_each(Waker::wake);
            Poll::Pending
        })
        .await?;
        Ok(Box::new(move |lua| {
            use mlua::IntoLuaMulti;
            part.map(|bytes| lua.create_string(bytes))
                .transpose()?
                .into_lua_multi(lua)
        }))
    }

    /// Keeps an exchange until it is over.
    fn keep(&self, number: u64, request: &Request<'_>, worker: Option<u64>) {
        let make = || Exchange {
            shape: request.shape,
            shape_once_read: request.shape_once_read,
            handshake: None,
            worker: None,
            answer: None,
            connection: None,
            client_ended: false,
            body: BodyPipe {
                over: matches!(request.body, RequestBody::Whole(_)),
                ..BodyPipe::default()
            },
            broken: None,
        };
        let mut open = self.open.borrow_mut();
        let exchange = open.entry(number).or_insert_with(make);
        exchange.handshake = self.handshake.take();
        exchange.worker = worker;
    }

    /// Whether there was one, and if so the worker in which its handler waits.
    fn remove(&self, number: u64) -> Option<Option<u64>> {
        let exchange = self.open.borrow_mut().remove(&number)?;
        // Readers learn that nothing more comes.
        exchange.body.readers.into_iter().for_each(Waker::wake);
        Some(exchange.worker)
    }
}

/// What a handler returned, taken apart by `luau/server.luau`.
pub struct HandlerAnswer {
    /// None for a failure that has been reported.
    pub status: Option<i64>,
    /// A string, the number of a body source, or nil for none.
    pub body: LuaValue,
    /// Names to strings or lists of strings.
    pub headers: Option<LuaTable>,
    /// The request, where the caller has it at hand.
    pub request: Option<LuaTable>,
}

impl HandlerAnswer {
    fn failed() -> Self {
        Self {
            status: None,
            body: LuaValue::Nil,
            headers: None,
            request: None,
        }
    }
}

/// A script's handler.
pub struct LuauService {
    script: Weak<Script>,
    /// What belongs to its server in Luau, which keeps that at its place for as long as this is there.
    _parts: LuaTable,
    place: i32,
}

impl LuauService {
    /// The service for the handler that `luau/server.luau` knows by this place.
    pub fn new(script: Weak<Script>, parts: LuaTable, place: i32) -> Self {
        Self {
            script,
            _parts: parts,
            place,
        }
    }
}

impl Script {
    /// Calls the handler at `place`; see [`raw_vm::Handlers::call`].
    fn call_handler(
        &self,
        place: i32,
        number: u64,
        request: &Request<'_>,
        write: &mut dyn FnMut(Part<'_>) -> bool,
    ) -> LuaResult<Called> {
        let server = self.luau.get().and_then(|luau| luau.modules.server());
        let Some(server) = server else {
            return Ok(Called::Failed);
        };
        let _turn = self.interrupt.turn();
        let (lua, handlers) = (self.lua()?, &server.handlers);
        handlers.call(&lua, place, number, request, write)
    }
}

impl Service for LuauService {
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
        let Some(script) = self.script.upgrade() else {
            return Reply::Written { persistent: false };
        };
        let number = script.next_number();
        let streamed = matches!(request.body, RequestBody::Streamed);
        if streamed {
            script.exchanges.keep(number, request, None);
        }
        script.exchanges.begin(number, request);
        let answered_before = out.len();
        let mut plain = PlainAnswer::into(out, request.shape, script.engine.clock());
        let called = {
            let mut write = |part: Part<'_>| plain.write(part);
            script.call_handler(self.place, number, request, &mut write)
        };
        let answered = script.exchanges.answered.take();
        let mut rest = plain.end();
        if let Some((bytes, upgrade)) = script.exchanges.end_call() {
            // What else the handler has answered goes nowhere.
            if let Some(answer) = &answered {
                drop(take_source(&script, answer));
            }
            out.truncate(answered_before);
            out.extend_from_slice(&bytes);
            script.exchanges.remove(number);
            return Reply::Upgraded(upgrade);
        }
        let answer = match called {
            Ok(Called::Written) => None,
            Ok(Called::Answered) => Some(answered.unwrap_or_else(HandlerAnswer::failed)),
            Ok(Called::Failed) => Some(HandlerAnswer::failed()),
            Ok(Called::Later(worker)) => {
                script.exchanges.keep(number, request, Some(worker));
                return Reply::Later(number);
            }
            Err(error) => {
                script.report_failure(&error);
                Some(HandlerAnswer::failed())
            }
        };
        if let Some(answer) = answer {
            rest = write_answer(&script, number, request.shape, answer, out);
        }
        if let Rest::Body(streamed) = rest {
            script.exchanges.keep(number, request, None);
            return Reply::Streamed(number, streamed);
        }
        if streamed {
            script.exchanges.remove(number);
        }
        Reply::Written {
            persistent: matches!(rest, Rest::Next),
        }
    }

    fn poll_answer(&self, number: u64, context: &mut Context<'_>) -> Poll<Answer> {
        let lost = Answer {
            bytes: Vec::new(),
            rest: Rest::Close,
        };
        let Some(script) = self.script.upgrade() else {
            return Poll::Ready(lost);
        };
        let mut exchanges = script.exchanges.open.borrow_mut();
        let Some(exchange) = exchanges.get_mut(&number) else {
            return Poll::Ready(lost);
        };
        let Some(answer) = exchange.answer.take() else {
            exchange.connection = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(exchanges);
        if !matches!(answer.rest, Rest::Body(_)) {
            script.exchanges.remove(number);
        }
        Poll::Ready(answer)
    }

    fn gone(&self, number: u64) {
        let Some(script) = self.script.upgrade() else {
            return;
        };
        if let Some(worker) = script.exchanges.remove(number) {
            script.exchange_gone(number, worker);
        }
    }

    fn sent(&self, number: u64) {
        if let Some(script) = self.script.upgrade() {
            script.exchanges.remove(number);
        }
    }

    fn client_ended(&self, number: u64) {
        let Some(script) = self.script.upgrade() else {
            return;
        };
        if let Some(exchange) = script.exchanges.open.borrow_mut().get_mut(&number) {
            exchange.client_ended = true;
        }
    }

    fn poll_body_wanted(&self, number: u64, context: &mut Context<'_>) -> Poll<()> {
        let Some(script) = self.script.upgrade() else {
            return Poll::Pending;
        };
        let mut exchanges = script.exchanges.open.borrow_mut();
        let Some(exchange) = exchanges.get_mut(&number) else {
            return Poll::Pending;
        };
        if exchange.body.wanted {
            return Poll::Ready(());
        }
        exchange.connection = Some(context.waker().clone());
        Poll::Pending
    }

    fn body_part(&self, number: u64, part: BodyPart<'_>) {
        let Some(script) = self.script.upgrade() else {
            return;
        };
        let mut exchanges = script.exchanges.open.borrow_mut();
        let Some(exchange) = exchanges.get_mut(&number) else {
            return;
        };
        exchange.shape = exchange.shape_once_read;
        let body = &mut exchange.body;
        body.wanted = false;
        body.over = !matches!(part, BodyPart::Bytes(_));
        body.part = Some(match part {
            BodyPart::Bytes(bytes) => Ok(Some(bytes.to_vec())),
            BodyPart::End => Ok(None),
            BodyPart::Broken(refusal) => Err(refusal.reason.clone()),
        });
        body.readers.drain(..).for_each(Waker::wake);
        if let BodyPart::Broken(refusal) = part {
            exchange.broken = Some(refusal.clone());
            exchange.shape = exchange.shape.last();
        }
    }
}
