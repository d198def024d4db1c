//! How long a client may take: each timeout of a server with a small value, as a raw client meets it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::{
    certificates::Authority,
    limits::LENGTH,
    support::{
        PATIENCE, Server, assert_refused, get_once, read_response, read_to_end, stays_silent,
        wait_until,
    },
};

const ECHO: &str = "return request.method .. ' ' .. request.path .. ' ' .. request.body";

/// The timeout that these tests configure, and in Luau.
const TIMEOUT: Duration = Duration::from_millis(300);

/// What the end of a timeout may add to it on a busy machine.
const SLACK: Duration = Duration::from_secs(5);

fn assert_took_the_timeout(began: Instant) {
    let took = began.elapsed();
    // The server's time begins before this client sees what began it.
    assert!(took >= TIMEOUT / 2 && took < TIMEOUT + SLACK, "{took:?}");
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
            LENGTH,
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

#[test]
fn a_client_that_reads_nothing_is_dropped() {
    let server = Server::with_options("timeout = { write = 0.3 },", LARGE);
    let before = server.descriptors();
    let began = Instant::now();
    let _streams: Vec<_> = ["/now", "/late", "/stream"]
        .into_iter()
        .map(|path| {
            let mut stream = server.connect_with_small_buffer();
            stream.write_all(get_once(path).as_bytes()).unwrap();
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
        stream.write_all(get_once(path).as_bytes()).unwrap();
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
