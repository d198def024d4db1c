//! HTTP/1.1 responses: status 200, and exactly the expected body.

use anyhow::{Context, Result, bail};

use super::answers::{Answers, Expected};

const MAX_HEADERS: usize = 32;
const MAX_HEAD: usize = 16 * 1024;

pub struct Responses {
    body: Expected,
    /// The beginning of a head that was cut.
    cut_head: Vec<u8>,
}

impl Responses {
    pub fn new(expected_body: &[u8]) -> Self {
        Self {
            body: Expected::new(expected_body),
            cut_head: Vec::new(),
        }
    }

    fn take_whole(&mut self, mut bytes: &[u8]) -> Result<usize> {
        let mut complete = 0;
        loop {
            if self.body.complete() {
                if bytes.is_empty() {
                    return Ok(complete);
                }
                let Some(head) = head_length(bytes, self.body.len())? else {
                    self.cut_head.extend_from_slice(bytes);
                    return Ok(complete);
                };
                bytes = &bytes[head..];
                self.body.begin();
            }
            bytes = self.body.take(bytes)?;
            if !self.body.complete() {
                return Ok(complete);
            }
            complete += 1;
        }
    }
}

impl Answers for Responses {
    fn take(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.cut_head.is_empty() {
            return self.take_whole(bytes);
        }
        let mut joined = std::mem::take(&mut self.cut_head);
        joined.extend_from_slice(bytes);
        self.take_whole(&joined)
    }
}

/// Length of the response head that `bytes` begin with; nothing while it is incomplete.
fn head_length(bytes: &[u8], body_length: usize) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response
        .parse(bytes)
        .with_context(|| format!("bad response: {}", excerpt(bytes)))?;
    let httparse::Status::Complete(length) = parsed else {
        if bytes.len() > MAX_HEAD {
            bail!("a response head of more than {MAX_HEAD} bytes");
        }
        return Ok(None);
    };
    if response.code != Some(200) {
        bail!("not status 200: {}", excerpt(bytes));
    }
    let header = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let header = header.with_context(|| format!("no Content-Length: {}", excerpt(bytes)))?;
    if std::str::from_utf8(header.value)?.parse() != Ok(body_length) {
        bail!("not a body of {body_length} bytes: {}", excerpt(bytes));
    }
    Ok(Some(length))
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHelloHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";

    #[test]
    fn answers_are_counted_however_the_bytes_are_cut() {
        for step in 1..=TWO.len() {
            let mut responses = Responses::new(b"Hello");
            let counted: usize = TWO
                .chunks(step)
                .map(|bytes| responses.take(bytes).unwrap())
                .sum();
            assert_eq!(counted, 2, "cut every {step} bytes");
        }
    }

    #[test]
    fn a_wrong_status_length_or_body_is_an_error() {
        let take = |bytes: &[u8]| Responses::new(b"Hello").take(bytes);
        assert!(take(b"HTTP/1.1 500 Oops\r\ncontent-length: 5\r\n\r\nHello").is_err());
        assert!(take(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nHello!").is_err());
        assert!(take(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nHallo").is_err());
        assert!(take(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
