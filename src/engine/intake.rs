//! Turns a client's bytes into requests, within the server's limits. No I/O: the same bytes give the same requests however
//! they are cut.
//!
//! ```
//! use std::rc::Rc;
//! use lute_net::{engine::{intake::{Bodies, Buffered, Intake, Taken}, limits::Limits}, wire::FieldStorage};
//!
//! let (mut intake, limits, buffered) = (Intake::default(), Limits::default(), Rc::new(Buffered::default()));
//! let input = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET";
//! let mut storage = FieldStorage::new();
//! let (used, taken) = intake.next(input, &mut storage, &limits, &buffered, Bodies::Whole);
//! assert!(matches!(taken, Taken::Request { body: b"hello", .. }));
//! assert_eq!(&input[used..], b"GET");
//! ```

mod held;
mod refusal;

use std::rc::Rc;

pub use self::{held::Buffered, refusal::Refusal};
pub(crate) use self::{held::Held, refusal::RefusalBody};
use super::limits::Limits;
use crate::wire::{
    BodyDecoder, BodyEvent, BodyFraming, Expect, FieldStorage, HeadProgress, Parsed, RequestHead,
    parse_request,
};

/// What a client's bytes have come to.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (input, limits) = (b"GET / HTTP/1.1\r\n\r\n", Limits::default());
/// let (mut intake, mut storage) = (Intake::default(), FieldStorage::new());
/// let (_, taken) = intake.next(input, &mut storage, &limits, &Rc::default(), Bodies::Whole);
/// let Taken::Refused(refusal) = taken else { panic!() };
/// assert_eq!((refusal.status, refusal.reason.as_str()), (400, "the Host header is missing"));
/// ```
pub enum Taken<'h, 'b> {
    /// Nothing whole yet.
    More,
    /// The client waits for `100 Continue` before it sends its body.
    WantsContinue,
    /// A request whose body is in the input.
    Request {
        /// Method, target and fields.
        head: RequestHead<'h, 'b>,
        /// The head's bytes.
        raw_head: &'b [u8],
        /// The whole body.
        body: &'b [u8],
    },
    /// A request whose body came in several pieces.
    Collected(Box<Collected>),
    /// A request whose body follows.
    Streaming {
        /// Method, target and fields.
        head: RequestHead<'h, 'b>,
        /// The head's bytes.
        raw_head: &'b [u8],
        /// Takes the body.
        body: BodyIntake,
    },
    /// Not a request that is served.
    Refused(Refusal),
}

/// A piece of a streamed body.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Intake, Piece, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (limits, input) = (Limits { body: 4, ..Limits::default() }, b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
/// let (mut intake, mut storage) = (Intake::default(), FieldStorage::new());
/// let (_, Taken::Streaming { mut body, .. }) = intake.next(input, &mut storage, &limits, &Rc::default(), Bodies::Streamed) else { panic!() };
/// assert!(matches!(body.piece(b"3\r\nabc", &limits), (6, Piece::Bytes(b"abc"))));
/// assert!(matches!(body.piece(b"\r\n3\r\nabc", &limits), (8, Piece::Refused(refusal)) if refusal.status == 413));
/// ```
pub enum Piece<'b> {
    /// Nothing yet.
    More,
    /// Some bytes; never none.
    Bytes(&'b [u8]),
    /// It is whole.
    End,
    /// It breaks the rules or the limits.
    Refused(Refusal),
}

/// A request that has come in several pieces.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (mut intake, limits, buffered) = (Intake::default(), Limits::default(), Rc::default());
/// let mut next = |input: &'static [u8]| match intake.next(input, &mut FieldStorage::new(), &limits, &buffered, Bodies::Whole).1 {
///     Taken::Collected(collected) => Some(collected),
///     _ => None,
/// };
/// assert!(next(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").is_none());
/// assert!(next(b"hel").is_none());
/// assert_eq!(next(b"lo").map(|collected| collected.body().to_vec()), Some(b"hello".to_vec()));
/// ```
pub struct Collected {
    head: Vec<u8>,
    body: Vec<u8>,
    held: Held,
}

impl Collected {
    /// The head's bytes.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
    ///
    /// let (mut intake, limits, buffered) = (Intake::default(), Limits::default(), Rc::default());
    /// let head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    /// intake.next(head, &mut FieldStorage::new(), &limits, &buffered, Bodies::Whole);
    /// let mut storage = FieldStorage::new();
    /// let (_, Taken::Collected(collected)) = intake.next(b"ok", &mut storage, &limits, &buffered, Bodies::Whole) else { panic!() };
    /// assert_eq!(collected.raw_head(), head);
    /// ```
    pub fn raw_head(&self) -> &[u8] {
        &self.head
    }

    /// The whole body.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
    ///
    /// let (mut intake, limits, buffered) = (Intake::default(), Limits::default(), Rc::default());
    /// intake.next(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", &mut FieldStorage::new(), &limits, &buffered, Bodies::Whole);
    /// let mut storage = FieldStorage::new();
    /// let (_, Taken::Collected(collected)) = intake.next(b"ok", &mut storage, &limits, &buffered, Bodies::Whole) else { panic!() };
    /// assert_eq!(collected.body(), b"ok");
    /// ```
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Whether a server takes bodies whole or hands them on as they come.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let input = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
/// let (mut intake, mut storage, limits) = (Intake::default(), FieldStorage::new(), Limits::default());
/// let (_, taken) = intake.next(input, &mut storage, &limits, &Rc::default(), Bodies::Streamed);
/// assert!(matches!(taken, Taken::Streaming { .. }), "its head is there");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bodies {
    /// A request is complete with its last byte.
    Whole,
    /// A request is complete with its head.
    Streamed,
}

/// The state between two reads.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (mut intake, mut storage, limits) = (Intake::default(), FieldStorage::new(), Limits::default());
/// let (used, taken) = intake.next(b"GET / HT", &mut storage, &limits, &Rc::default(), Bodies::Whole);
/// assert!(used == 0 && matches!(taken, Taken::More));
/// ```
#[derive(Default)]
pub struct Intake {
    progress: HeadProgress,
    collecting: Option<Box<Collecting>>,
}

/// A body on its way into memory.
struct Collecting {
    intake: BodyIntake,
    collected: Collected,
}

impl Intake {
    /// The body on its way into memory, if there is one.
    pub(crate) fn body(&self) -> Option<&BodyIntake> {
        self.collecting
            .as_ref()
            .map(|collecting| &collecting.intake)
    }

    /// What a refusal of the request whose body is on its way into memory has for a body.
    pub(crate) fn refusal_body(&self) -> Option<RefusalBody> {
        let collecting = self.collecting.as_ref()?;
        Some(RefusalBody::to(&collecting.collected.head))
    }

    /// Works on `input`: how much of it was used, and what that came to.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use lute_net::{engine::{intake::{Bodies, Intake, Taken}, limits::Limits}, wire::FieldStorage};
    ///
    /// let pipelined = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
    /// let (mut intake, limits, buffered) = (Intake::default(), Limits::default(), Rc::default());
    /// let mut rest = &pipelined[..];
    /// for path in ["/a", "/b"] {
    ///     let mut storage = FieldStorage::new();
    ///     let (used, Taken::Request { head, .. }) = intake.next(rest, &mut storage, &limits, &buffered, Bodies::Whole) else { panic!() };
    ///     assert_eq!(head.path(), path);
    ///     rest = &rest[used..];
    /// }
    /// ```
    pub fn next<'h, 'b>(
        &mut self,
        input: &'b [u8],
        storage: &'h mut FieldStorage<'b>,
        limits: &Limits,
        buffered: &Rc<Buffered>,
        bodies: Bodies,
    ) -> (usize, Taken<'h, 'b>) {
        if let Some(collecting) = self.collecting.take() {
            return self.collect(collecting, input, limits);
        }
        if !self.progress.worth_parsing(input) && input.len() < limits.head {
            return (0, Taken::More);
        }
        let head = match parse_request(input, storage, limits.head) {
            Ok(Parsed::Complete(head)) => head,
            Ok(Parsed::Partial) => return (0, Taken::More),
            Err(error) => return (0, Taken::refused(error.status(), &error.to_string())),
        };
        self.progress = HeadProgress::default();
        let (raw_head, rest) = input.split_at(head.length());
        if head.expect() == Expect::Other {
            return (0, Taken::refused(417, "only 100-continue can be expected"));
        }
        match head.framing() {
            BodyFraming::Empty if bodies == Bodies::Whole => {
                return (
                    raw_head.len(),
                    Taken::Request {
                        head,
                        raw_head,
                        body: &[],
                    },
                );
            }
            BodyFraming::Length(length) if length > limits.body => {
                return (0, Taken::Refused(Refusal::too_large(limits)));
            }
            BodyFraming::Length(length)
                if bodies == Bodies::Whole && length <= rest.len() as u64 =>
            {
                if !buffered.has_room(length, limits.buffered) {
                    return (0, Taken::Refused(Refusal::too_much_in_memory()));
                }
                let body = &rest[..length as usize];
                return (
                    raw_head.len() + body.len(),
                    Taken::Request {
                        head,
                        raw_head,
                        body,
                    },
                );
            }
            _ => {}
        }
        let waits = head.expect() == Expect::Continue && rest.is_empty();
        let body = BodyIntake {
            decoder: BodyDecoder::new(head.framing()),
            received: 0,
            waits,
        };
        if bodies == Bodies::Streamed {
            return (
                raw_head.len(),
                Taken::Streaming {
                    head,
                    raw_head,
                    body,
                },
            );
        }
        let held = Held::of(buffered, 0);
        let collected = Collected {
            head: raw_head.to_vec(),
            body: Vec::new(),
            held,
        };
        self.collecting = Some(Box::new(Collecting {
            intake: body,
            collected,
        }));
        (
            raw_head.len(),
            if waits {
                Taken::WantsContinue
            } else {
                Taken::More
            },
        )
    }

    fn collect<'h, 'b>(
        &mut self,
        mut collecting: Box<Collecting>,
        input: &'b [u8],
        limits: &Limits,
    ) -> (usize, Taken<'h, 'b>) {
        let mut used = 0;
        loop {
            let (taken, piece) = collecting.intake.piece(&input[used..], limits);
            used += taken;
            match piece {
                Piece::More => {
                    self.collecting = Some(collecting);
                    return (used, Taken::More);
                }
                Piece::Refused(refusal) => return (used, Taken::Refused(refusal)),
                Piece::End => return (used, Taken::Collected(Box::new(collecting.collected))),
                Piece::Bytes(bytes) => {
                    if !collecting
                        .collected
                        .held
                        .grow(bytes.len() as u64, limits.buffered)
                    {
                        return (used, Taken::Refused(Refusal::too_much_in_memory()));
                    }
                    collecting.collected.body.extend_from_slice(bytes);
                }
            }
        }
    }
}

impl Taken<'_, '_> {
    fn refused(status: u16, reason: &str) -> Self {
        Self::Refused(Refusal {
            status,
            reason: reason.to_owned(),
        })
    }
}

/// A request's body on its way.
///
/// ```
/// use std::rc::Rc;
/// use lute_net::{engine::{intake::{Bodies, BodyIntake, Intake, Piece, Taken}, limits::Limits}, wire::FieldStorage};
///
/// let (limits, input) = (Limits::default(), b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
/// let (mut intake, mut storage) = (Intake::default(), FieldStorage::new());
/// let (_, Taken::Streaming { body, .. }) = intake.next(input, &mut storage, &limits, &Rc::default(), Bodies::Streamed) else { panic!() };
/// let mut body: BodyIntake = body;
/// assert!(matches!(body.piece(b"", &limits), (0, Piece::More)));
/// ```
pub struct BodyIntake {
    decoder: BodyDecoder,
    received: u64,
    waits: bool,
}

impl BodyIntake {
    /// Bytes of the body that have come.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether all of it has been taken.
    pub(crate) fn is_over(&self) -> bool {
        self.decoder.is_finished()
    }

    /// Whether the client still waits for `100 Continue`.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.waits
    }

    /// As [`Self::awaits_continue`]; once.
    pub(crate) fn takes_continue(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// The next piece: how much of `input` was used for it.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use lute_net::{engine::{intake::{Bodies, Intake, Piece, Taken}, limits::Limits}, wire::FieldStorage};
    ///
    /// let (limits, input) = (Limits::default(), b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    /// let (mut intake, mut storage) = (Intake::default(), FieldStorage::new());
    /// let (_, Taken::Streaming { mut body, .. }) = intake.next(input, &mut storage, &limits, &Rc::default(), Bodies::Streamed) else { panic!() };
    /// assert!(matches!(body.piece(b"okGET", &limits), (2, Piece::Bytes(b"ok"))));
    /// assert!(matches!(body.piece(b"GET", &limits), (0, Piece::End)));
    /// ```
    pub fn piece<'b>(&mut self, input: &'b [u8], limits: &Limits) -> (usize, Piece<'b>) {
        match self.decoder.decode(input) {
            Ok((used, BodyEvent::Piece(piece))) => {
                self.received += piece.len() as u64;
                if self.received > limits.body {
                    return (used, Piece::Refused(Refusal::too_large(limits)));
                }
                (used, Piece::Bytes(piece))
            }
            Ok((used, BodyEvent::NeedMore)) => (used, Piece::More),
            Ok((used, BodyEvent::End)) => (used, Piece::End),
            Err(error) => (
                0,
                Piece::Refused(Refusal {
                    status: error.status(),
                    reason: error.to_string(),
                }),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
