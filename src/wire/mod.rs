//! HTTP/1.1 as state machines over byte slices: no I/O, no async, no Luau.
//!
//! | question | answer |
//! |---|---|
//! | Is the head there, and what does it say? | [`parse_request`], [`parse_response`], [`HeadProgress`] |
//! | How long is the body, and may the connection be used again? | [`RequestHead::framing`], [`ResponseHead::framing`], `persistent()` |
//! | Which of these bytes are body? | [`BodyDecoder`] |
//! | What do I send? | [`encode`] |
//! | What does the query say? | [`query`] |
//! | May a script send this name, value, host? | [`syntax`] |
//!
//! Two properties hold for everything that reads:
//!
//! - **Cuts do not matter.** However the bytes are cut into reads, the events and the error are the
//!   same: every prefix of an input gives either "more" or the answer of the whole input.
//! - **Requests that two parsers could read differently are refused.** A response may be a little odd,
//!   since the client has to speak to what is out there; where its *length* is in doubt it is refused too.
//!
//! Nothing here allocates, but for what an encoder appends to the caller's `Vec<u8>` and for [`unfold`]
//! on a folded value. The heads are read by `httparse`; the rules it lets pass are checked afterwards,
//! in one pass over the fields. When it refuses a head, a slower reader that follows the grammar byte
//! by byte (`field_line`) finds the rule that was broken.
//!
//! Section numbers are those of RFC 9112 (HTTP/1.1) and RFC 9110 (HTTP semantics).
//!
//! # Example
//!
//! ```
//! use lute_net::wire::{BodyDecoder, BodyEvent, FieldStorage, Parsed, parse_request};
//!
//! let input = b"POST /notes?draft HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello";
//! let mut storage = FieldStorage::new();
//! let Parsed::Complete(head) = parse_request(input, &mut storage, 64 * 1024)? else { return Ok(()) };
//! assert_eq!((head.method(), head.path(), head.query()), ("POST", "/notes", Some("draft")));
//!
//! let mut body = BodyDecoder::new(head.framing());
//! let (used, event) = body.decode(&input[head.length()..])?;
//! assert_eq!((used, event), (5, BodyEvent::Piece(b"hello")));
//! assert!(body.is_finished() && head.persistent());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod chunked;
#[cfg(test)]
pub(crate) mod cuts;
pub mod encode;
mod error;
mod field_line;
mod framing;
mod head;
pub mod query;
mod request_head;
mod request_target;
mod response_head;
pub mod syntax;

pub use body::{BodyDecoder, BodyEvent};
pub use error::{BodyError, LineError, RequestError, ResponseError};
pub use framing::{BodyFraming, list_elements};
pub use head::{
    Field, FieldStorage, HeadProgress, MAX_FIELDS, MOST_EMPTY_LINES, MOST_INTERIM, Parsed, Version,
    values_of,
};
pub use request_head::{Expect, RequestHead, parse_request};
pub use response_head::{ResponseHead, parse_response, unfold};
