//! A script's handler as the engine sees it: a request becomes a call, and what that returns a response.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Weak,
    task::{Context, Poll, Waker},
};

use mlua::prelude::{LuaFunction, LuaTable, LuaValue};

use super::{
    Script,
    encoding::{PlainAnswer, take_source, write_answer},
    raw_vm::{self, Called, Part},
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
    /// The answer that makes it one.
    upgraded: RefCell<Option<(Vec<u8>, Box<Upgrade>)>>,
}

/// An exchange whose handler waits, or may wait for the request's body, or whose answer's body is sent.
struct Exchange {
    shape: Shape,
    shape_once_read: Shape,
    handshake: Option<ClientHandshake>,
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
    /// Whether the client of an exchange has ended its side, or is gone altogether.
    pub fn is_client_gone(&self, number: u64) -> bool {
        self.open
            .borrow()
            .get(&number)
            .is_none_or(|exchange| exchange.client_ended)
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
    fn keep(&self, number: u64, request: &Request<'_>) {
        let make = || Exchange {
            shape: request.shape,
            shape_once_read: request.shape_once_read,
            handshake: None,
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
    }

    fn remove(&self, number: u64) -> bool {
        let exchange = self.open.borrow_mut().remove(&number);
        let existed = exchange.is_some();
        // Readers learn that nothing more comes.
        let readers = exchange.map(|exchange| exchange.body.readers);
        readers.into_iter().flatten().for_each(Waker::wake);
        existed
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
    /// Made by [`raw_vm::dispatcher`].
    dispatch: LuaFunction,
}

impl LuauService {
    /// The service whose requests go to `dispatch`.
    pub fn new(script: Weak<Script>, dispatch: LuaFunction) -> Self {
        Self { script, dispatch }
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
            script.exchanges.keep(number, request);
        }
        script.exchanges.begin(number, request);
        let answered_before = out.len();
        let mut plain = PlainAnswer::into(out, request.shape, script.engine.clock());
        let called = {
            let _turn = script.interrupt.turn();
            let mut write = |part: Part<'_>| plain.write(part);
            raw_vm::call_handler(&self.dispatch, number, request, &mut write)
        };
        let mut rest = plain.end();
        if let Some((bytes, upgrade)) = script.exchanges.end_call() {
            // What else the handler has answered goes nowhere.
            if let Ok(Called::Answered(answer)) = &called {
                drop(take_source(&script, answer));
            }
            out.truncate(answered_before);
            out.extend_from_slice(&bytes);
            script.exchanges.remove(number);
            return Reply::Upgraded(upgrade);
        }
        let answer = match called {
            Ok(Called::Written) => None,
            Ok(Called::Answered(answer)) => Some(answer),
            Ok(Called::Failed) => Some(HandlerAnswer::failed()),
            Ok(Called::Later) => {
                script.exchanges.keep(number, request);
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
            script.exchanges.keep(number, request);
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
        if script.exchanges.remove(number) {
            script.exchange_gone(number);
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
