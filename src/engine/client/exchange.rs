//! One request and its response on one connection. The response is read while the request is still being sent, so a
//! server that answers early holds nobody up.

use std::{
    mem,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{
    ClientError, Fields, RequestBody,
    clock::{ExchangeClock, Late, WaitsFor},
    upload::Upload,
};
use crate::{
    engine::{Engine, dialer::Destination, transport::Transport},
    wire::{
        BodyDecoder, BodyEvent, Field, FieldStorage, HeadProgress, MOST_INTERIM, Parsed,
        list_elements, parse_response, unfold, values_of,
    },
};

/// The largest response head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A request under way.
pub struct Exchange {
    engine: Rc<Engine>,
    destination: Rc<Destination>,
    transport: Transport,
    upload: Upload,
    clock: ExchangeClock,
    /// The time for the whole, for errors.
    total: Duration,
    /// Bytes that were read and not used yet.
    input: Vec<u8>,
    progress: HeadProgress,
    interim: u32,
    nothing_came: bool,
    /// Bytes came that belong to no response.
    surplus: bool,
}

/// A response's head.
pub struct Head {
    /// 200–999.
    pub status: u16,
    /// Names as the server wrote them.
    pub fields: Fields,
    /// Finds the body in what follows.
    pub decoder: BodyDecoder,
    /// Whether the connection goes on afterwards.
    pub persistent: bool,
    /// How long the server keeps the connection, if it says so.
    pub kept_for: Option<Duration>,
}

impl Exchange {
    /// An exchange whose request has begun to be sent.
    pub fn new(
        engine: Rc<Engine>,
        destination: Rc<Destination>,
        transport: Transport,
        upload: Upload,
        clock: ExchangeClock,
        total: Duration,
    ) -> Self {
        Self {
            engine,
            destination,
            transport,
            upload,
            clock,
            total,
            input: Vec::new(),
            progress: HeadProgress::default(),
            interim: 0,
            nothing_came: true,
            surplus: false,
        }
    }

    /// What errors call the other end.
    pub fn origin(&self) -> String {
        self.destination.name()
    }

    /// Where the other end is.
    pub fn destination(&self) -> &Rc<Destination> {
        &self.destination
    }

    /// Whether not a byte of a response has come.
    pub fn nothing_came(&self) -> bool {
        self.nothing_came
    }

    /// Whether the request went out whole.
    pub fn is_sent(&self) -> bool {
        self.upload.is_whole()
    }

    /// The request's body, when it can be sent again.
    pub fn repeatable_body(&mut self) -> Option<RequestBody> {
        self.upload.repeatable_body()
    }

    /// The response is the final one: the request is not sent again.
    pub fn response_stands(&mut self) {
        self.upload.response_stands();
    }

    /// The connection, when it can serve another request: everything was sent, and nothing came that was not asked for.
    pub fn into_reusable(self) -> Option<(Rc<Destination>, Transport)> {
        let reusable = self.upload.is_whole() && !self.surplus && self.input.is_empty();
        reusable.then_some((self.destination, self.transport))
    }

    /// Sends what can be sent and waits for the head of the final response to a request with this method.
    pub fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &str,
    ) -> Poll<Result<Head, ClientError>> {
        loop {
            let took = |this: &mut Self, bytes: &[u8]| this.take_head(bytes, method);
            match ready!(self.poll_input(context, took))? {
                None => return Poll::Ready(Err(self.closed())),
                Some(None) => {}
                Some(Some(head)) => {
                    self.upload.answered();
                    return Poll::Ready(Ok(head));
                }
            }
        }
    }

    /// Adds the next bytes of the response's body to `out`, at most 64 KiB; false at its end. What is left of the request
    /// is sent meanwhile.
    pub fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        decoder: &mut BodyDecoder,
        out: &mut Vec<u8>,
    ) -> Poll<Result<bool, ClientError>> {
        let before = out.len();
        let input = mem::take(&mut self.input);
        let mut ended = self.decode(decoder, &input, out)?;
        while !ended && out.len() == before {
            let took = |this: &mut Self, bytes: &[u8]| this.decode(decoder, bytes, out);
            match ready!(self.poll_input(context, took))? {
                Some(over) => ended = over,
                None => {
                    decoder
                        .end_of_input()
                        .map_err(|error| ClientError::Body(self.origin(), error))?;
                    ended = true;
                }
            }
        }
        Poll::Ready(Ok(!ended))
    }

    /// Sends what can be sent, and gives `take` what the server sends next; none at its end.
    fn poll_input<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&mut Self, &[u8]) -> Result<T, ClientError>,
    ) -> Poll<Result<Option<T>, ClientError>> {
        if self.upload.send(&mut self.transport, context)? {
            self.clock.progress();
        }
        let mut buffer = self.engine.buffers().take_read();
        let input = match self.transport.poll_read(context, &mut buffer) {
            Poll::Pending => self.poll_late(context).map(Err),
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(count)) => {
                self.nothing_came = false;
                self.clock.progress();
                Poll::Ready(take(self, &buffer[..count]).map(Some))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(ClientError::Io(self.origin(), error))),
        };
        self.engine.buffers().return_read(buffer);
        input
    }

    fn poll_late(&self, context: &mut Context<'_>) -> Poll<ClientError> {
        let waits = if self.upload.waits_for_source() {
            WaitsFor::OwnSource
        } else {
            WaitsFor::Server
        };
        match self.clock.late(context, waits) {
            None => Poll::Pending,
            Some(Late::Due) => Poll::Ready(ClientError::TimedOut(self.origin(), self.total)),
            Some(Late::Stalled(after)) => Poll::Ready(ClientError::Stalled(self.origin(), after)),
        }
    }

    /// Takes heads from what came before and `bytes` behind it, up to that of the final response. What is behind that is
    /// kept.
    fn take_head(&mut self, bytes: &[u8], method: &str) -> Result<Option<Head>, ClientError> {
        // All of a head mostly comes at once: then nothing is copied but the bytes of the body behind it.
        let mut joined = mem::take(&mut self.input);
        let mut rest = bytes;
        if !joined.is_empty() {
            joined.extend_from_slice(bytes);
            rest = &joined;
        }
        while self.progress.worth_parsing(rest) || rest.len() >= MAX_HEAD {
            let mut storage = FieldStorage::new();
            let parsed = parse_response(rest, &mut storage, MAX_HEAD);
            let bad = |error| ClientError::Head(self.destination.name(), error);
            let Parsed::Complete(head) = parsed.map_err(bad)? else {
                break;
            };
            self.progress = HeadProgress::default();
            let behind = &rest[head.length()..];
            if head.interim() {
                self.interim += 1;
                if self.interim > MOST_INTERIM {
                    return Err(ClientError::Interim(self.origin()));
                }
                if head.status() == 100 {
                    self.upload.go_on();
                }
                rest = behind;
                continue;
            }
            if head.status() == 101 {
                return Err(ClientError::Switched(self.origin()));
            }
            let framing = head.framing(method).map_err(bad)?;
            let found = Head {
                status: head.status(),
                fields: kept_fields(head.fields(), head.length()),
                decoder: BodyDecoder::new(framing),
                persistent: head.persistent(),
                kept_for: kept_for(head.fields()),
            };
            self.input = behind.to_vec();
            return Ok(Some(found));
        }
        self.input = rest.to_vec();
        Ok(None)
    }

    /// Adds the body in `bytes` to `out`; whether it has ended.
    fn decode(
        &mut self,
        decoder: &mut BodyDecoder,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, ClientError> {
        let mut used = 0;
        loop {
            let decoded = decoder.decode(&bytes[used..]);
            let (taken, event) =
                decoded.map_err(|error| ClientError::Body(self.origin(), error))?;
            used += taken;
            match event {
                BodyEvent::Piece(piece) => out.extend_from_slice(piece),
                BodyEvent::NeedMore => return Ok(false),
                BodyEvent::End => {
                    self.surplus |= used < bytes.len();
                    return Ok(true);
                }
            }
        }
    }

    /// The server has closed. When it had stopped to take the request before, that says more.
    fn closed(&mut self) -> ClientError {
        match self.upload.failure() {
            Some(error) => ClientError::Io(self.origin(), error),
            None => ClientError::Closed(self.origin()),
        }
    }
}

fn kept_fields(fields: &[Field<'_>], bytes: usize) -> Fields {
    let mut kept = Fields::with_capacity(fields.len(), bytes);
    for field in fields {
        kept.push(field.name.as_bytes(), &unfold(field.value));
    }
    kept
}

/// The `timeout` of `Keep-Alive`, which many servers send (RFC 2068 §19.7.1.1).
fn kept_for(fields: &[Field<'_>]) -> Option<Duration> {
    let parameters = values_of(fields, "keep-alive").flat_map(list_elements);
    let mut seconds = parameters.filter_map(|parameter| {
        let (name, value) = str::from_utf8(parameter).ok()?.split_once('=')?;
        if !name.trim_end().eq_ignore_ascii_case("timeout") {
            return None;
        }
        value.trim_start().parse().ok()
    });
    seconds.next().map(Duration::from_secs)
}
