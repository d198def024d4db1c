//! `Expect: 100-continue` (RFC 9110 §10.1.1).

use std::io::Write;

use crate::support::{Server, assert_refused, read_response, read_to_end, stays_silent};

const ECHO: &str = "return request.method .. ' ' .. request.path .. ' ' .. request.body";

const EXPECTING: &str = "Host: a\r\nExpect: 100-continue\r\n";

#[test]
fn a_client_that_expects_100_continue_gets_it_when_its_body_is_wanted() {
    let server = Server::with_options("maxbodysize = 10,", ECHO);
    let mut stream = server.connect();
    stream
        .write_all(format!("POST /a HTTP/1.1\r\n{EXPECTING}Content-Length: 2\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(
        read_response(&mut stream).0,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"ok").unwrap();
    assert_eq!(read_response(&mut stream).1, "POST /a ok");
    // Not when the body comes anyway, when there is none, and to a client that knows no 100 (RFC 9110 §10.1.1).
    for request in [
        format!("POST /a HTTP/1.1\r\n{EXPECTING}Content-Length: 2\r\n\r\nok"),
        format!("POST /a HTTP/1.1\r\n{EXPECTING}Content-Length: 0\r\n\r\n"),
        format!("GET /a HTTP/1.1\r\n{EXPECTING}\r\n"),
        format!(
            "POST /a HTTP/1.0\r\n{EXPECTING}Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
        ),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        let (head, _) = read_response(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 "), "{request}: {head}");
    }
    let mut old = server.connect();
    old.write_all(format!("POST /a HTTP/1.0\r\n{EXPECTING}Content-Length: 2\r\n\r\n").as_bytes())
        .unwrap();
    assert!(stays_silent(&mut old));
}

#[test]
fn a_body_that_will_be_refused_is_refused_instead_of_a_100() {
    for option in ["", "streambody = true,"] {
        let server = Server::with_options(&format!("maxbodysize = 10, {option}"), ECHO);
        let too_large = format!("POST /a HTTP/1.1\r\n{EXPECTING}Content-Length: 11\r\n\r\n");
        assert_refused(&server.exchange(too_large.as_bytes()), 413);
        let other = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: more\r\nContent-Length: 2\r\n\r\n";
        assert_refused(&server.exchange(other.as_bytes()), 417);
    }
}

#[test]
fn with_streambody_a_100_is_sent_when_the_handler_first_reads() {
    let mut server = Server::with_options(
        "streambody = true,",
        r#"
if request.path == "/unread" then return "no, thanks" end
task.wait(0.2)
print("reads")
local body = ""
for piece in request:pieces() do body ..= piece end
return body
"#,
    );
    let request =
        |path: &str| format!("POST {path} HTTP/1.1\r\n{EXPECTING}Content-Length: 2\r\n\r\n");
    let mut stream = server.connect();
    stream.write_all(request("/read").as_bytes()).unwrap();
    assert!(stays_silent(&mut stream));
    assert_eq!(server.next_line(), "reads");
    assert_eq!(
        read_response(&mut stream).0,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"ok").unwrap();
    let (head, body) = read_response(&mut stream);
    assert!(!head.contains("Connection: "), "{head}");
    assert_eq!(body, "ok");
    // The same connection goes on; a body that is not wanted ends it, since nobody knows whether it will come.
    stream.write_all(request("/unread").as_bytes()).unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("no, thanks"));
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}
