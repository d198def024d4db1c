//! The server's limits, one by one, as a raw client meets them: small configured values, and what comes beyond them.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    certificates::Authority,
    support::{PATIENCE, Script, Server, read_response, read_to_end, wait_until},
};

const ECHO: &str = "return request.method .. ' ' .. request.path .. ' ' .. request.body";

/// The timeout that these tests configure, and in Luau.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What the end of a timeout may add to it on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

fn assert_refused(answer: &str, status: u16) {
    let begins = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&begins), "{status}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

fn assert_took_the_timeout(began: Instant) {
    let took = began.elapsed();
    assert!(took >= TIMEOUT && took < TIMEOUT + SLACK, "{took:?}");
}

/// Sends a byte every 20 ms until the server says something, and returns all it says.
fn dribble(stream: &mut TcpStream) -> String {
    let interval = Duration::from_millis(20);
    stream.set_read_timeout(Some(interval)).unwrap();
    let mut first = [0];
    while let Err(error) = stream.read_exact(&mut first) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
        stream.write_all(b"x").unwrap();
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    format!("{}{}", first[0] as char, read_to_end(stream))
}

/// Whether nothing comes for a while.
fn stays_silent(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let silent =
        matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

// timeout.header

#[test]
fn a_head_that_does_not_end_in_time_is_a_408_however_often_a_piece_of_it_comes() {
    let server = Server::with_options("timeout = { header = 0.3 },", ECHO);
    let mut stream = server.connect();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    assert_refused(&dribble(&mut stream), 408);
    assert_took_the_timeout(began);
}

#[test]
fn the_time_of_a_head_runs_from_its_first_byte() {
    let server = Server::with_options("timeout = { header = 0.3 },", ECHO);
    let mut stream = server.connect();
    for _ in 0..2 {
        thread::sleep(TIMEOUT + Duration::from_millis(150));
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        assert_eq!(read_response(&mut stream).1, "GET /a ");
    }
}

#[test]
fn each_of_two_heads_that_follow_each_other_has_its_own_time() {
    let server = Server::with_options("timeout = { header = 0.3 },", ECHO);
    let mut stream = server.connect();
    for piece in [
        "GET /a HTTP/1.1\r\n",
        "Host: a\r\n\r\nGET /b HTTP/1.1\r\n",
        "Host: a\r\n\r\n",
    ] {
        stream.write_all(piece.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(read_response(&mut stream).1, "GET /a ");
    assert_eq!(read_response(&mut stream).1, "GET /b ");
}

#[test]
fn a_head_that_began_while_a_handler_waited_has_its_time_too() {
    let server = Server::with_options(
        "timeout = { header = 0.3 },",
        "task.wait(0.05) return request.path",
    );
    let mut stream = server.connect();
    stream.write_all(b"GET /a HTTP/1.1\r\n").unwrap();
    thread::sleep(Duration::from_millis(50));
    stream.write_all(b"Host: a\r\n\r\nGET /b HT").unwrap();
    assert_eq!(read_response(&mut stream).1, "/a");
    let began = Instant::now();
    assert_refused(&read_to_end(&mut stream), 408);
    assert_took_the_timeout(began);
}

#[test]
fn no_timeout_of_the_client_runs_while_a_handler_waits() {
    let server = Server::with_options(
        "timeout = { header = 0.1, body = 0.1, idle = 0.1, write = 0.1 },",
        "task.wait(0.5) return request.body",
    );
    let mut stream = server.connect();
    for piece in [
        "POST / HTTP/1.1\r\nHost: a\r\n",
        "Content-Length: 2\r\n\r\no",
        "k",
    ] {
        stream.write_all(piece.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_response(&mut stream).1, "ok");
}

// timeout.body

const POST_8192: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8192\r\n\r\n";

#[test]
fn a_body_of_which_nothing_more_comes_is_a_408() {
    let server = Server::with_options("timeout = { body = 0.3 },", ECHO);
    let mut stream = server.connect();
    stream.write_all(POST_8192).unwrap();
    stream.write_all(&[b'x'; 4096]).unwrap();
    let began = Instant::now();
    assert_refused(&read_to_end(&mut stream), 408);
    assert_took_the_timeout(began);
}

#[test]
fn a_body_that_comes_in_pieces_may_take_longer_than_the_time_between_two() {
    for option in ["", "streambody = true,"] {
        let server = Server::with_options(
            &format!("timeout = {{ body = 0.3, header = 0.2 }}, {option}"),
            r#"
local length = #request.body
if request.path == "/streamed" then
	for piece in request:pieces() do length += #piece end
end
return tostring(length)
"#,
        );
        let path = if option.is_empty() { "/" } else { "/streamed" };
        let mut stream = server.connect();
        stream
            .write_all(format!("POST {path} HTTP/1.1\r\nHost: a\r\n").as_bytes())
            .unwrap();
        thread::sleep(Duration::from_millis(50));
        stream.write_all(b"Content-Length: 8192\r\n\r\n").unwrap();
        for _ in 0..4 {
            thread::sleep(Duration::from_millis(150));
            stream.write_all(&[b'x'; 2048]).unwrap();
        }
        assert_eq!(read_response(&mut stream).1, "8192", "{option}");
    }
}

#[test]
fn a_body_that_comes_byte_by_byte_is_a_408_by_its_average_rate() {
    let server = Server::with_options("timeout = { body = 0.3 },", ECHO);
    let mut stream = server.connect();
    let began = Instant::now();
    stream.write_all(POST_8192).unwrap();
    assert_refused(&dribble(&mut stream), 408);
    assert_took_the_timeout(began);
}

#[test]
fn each_of_two_bodies_that_follow_each_other_has_its_own_average() {
    let server = Server::with_options(
        "timeout = { body = 0.3 },",
        "return tostring(#request.body)",
    );
    let mut stream = server.connect();
    stream.write_all(POST_8192).unwrap();
    for _ in 0..3 {
        stream.write_all(&[b'x'; 2048]).unwrap();
        thread::sleep(Duration::from_millis(150));
    }
    let mut seam = vec![b'x'; 2048];
    seam.extend_from_slice(POST_8192);
    seam.extend_from_slice(b"abc");
    stream.write_all(&seam).unwrap();
    assert_eq!(read_response(&mut stream).1, "8192");
    assert!(stays_silent(&mut stream));
    stream.write_all(&[b'x'; 8189]).unwrap();
    assert_eq!(read_response(&mut stream).1, "8192");
}

#[test]
fn a_streamed_body_that_its_handler_reads_late_is_not_the_clients_fault() {
    let server = Server::with_options(
        "streambody = true, timeout = { body = 0.1 },",
        r#"
task.wait(0.4)
local length = 0
for piece in request:pieces() do length += #piece task.wait(0.01) end
return tostring(length)
"#,
    );
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n")
        .unwrap();
    stream.write_all(&[b'x'; 200]).unwrap();
    thread::sleep(Duration::from_millis(50));
    stream.write_all(&[b'x'; 100]).unwrap();
    assert_eq!(read_response(&mut stream).1, "300");
}

#[test]
fn a_body_that_its_handler_does_not_want_has_the_same_time_and_the_connection_goes_on() {
    let server = Server::with_options(
        "streambody = true, timeout = { header = 0.2, body = 0.3 },",
        "return request.path",
    );
    let mut stream = server.connect();
    stream
        .write_all(b"POST /a HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(50));
    stream.write_all(b"Content-Length: 8192\r\n\r\n").unwrap();
    assert_eq!(read_response(&mut stream).1, "/a");
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(150));
        stream.write_all(&[b'x'; 2048]).unwrap();
    }
    stream
        .write_all(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "/b");
}

const UPLOAD: &str = r#"
local length = 0
for piece in request:pieces() do length += #piece end
return tostring(length)
"#;

#[test]
fn a_streamed_body_that_stops_is_a_408_when_its_handler_does_not_know_better() {
    let server = Server::with_options("streambody = true, timeout = { body = 0.3 },", UPLOAD);
    let mut stream = server.connect();
    stream.write_all(POST_8192).unwrap();
    stream.write_all(&[b'x'; 4096]).unwrap();
    let began = Instant::now();
    assert_refused(&read_to_end(&mut stream), 408);
    assert_took_the_timeout(began);
    let mut stream = server.connect();
    let began = Instant::now();
    stream.write_all(POST_8192).unwrap();
    assert_refused(&dribble(&mut stream), 408);
    assert_took_the_timeout(began);
}

#[test]
fn what_follows_a_broken_streamed_body_is_never_taken_for_a_request() {
    let handler = r#"
print(request.path)
local fine, problem = pcall(function()
	for piece in request:pieces() do end
end)
if request.path == "/late" then task.wait(0.01) end
if request.path == "/stream" then
	local pieces = { "str", "eam" }
	return { body = function() return table.remove(pieces, 1) end }
end
return tostring(problem)
"#;
    let mut server = Server::with_options("streambody = true,", handler);
    for path in ["/now", "/late", "/stream"] {
        let answer = server.exchange(
            format!(
                "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert_eq!(server.next_line(), path);
    }
}

// timeout.idle

#[test]
fn a_kept_connection_that_sends_no_request_is_closed_without_a_word() {
    let server = Server::with_options("timeout = { idle = 0.3 },", ECHO);
    let mut stream = server.connect();
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(200));
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        assert_eq!(read_response(&mut stream).1, "GET /a ");
    }
    let began = Instant::now();
    assert_eq!(read_to_end(&mut stream), "");
    assert_took_the_timeout(began);
}

#[test]
fn a_kept_connection_is_closed_after_late_and_streamed_answers_too() {
    let server = Server::with_options(
        "timeout = { idle = 0.3 },",
        r#"
task.wait(0.01)
local pieces = { "abc" }
return { body = function() return table.remove(pieces) end, headers = { ["Content-Length"] = "3" } }
"#,
    );
    let mut stream = server.connect();
    stream
        .write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "abc");
    let began = Instant::now();
    assert_eq!(read_to_end(&mut stream), "");
    assert_took_the_timeout(began);
}

// timeout.write

const LARGE: &str = r#"
local large = string.rep("x", 2 ^ 24)
if request.path == "/late" then task.wait(0.01) end
if request.path == "/stream" then
	local sent = 0
	return { body = function() sent += 2 ^ 16 return if sent <= 2 ^ 24 then string.sub(large, 1, 2 ^ 16) else nil end }
end
return large
"#;

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_client_that_reads_nothing_is_dropped() {
    let server = Server::with_options("timeout = { write = 0.3 },", LARGE);
    let before = server.descriptors();
    let began = Instant::now();
    let _streams: Vec<_> = ["/now", "/late", "/stream"]
        .into_iter()
        .map(|path| {
            let mut stream = server.connect_with_small_buffer();
            stream.write_all(get(path).as_bytes()).unwrap();
            stream
        })
        .collect();
    wait_until("three connections", || server.descriptors() == before + 3);
    wait_until("none", || server.descriptors() == before);
    assert_took_the_timeout(began);
    assert_eq!(server.activity(), (0, 0));
}

#[test]
fn a_client_that_reads_slowly_is_served_for_as_long_as_it_takes() {
    let server = Server::with_options("timeout = { write = 0.3 },", LARGE);
    for path in ["/now", "/late", "/stream"] {
        let mut stream = server.connect_with_small_buffer();
        stream.write_all(get(path).as_bytes()).unwrap();
        let (began, mut buffer, mut count) = (Instant::now(), vec![0; 1 << 16], 0);
        while began.elapsed() < TIMEOUT * 2 {
            count += stream.read(&mut buffer).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        count += stream.read_to_end(&mut Vec::new()).unwrap();
        assert!(count > 1 << 24, "{path}: {count}");
    }
}

// timeout.handshake

#[test]
fn a_tls_handshake_that_takes_too_long_ends_the_connection() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    let server = Server::with_options(
        &format!(
            "timeout = {{ handshake = 0.3 }}, tls = {{ certfilename = '{}', keyfilename = '{}' }},",
            issued.certificate.display(),
            issued.key.display()
        ),
        ECHO,
    );
    let before = server.descriptors();
    // Nothing, and the beginning of a record.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        let mut stream = server.connect();
        let began = Instant::now();
        stream.write_all(sent).unwrap();
        let mut rest = Vec::new();
        // Bytes that were not read make the end a reset.
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP"));
        assert_took_the_timeout(began);
    }
    wait_until("no connection", || server.descriptors() == before);
}

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
        let server = Server::with_options(
            &format!("maxbodysize = 10, {option}"),
            r#"
local length = #request.body
if request.path == "/streamed" then
	for piece in request:pieces() do length += #piece end
end
return tostring(length)
"#,
        );
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

// Expect: 100-continue (RFC 9110 §10.1.1)

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

// Bodies that have no end of their own, and answers that have none.

const PIECES: &str = r#"
local pieces = { "one", "two" }
return {
	status = tonumber(string.match(request.path, "%d+")),
	body = function(why) return if why then nil else table.remove(pieces, 1) end,
}
"#;

#[test]
fn a_streamed_body_ends_with_the_connection_in_http_1_0() {
    let server = Server::with_handler(PIECES);
    let answer = server.exchange(b"GET /200 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(!answer.contains("Transfer-Encoding"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nonetwo"), "{answer}");
}

#[test]
fn a_function_body_is_not_sent_to_head_and_with_204_and_304() {
    let server = Server::with_handler(PIECES);
    let answers = server.exchange(
        b"HEAD /200 HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\nGET /304 HTTP/1.1\r\nHost: a\r\n\r\nGET /200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    let heads: Vec<_> = answers.split("\r\n\r\n").collect();
    for (head, status) in heads.iter().zip(["200", "204", "304", "200"]) {
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answers}"
        );
    }
    assert!(heads[0].contains("Transfer-Encoding: chunked"), "{answers}");
    assert!(!heads[1].contains("Transfer-Encoding"), "{answers}");
    assert!(answers.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"));
}

// socketpath

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lute-net-{}-{name}.socket", std::process::id()))
}

fn serve_at(path: &Path) -> Server {
    Server::with_options(
        &format!("socketpath = '{}',", path.display()),
        "if request.path == '/close' then running:close() end return request.remote",
    )
}

fn ask_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/").as_bytes()).unwrap();
    read_to_end(&mut stream)
}

/// What `serve` says to a path that it must not take.
fn refusal_at(path: &Path) -> String {
    let script = Script::new(&format!(
        r#"
local fine, problem = pcall(require("@lute/net/server").serve, {{ socketpath = "{}", handler = print }})
print(fine, problem)
if fine then problem.close() end
"#,
        path.display()
    ));
    let output = script.run(&[]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_unix_socket_is_served_and_its_path_removed_at_close() {
    let path = socket_path("served");
    let mut server = serve_at(&path);
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    let in_use = refusal_at(&path);
    assert!(in_use.starts_with("false\tfailed to listen on"), "{in_use}");
    assert!(in_use.contains("another process listens there"), "{in_use}");
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(get("/close").as_bytes()).unwrap();
    assert!(server.child.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_was_left_behind_is_taken_over() {
    let path = socket_path("left");
    drop(serve_at(&path));
    assert!(path.exists());
    let mut server = serve_at(&path);
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = socket_path("file");
    fs::write(&path, "precious").unwrap();
    let refused = refusal_at(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious", "{refused}");
    assert!(
        refused.starts_with("false\tfailed to listen on"),
        "{refused}"
    );
    fs::remove_file(&path).unwrap();
}

// request:closed()

#[test]
fn a_request_is_closed_when_its_client_has_gone() {
    for option in ["", "streambody = true,"] {
        let mut server = Server::with_options(
            option,
            r#"
print(request:closed())
task.wait()
print(request:closed())
local patience = 400
while not request:closed() and patience > 0 do
	patience -= 1
	task.wait(0.005)
end
print(if patience > 0 then "gone" else "not noticed")
return ""
"#,
        );
        for way in ["end of sending", "close", "reset"] {
            let mut stream = server.connect();
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .unwrap();
            assert_eq!(server.next_line(), "false");
            assert_eq!(server.next_line(), "false");
            match way {
                "end of sending" => stream.shutdown(Shutdown::Write).unwrap(),
                "close" => drop(stream.try_clone().unwrap()),
                _ => SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap(),
            }
            let kept = (way == "end of sending").then_some(stream);
            assert_eq!(server.next_line(), "gone", "{way}");
            drop(kept);
        }
    }
}
