//! Writes messages: functions that append to the caller's buffer.
//!
//! ```
//! use lute_net::wire::encode;
//!
//! let mut out = Vec::new();
//! encode::status_line(&mut out, 200);
//! encode::field(&mut out, "Content-Type", "text/plain");
//! encode::content_length(&mut out, 2);
//! encode::end_of_head(&mut out);
//! out.extend_from_slice(b"ok");
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok");
//! ```

/// `HTTP/1.1 200 OK` and CRLF (RFC 9112 §4). A status without a registered reason has none, but the
/// space before it stays. The caller has seen to it that `status` is 100–999.
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::status_line(&mut out, 404);
/// lute_net::wire::encode::status_line(&mut out, 799);
/// assert_eq!(out, b"HTTP/1.1 404 Not Found\r\nHTTP/1.1 799 \r\n");
/// ```
#[inline]
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    match known_status(status) {
        Some((line, _)) => out.extend_from_slice(line.as_bytes()),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            number(out, status);
            out.extend_from_slice(b" \r\n");
        }
    }
}

/// The registered reason phrase of a status, empty if there is none.
///
/// ```
/// use lute_net::wire::encode::reason;
///
/// assert_eq!((reason(404), reason(799)), ("Not Found", ""));
/// ```
pub fn reason(status: u16) -> &'static str {
    known_status(status).map_or("", |(_, reason)| reason)
}

/// `GET /path HTTP/1.1` and CRLF (RFC 9112 §3). The caller has checked both: a token, and a target
/// without whitespace or control bytes.
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::request_line(&mut out, "GET", "/a?b");
/// assert_eq!(out, b"GET /a?b HTTP/1.1\r\n");
/// ```
#[inline]
pub fn request_line(out: &mut Vec<u8>, method: &str, target: &str) {
    out.reserve(method.len() + target.len() + 12);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `name: value` and CRLF (RFC 9112 §5). The caller has checked both: see
/// [`is_token`](super::syntax::is_token),
/// [`is_field_value`](super::syntax::is_field_value) and
/// [`is_client_field_value`](super::syntax::is_client_field_value).
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::field(&mut out, "ETag", b"\"7\"");
/// assert_eq!(out, b"ETag: \"7\"\r\n");
/// ```
#[inline]
pub fn field(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
    let (name, value) = (name.as_ref(), value.as_ref());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length: N` and CRLF (RFC 9110 §8.6).
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::content_length(&mut out, 5);
/// assert_eq!(out, b"Content-Length: 5\r\n");
/// ```
#[inline]
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// The empty line after the fields.
///
/// ```
/// use lute_net::wire::encode;
///
/// let mut out = Vec::new();
/// encode::request_line(&mut out, "GET", "/");
/// encode::field(&mut out, "Host", "a.example");
/// encode::end_of_head(&mut out);
/// assert!(out.ends_with(b"a.example\r\n\r\n"));
/// ```
#[inline]
pub fn end_of_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// A chunk of the chunked coding (RFC 9112 §7.1). Nothing for an empty piece: a chunk of size 0 would
/// end the body.
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::chunk(&mut out, b"hello, wire!");
/// lute_net::wire::encode::chunk(&mut out, b"");
/// assert_eq!(out, b"c\r\nhello, wire!\r\n");
/// ```
pub fn chunk(out: &mut Vec<u8>, piece: &[u8]) {
    if piece.is_empty() {
        return;
    }
    out.reserve(piece.len() + 20);
    hexadecimal(out, piece.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body, without trailers.
///
/// ```
/// use lute_net::wire::{BodyDecoder, BodyEvent, BodyFraming, encode};
///
/// let mut out = Vec::new();
/// encode::last_chunk(&mut out);
/// assert_eq!(BodyDecoder::new(BodyFraming::Chunked).decode(&out), Ok((5, BodyEvent::End)));
/// ```
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// A whole response that says what was wrong with a request and closes the connection: `text` and a
/// line end as `text/plain`, the reason phrase when it is empty. `date` is an IMF-fixdate (RFC 9110
/// §5.6.7); with an empty one, as for a server without a clock, there is no `Date` (§6.6.1).
///
/// ```
/// let mut out = Vec::new();
/// lute_net::wire::encode::error_response(&mut out, 400, "", "the Host header is missing");
/// assert!(out.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
/// assert!(out.ends_with(b"Connection: close\r\n\r\nthe Host header is missing\n"));
/// ```
pub fn error_response(out: &mut Vec<u8>, status: u16, date: &str, text: &str) {
    let text = error_head(out, status, date, text);
    out.extend_from_slice(text.as_bytes());
    out.push(b'\n');
}

/// As [`error_response`] without the body, to a HEAD (RFC 9110 §9.3.2); the text that would be in it.
///
/// ```
/// let mut out = Vec::new();
/// let text = lute_net::wire::encode::error_head(&mut out, 413, "", "");
/// assert_eq!(text, "Content Too Large");
/// assert!(out.ends_with(b"\r\n\r\n"));
/// ```
pub fn error_head<'t>(out: &mut Vec<u8>, status: u16, date: &str, text: &'t str) -> &'t str {
    let text = if text.is_empty() {
        reason(status)
    } else {
        text
    };
    status_line(out, status);
    if !date.is_empty() {
        field(out, "Date", date);
    }
    field(out, "Content-Type", "text/plain; charset=utf-8");
    content_length(out, text.len() as u64 + 1);
    field(out, "Connection", "close");
    end_of_head(out);
    text
}

#[inline]
fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Plain digits, no leading zeros.
fn hexadecimal(out: &mut Vec<u8>, number: u64) {
    let digits = number.checked_ilog2().unwrap_or(0) / 4 + 1;
    out.extend((0..digits).rev().map(|place| {
        let digit = (number >> (place * 4) & 0xf) as u8;
        match digit {
            0..=9 => b'0' + digit,
            _ => b'a' + digit - 10,
        }
    }));
}

/// Whole status lines, so that one costs one copy.
macro_rules! known_statuses {
    ($($status:literal $reason:literal)*) => {
        fn known_status(status: u16) -> Option<(&'static str, &'static str)> {
            match status {
                $($status => Some((concat!("HTTP/1.1 ", $status, " ", $reason, "\r\n"), $reason)),)*
                _ => None,
            }
        }
    };
}

// The IANA registry of status codes: https://www.iana.org/assignments/http-status-codes
known_statuses! {
    100 "Continue"
    101 "Switching Protocols"
    102 "Processing"
    103 "Early Hints"
    200 "OK"
    201 "Created"
    202 "Accepted"
    203 "Non-Authoritative Information"
    204 "No Content"
    205 "Reset Content"
    206 "Partial Content"
    207 "Multi-Status"
    208 "Already Reported"
    226 "IM Used"
    300 "Multiple Choices"
    301 "Moved Permanently"
    302 "Found"
    303 "See Other"
    304 "Not Modified"
    305 "Use Proxy"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    402 "Payment Required"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    407 "Proxy Authentication Required"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    411 "Length Required"
    412 "Precondition Failed"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    416 "Range Not Satisfiable"
    417 "Expectation Failed"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    423 "Locked"
    424 "Failed Dependency"
    425 "Too Early"
    426 "Upgrade Required"
    428 "Precondition Required"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    451 "Unavailable For Legal Reasons"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
    506 "Variant Also Negotiates"
    507 "Insufficient Storage"
    508 "Loop Detected"
    510 "Not Extended"
    511 "Network Authentication Required"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{BodyDecoder, BodyEvent, BodyFraming};
    use super::super::{FieldStorage, Parsed, parse_request, parse_response};
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b">".to_vec();
        write(&mut out);
        String::from_utf8(out).unwrap().split_off(1)
    }

    #[test]
    fn status_lines_keep_the_space_before_a_missing_reason_as_of_rfc_9112_section_4() {
        let line = |status| written(|out| status_line(out, status));
        assert_eq!(line(200), "HTTP/1.1 200 OK\r\n");
        assert_eq!(
            line(431),
            "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        );
        assert_eq!(line(299), "HTTP/1.1 299 \r\n");
        assert_eq!(line(999), "HTTP/1.1 999 \r\n");
        assert_eq!((reason(404), reason(299)), ("Not Found", ""));
    }

    #[test]
    fn every_status_line_is_read_back() {
        for status in 100..=999 {
            let head = written(|out| {
                status_line(out, status);
                end_of_head(out);
            });
            let mut storage = FieldStorage::new();
            let parsed = parse_response(head.as_bytes(), &mut storage, 4096).unwrap();
            let Parsed::Complete(parsed) = parsed else {
                panic!("{head:?}");
            };
            assert_eq!((parsed.status(), parsed.reason()), (status, reason(status)));
        }
    }

    #[test]
    fn a_request_is_read_back() {
        let head = written(|out| {
            request_line(out, "POST", "/a?b");
            field(out, "Host", b"a.example");
            field(out, b"X-Name", "caf\u{e9}");
            content_length(out, u64::MAX);
            end_of_head(out);
        });
        let expected = "POST /a?b HTTP/1.1\r\nHost: a.example\r\nX-Name: caf\u{e9}\r\n\
                        Content-Length: 18446744073709551615\r\n\r\n";
        assert_eq!(head, expected);
        let mut storage = FieldStorage::new();
        let parsed = parse_request(head.as_bytes(), &mut storage, 4096).unwrap();
        assert!(matches!(parsed, Parsed::Complete(head) if head.length() == expected.len()));
    }

    #[test]
    fn chunks_have_plain_sizes_and_an_empty_one_is_left_out_as_of_rfc_9112_section_7_1() {
        assert_eq!(written(|out| chunk(out, b"")), "");
        for length in [1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 1_048_576] {
            let piece = "x".repeat(length);
            let text = written(|out| chunk(out, piece.as_bytes()));
            assert_eq!(text, format!("{length:x}\r\n{piece}\r\n"));
        }
    }

    #[test]
    fn chunks_are_read_back() {
        let body = written(|out| {
            chunk(out, b"hello");
            last_chunk(out);
        });
        let mut decoder = BodyDecoder::new(BodyFraming::Chunked);
        let body = body.as_bytes();
        assert_eq!(decoder.decode(body), Ok((8, BodyEvent::Piece(b"hello"))));
        assert_eq!(
            decoder.decode(&body[8..]),
            Ok((body.len() - 8, BodyEvent::End))
        );
    }

    #[test]
    fn an_error_response_says_what_was_wrong_and_closes() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(
            written(|out| error_response(out, 400, date, "the Host header is missing")),
            "HTTP/1.1 400 Bad Request\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\nConnection: close\r\n\
             \r\nthe Host header is missing\n"
        );
        let plain = written(|out| error_response(out, 500, "", ""));
        assert!(
            plain.ends_with("\r\n\r\nInternal Server Error\n"),
            "{plain}"
        );
        assert!(!plain.contains("Date"), "{plain}");
    }
}
