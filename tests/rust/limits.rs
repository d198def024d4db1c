//! How much a client may send, and how many there may be: each limit with a small value, as a raw client meets it.

use std::{io::Write, net::Shutdown, thread, time::Duration};

use crate::support::{
    Server, assert_refused, read_response, read_to_end, stays_silent, wait_until,
};

const ECHO: &str = "return request.method .. ' ' .. request.path .. ' ' .. request.body";

/// A handler that answers how long the body is; it reads that of `/streamed` as it comes.
pub const LENGTH: &str = r#"
local length = #request.body
if request.path == "/streamed" then
	for piece in request:pieces() do length += #piece end
end
return tostring(length)
"#;

// maxheadersize, maxbodysize, maxbuffered

#[test]
fn a_head_beyond_maxheadersize_is_a_431_and_a_line_beyond_it_a_414() {
    let server = Server::with_options("maxheadersize = 200,", ECHO);
    let request = |path: usize, field: usize| {
        let (path, field) = ("p".repeat(path), "f".repeat(field));
        format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {field}\r\n\r\n")
    };
    let fixed = request(0, 0).len();
    for (path, field, status) in [
        (0, 200 - fixed, 200),
        (200 - fixed, 0, 200),
        (0, 201 - fixed, 431),
        (100, 101 - fixed, 431),
        (200, 0, 414),
        (0, 100_000, 431),
        (100_000, 0, 414),
    ] {
        let answer = server.exchange(request(path, field).as_bytes());
        assert_refused(&answer, status);
    }
    // Without an end in sight, too.
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "f".repeat(200));
    assert_refused(&server.exchange(endless.as_bytes()), 431);
}

#[test]
fn a_body_beyond_maxbodysize_is_a_413_by_its_length_and_by_its_chunks() {
    for option in ["", "streambody = true,"] {
        let server = Server::with_options(&format!("maxbodysize = 10, {option}"), LENGTH);
        let path = if option.is_empty() { "/" } else { "/streamed" };
        let begin = format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        for (rest, status) in [
            ("Content-Length: 10\r\n\r\n0123456789", 200),
            ("Content-Length: 11\r\n\r\n", 413),
            ("Content-Length: 11\r\n\r\n0123456789a", 413),
            (
                "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n",
                200,
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n6789a",
                413,
            ),
        ] {
            let answer = server.exchange(format!("{begin}{rest}").as_bytes());
            assert_refused(&answer, status);
        }
    }
}

#[test]
fn a_client_that_sends_all_of_a_body_that_is_too_large_can_read_why_it_was_refused() {
    let server = Server::with_options("maxbodysize = 10,", ECHO);
    let mut request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n".to_vec();
    request.resize(request.len() + (1 << 24), b'x');
    assert_refused(&server.exchange(&request), 413);
}

#[test]
fn bodies_beyond_maxbuffered_are_503_until_others_are_done() {
    let server = Server::with_options("maxbuffered = 1000,", "return tostring(#request.body)");
    let post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 800\r\n\r\n";
    let mut first = server.connect();
    first.write_all(post).unwrap();
    first.write_all(&[b'x'; 600]).unwrap();
    wait_until("a body in memory", || server.activity().0 == 1);
    thread::sleep(Duration::from_millis(20));
    let mut second = server.connect();
    second.write_all(post).unwrap();
    second.write_all(&[b'x'; 300]).unwrap();
    thread::sleep(Duration::from_millis(20));
    second.write_all(&[b'x'; 300]).unwrap();
    assert_refused(&read_to_end(&mut second), 503);
    first.write_all(&[b'x'; 200]).unwrap();
    assert_eq!(read_response(&mut first).1, "800");
    // The refused body's share is free again, and that of one whose client went away.
    let mut gone = server.connect();
    gone.write_all(post).unwrap();
    gone.write_all(&[b'x'; 600]).unwrap();
    thread::sleep(Duration::from_millis(20));
    drop((second, gone));
    wait_until("no other connection", || server.activity().0 == 1);
    first.write_all(post).unwrap();
    first.write_all(&[b'x'; 790]).unwrap();
    thread::sleep(Duration::from_millis(20));
    first.write_all(&[b'x'; 10]).unwrap();
    assert_eq!(read_response(&mut first).1, "800");
}

#[test]
fn a_body_counts_towards_maxbuffered_while_its_handler_waits() {
    let server = Server::with_options(
        "maxbuffered = 1000,",
        "while request.path == '/wait' and not request:closed() do task.wait(0.01) end return tostring(#request.body)",
    );
    let post = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 800\r\n\r\n");
        head + &"x".repeat(800)
    };
    let mut first = server.connect();
    first.write_all(post("/wait").as_bytes()).unwrap();
    wait_until("a waiting handler", || server.activity().1 == 1);
    assert_refused(&server.exchange(post("/").as_bytes()), 503);
    drop(first);
    wait_until("its end", || server.activity() == (0, 0));
    let mut second = server.connect();
    second.write_all(post("/").as_bytes()).unwrap();
    assert_eq!(read_response(&mut second).1, "800");
}

// maxconnections

#[test]
fn beyond_maxconnections_the_next_client_waits_until_one_leaves() {
    let server = Server::with_options("maxconnections = 2,", ECHO);
    let before = server.descriptors();
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut streams: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(request).unwrap();
    }
    for stream in &mut streams[..2] {
        assert_eq!(read_response(stream).1, "GET /a ");
    }
    assert!(stays_silent(&mut streams[2]));
    assert_eq!(server.descriptors(), before + 2);
    // Those who are in are served all the while.
    streams[1].write_all(request).unwrap();
    assert_eq!(read_response(&mut streams[1]).1, "GET /a ");
    for leaving in 0..2 {
        streams[leaving].shutdown(Shutdown::Both).unwrap();
        assert_eq!(read_response(&mut streams[leaving + 2]).1, "GET /a ");
    }
}
