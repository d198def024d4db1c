//! A handler's answer on its way to the client: its status, headers and body become a response, or a 500 in its place.

use mlua::prelude::{LuaString, LuaValue};

use super::{Script, handler::HandlerAnswer, raw_vm::Part};
use crate::engine::{
    answer::{AnswerError, AnswerWriter, Shape},
    clock::Clock,
    service::{BodySource, Rest, Streamed},
};

/// What a client is told when its handler failed; the script's error goes to the error hook.
const FAILED: &str = "the server failed to answer";

/// Encodes a handler's answer, or a 500 in its place when there is none or it can't be sent.
pub fn write_answer(
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
pub fn take_source(script: &Script, answer: &HandlerAnswer) -> Option<Option<Box<dyn BodySource>>> {
    let number = answer.body.as_u64();
    number.map(|number| script.sources.take(number))
}

/// Writes an answer of strings alone while the VM hands out its parts.
pub struct PlainAnswer<'o> {
    out: Option<&'o mut Vec<u8>>,
    shape: Shape,
    clock: &'o Clock,
    writer: Option<AnswerWriter<'o>>,
    rest: Rest,
}

impl<'o> PlainAnswer<'o> {
    /// An answer of this form at the end of `out`.
    pub fn into(out: &'o mut Vec<u8>, shape: Shape, clock: &'o Clock) -> Self {
        Self {
            out: Some(out),
            shape,
            clock,
            writer: None,
            rest: Rest::Close,
        }
    }

    /// Whether the part could be written.
    pub fn write(&mut self, part: Part<'_>) -> bool {
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

    /// What comes after the answer; one that was not finished is taken back.
    pub fn end(self) -> Rest {
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
