//! The body of a response, read as it is asked for.

use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_lite::future::yield_now;

use super::{ClientError, content_coding::ContentDecoder, exchange::Exchange};
use crate::{engine::pool::Pool, wire::BodyDecoder};

/// Room made for a body at once, whatever its Content-Length says.
const ROOM: u64 = 1024 * 1024;

/// Reads that may make nothing before others have their turn.
const READS_PER_TURN: usize = 16;

/// A response's body. Dropped before its end it closes the connection; at its end the connection is kept for the next
/// request.
///
/// ```
#[doc = include_str!("../examples/served.txt")]
/// let body: ResponseBody = engine.block_on(client.send(ClientRequest::get(url)))??.body;
/// assert!(!body.is_ended());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ResponseBody {
    /// None once all is read, or nothing more can be.
    reading: Option<Reading>,
    coding: Option<ContentDecoder>,
    pool: Rc<Pool>,
    limit: u64,
    delivered: u64,
}

/// A body on its connection.
pub(super) struct Reading {
    pub exchange: Exchange,
    pub decoder: BodyDecoder,
    pub persistent: bool,
    pub kept_for: Option<Duration>,
}

impl ResponseBody {
    /// A body of `limit` bytes at the most, after its `coding` is undone.
    pub(super) fn new(
        reading: Reading,
        coding: Option<ContentDecoder>,
        pool: Rc<Pool>,
        limit: u64,
    ) -> Self {
        let mut body = Self {
            reading: Some(reading),
            coding,
            pool,
            limit,
            delivered: 0,
        };
        body.end_if_complete();
        body
    }

    /// The next piece, never an empty one, mostly 64 KiB at the most; none at the end.
    ///
    /// ```
    #[doc = include_str!("../examples/served.txt")]
    /// let mut response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// let mut received = Vec::new();
    /// while let Some(piece) = engine.block_on(response.body.next())?? {
    ///     received.extend(piece);
    /// }
    /// assert_eq!(received, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClientError`]; nothing more comes after it.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`].
    ///
    /// ```
    #[doc = include_str!("../examples/served.txt")]
    /// let mut response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// let piece = engine.block_on(std::future::poll_fn(|context| response.body.poll_next(context)))??;
    /// assert_eq!(piece, Some(b"hello".to_vec()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Vec<u8>>, ClientError>> {
        let mut piece = Vec::new();
        ready!(self.poll_more(context, &mut piece))?;
        Poll::Ready(Ok(Some(piece).filter(|piece| !piece.is_empty())))
    }

    /// All that is left.
    ///
    /// ```
    #[doc = include_str!("../examples/served.txt")]
    /// let mut response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// assert_eq!(engine.block_on(response.body.read_to_end())??, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn read_to_end(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        if let (Some(reading), None) = (&self.reading, &self.coding) {
            let expected = reading.decoder.remaining().unwrap_or(0);
            if expected > self.limit {
                return Err(ClientError::TooLarge(reading.exchange.origin(), self.limit));
            }
            body.reserve_exact(expected.min(ROOM) as usize);
        }
        while poll_fn(|context| self.poll_more(context, &mut body)).await? {
            // A server that is never late would keep everybody else waiting.
            yield_now().await;
        }
        Ok(body)
    }

    /// Reads and drops a small rest, so that the connection can be used again.
    pub(super) async fn skip(&mut self) -> Result<(), ClientError> {
        self.limit = self.limit.min(64 * 1024);
        self.coding = None;
        self.read_to_end().await.map(drop)
    }

    /// Whether all has been read.
    ///
    /// ```
    #[doc = include_str!("../examples/served.txt")]
    /// let mut response = engine.block_on(client.send(ClientRequest::get(url)))??;
    /// engine.block_on(response.body.read_to_end())??;
    /// assert!(response.body.is_ended());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_ended(&self) -> bool {
        self.reading.is_none()
    }

    /// Adds the next bytes to `out`; whether more may follow.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<bool, ClientError>> {
        let before = out.len();
        let polled = ready!(self.poll_decoded(context, out));
        self.delivered += (out.len() - before) as u64;
        let too_large = self.delivered > self.limit;
        Poll::Ready(match (polled, &self.reading) {
            (Ok(_), Some(reading)) if too_large => {
                let origin = reading.exchange.origin();
                self.reading = None;
                Err(ClientError::TooLarge(origin, self.limit))
            }
            (Ok(true), _) => Ok(true),
            (Ok(false), _) => {
                self.end();
                Ok(false)
            }
            (Err(error), _) => {
                self.reading = None;
                Err(error)
            }
        })
    }

    fn poll_decoded(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Poll<Result<bool, ClientError>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(false));
        };
        let (exchange, decoder) = (&mut reading.exchange, &mut reading.decoder);
        let Some(coding) = &mut self.coding else {
            return exchange.poll_body(context, decoder, out);
        };
        let read = |context: &mut Context<'_>, encoded: &mut Vec<u8>| {
            exchange.poll_body(context, decoder, encoded)
        };
        let undone = ready!(poll_undone(coding, context, out, read));
        Poll::Ready(undone.map_err(|problem| match problem {
            Undoing::Coding(problem) => ClientError::Coding(exchange.origin(), problem),
            Undoing::Reading(error) => error,
        }))
    }

    /// A body without a byte is over before it is asked for.
    fn end_if_complete(&mut self) {
        let complete = |reading: &Reading| reading.decoder.is_finished();
        if self.reading.as_ref().is_some_and(complete) {
            self.end();
        }
    }

    /// All is read: keeps the connection if it can be used again.
    fn end(&mut self) {
        let Some(reading) = self.reading.take() else {
            return;
        };
        let persistent = reading.persistent && reading.decoder.is_finished();
        let reusable = reading.exchange.into_reusable();
        if let Some((destination, transport)) = reusable.filter(|_| persistent) {
            self.pool.keep(destination, transport, reading.kept_for);
        }
    }
}

/// Why a coding can't be undone.
enum Undoing {
    Coding(&'static str),
    Reading(ClientError),
}

/// Adds what `coding` makes of the next bytes that `read` gives to `out`; false at the end, as `read` is.
fn poll_undone(
    coding: &mut ContentDecoder,
    context: &mut Context<'_>,
    out: &mut Vec<u8>,
    mut read: impl FnMut(&mut Context<'_>, &mut Vec<u8>) -> Poll<Result<bool, ClientError>>,
) -> Poll<Result<bool, Undoing>> {
    for _ in 0..READS_PER_TURN {
        if coding.decode(out).map_err(Undoing::Coding)? {
            return Poll::Ready(Ok(true));
        }
        let mut encoded = Vec::new();
        let more = ready!(read(context, &mut encoded)).map_err(Undoing::Reading)?;
        coding.feed(encoded);
        if more {
            continue;
        }
        if coding.decode(out).map_err(Undoing::Coding)? {
            // The last bytes hold more than one piece: the connection's end is seen again.
            return Poll::Ready(Ok(true));
        }
        coding.end().map_err(Undoing::Coding)?;
        return Poll::Ready(Ok(false));
    }
    // A server that is never late with bytes that make nothing would keep everybody else waiting.
    context.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::engine::client::Fields;

    #[test]
    fn bytes_that_make_nothing_leave_the_thread_to_others_in_between() {
        let mut fields = Fields::default();
        fields.push(b"Content-Encoding", b"zstd");
        let mut coding = ContentDecoder::of_response(&fields).unwrap();
        let mut reads = 0;
        // A frame that is skipped, again and again.
        let endless = |_: &mut Context<'_>, encoded: &mut Vec<u8>| {
            reads += 1;
            assert!(reads < 1000, "it reads without end");
            encoded.extend_from_slice(b"\x50\x2a\x4d\x18\x02\0\0\0no");
            Poll::Ready(Ok(true))
        };
        let (mut context, mut out) = (Context::from_waker(Waker::noop()), Vec::new());
        let undone = poll_undone(&mut coding, &mut context, &mut out, endless);
        assert!(undone.is_pending() && out.is_empty());
        assert_eq!(reads, READS_PER_TURN);
    }
}
