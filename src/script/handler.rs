//! A script's handler as the engine sees it: a request becomes a call, and what that returns a response.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    rc::Weak,
    task::{Context, Poll, Waker},
};

use mlua::prelude::{LuaFunction, LuaString, LuaTable, LuaValue};

use super::{
    Script,
    raw_vm::{self, Called, Part},
    scheduler::Delivery,
};
use crate::engine::{
    answer::{AnswerError, AnswerWriter, Shape},
    clock::Clock,
    intake::Refusal,
    service::{Answer, BodyPart, BodySource, Reply, Request, RequestBody, Rest, Service, Streamed},
};

/// What a client is told when its handler failed; the script's error goes to the error hook.
const FAILED: &str = "the server failed to answer";

/// The exchanges that are not over, by number.
#[derive(Default)]
pub struct Exchanges {
    open: RefCell<HashMap<u64, Exchange>>,
}

/// An exchange whose handler waits, or may wait for the request's body, or whose answer's body is sent.
struct Exchange {
    shape: Shape,
    shape_once_read: Shape,
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

    /// Takes a handler's late answer. When its client is gone, the function that would have made its body learns that.
    pub fn answer(&self, script: &Script, number: u64, answer: HandlerAnswer) {
        let exchanges = self.open.borrow();
        let exchange = exchanges.get(&number);
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
            answer: None,
            connection: None,
            client_ended: false,
            body: BodyPipe {
                over: matches!(request.body, RequestBody::Whole(_)),
                ..BodyPipe::default()
            },
            broken: None,
        };
        self.open.borrow_mut().entry(number).or_insert_with(make);
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
        let mut plain = PlainAnswer::into(out, request.shape, script.engine.clock());
        let called = {
            let _turn = script.interrupt.turn();
            let mut write = |part: Part<'_>| plain.write(part);
            raw_vm::call_handler(&self.dispatch, number, request, &mut write)
        };
        let mut rest = plain.end();
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

/// Encodes a handler's answer, or a 500 in its place when there is none or it can't be sent.
fn write_answer(
    script: &Script,
    number: u64,
    shape: Shape,
    answer: HandlerAnswer,
    out: &mut Vec<u8>,
) -> Rest {
    let date = script.engine.clock().date();
    if let Some(status) = answer.status {
        match try_write(script, shape, status, &answer, &date, out) {
            Ok(rest) => return rest,
            Err(problem) => {
                let problem = format!("cannot send the handler's answer: {problem}");
                script.unsendable(number, answer.request.as_ref(), &problem);
            }
        }
    }
    let written = AnswerWriter::begin(out, shape, 500).and_then(|mut writer| {
        writer.field(b"Content-Type", b"text/plain")?;
        writer.finish(&date, FAILED.as_bytes())
    });
    after(written.unwrap_or(false))
}

fn try_write(
    script: &Script,
    shape: Shape,
    status: i64,
    answer: &HandlerAnswer,
    date: &str,
    out: &mut Vec<u8>,
) -> Result<Rest, String> {
    let source = take_source(script, answer);
    let mut writer = AnswerWriter::begin(out, shape, status).map_err(shown)?;
    if let Some(headers) = &answer.headers {
        for pair in headers.pairs::<LuaValue, LuaValue>() {
            let (name, value) = pair.map_err(|error| error.to_string())?;
            let LuaValue::String(name) = name else {
                return Err(writer.give_up(format!(
                    "header names must be strings, not {}",
                    name.type_name()
                )));
            };
            write_values(&mut writer, &name, value)?;
        }
    }
    match (source, &answer.body) {
        (Some(source), _) => finish_streamed(writer, source, date),
        (None, LuaValue::String(body)) => writer
            .finish(date, &body.as_bytes())
            .map(after)
            .map_err(shown),
        (None, _) => writer.finish(date, b"").map(after).map_err(shown),
    }
}

/// What makes the answer's body, if that is not a string; none inside when the source was taken before.
fn take_source(script: &Script, answer: &HandlerAnswer) -> Option<Option<Box<dyn BodySource>>> {
    let number = answer.body.as_u64();
    number.map(|number| script.sources.take(number))
}

/// Writes an answer of strings alone while the VM hands out its parts.
struct PlainAnswer<'o> {
    out: Option<&'o mut Vec<u8>>,
    shape: Shape,
    clock: &'o Clock,
    writer: Option<AnswerWriter<'o>>,
    rest: Rest,
}

impl<'o> PlainAnswer<'o> {
    fn into(out: &'o mut Vec<u8>, shape: Shape, clock: &'o Clock) -> Self {
        Self {
            out: Some(out),
            shape,
            clock,
            writer: None,
            rest: Rest::Close,
        }
    }

    /// Whether the part could be written.
    fn write(&mut self, part: Part<'_>) -> bool {
        match part {
            Part::Status(status) => {
                let out = self.out.take();
                self.writer = out.and_then(|out| AnswerWriter::begin(out, self.shape, status).ok());
                self.writer.is_some()
            }
            Part::Field(name, value) => {
                let writer = self.writer.as_mut();
                writer.is_some_and(|writer| writer.field(name, value).is_ok())
            }
            Part::Body(body) => {
                let finished = self
                    .writer
                    .take()
                    .map(|writer| writer.finish(&self.clock.date(), body));
                let Some(Ok(persistent)) = finished else {
                    return false;
                };
                self.rest = after(persistent);
                true
            }
        }
    }

    /// Takes back what was not finished.
    fn end(self) -> Rest {
        if let Some(mut writer) = self.writer {
            writer.give_up(String::new());
        }
        self.rest
    }
}

fn after(persistent: bool) -> Rest {
    if persistent { Rest::Next } else { Rest::Close }
}

fn finish_streamed(
    mut writer: AnswerWriter<'_>,
    source: Option<Box<dyn BodySource>>,
    date: &str,
) -> Result<Rest, String> {
    let Some(source) = source else {
        return Err(writer.give_up("its body was sent already".to_owned()));
    };
    Ok(match writer.finish_streamed(date) {
        (Some(framing), persistent) => Rest::Body(Streamed {
            source,
            framing,
            persistent,
        }),
        (None, persistent) => after(persistent),
    })
}

/// A header's string, or each of its list of strings.
fn write_values(
    writer: &mut AnswerWriter<'_>,
    name: &LuaString,
    value: LuaValue,
) -> Result<(), String> {
    match value {
        LuaValue::String(value) => writer
            .field(&name.as_bytes(), &value.as_bytes())
            .map_err(shown),
        LuaValue::Table(values) => {
            for value in values.sequence_values::<LuaValue>() {
                match value {
                    Ok(LuaValue::String(value)) => {
                        writer
                            .field(&name.as_bytes(), &value.as_bytes())
                            .map_err(shown)?;
                    }
                    _ => {
                        let problem =
                            format!("the list for header '{}' must hold strings", name.display());
                        return Err(writer.give_up(problem));
                    }
                }
            }
            Ok(())
        }
        other => {
            let (name, kind) = (name.display(), other.type_name());
            Err(writer.give_up(format!(
                "header '{name}' must be a string or a list, not {kind}"
            )))
        }
    }
}

fn shown(error: AnswerError) -> String {
    error.to_string()
}
