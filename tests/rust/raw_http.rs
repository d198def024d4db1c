//! A server under raw bytes: pipelining, requests cut in pieces, and answers that cannot be sent.

use std::{
    io::{BufReader, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use crate::support::{Server, read_response, read_to_end};

const ECHO: &str = "return request.method .. ' ' .. request.path .. ' ' .. request.body";

fn pipelined(count: usize, handler: &str) {
    let server = Server::with_handler(handler);
    let mut stream = server.connect();
    let requests: String = (0..count)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for number in 0..count {
        let (head, body) = read_response(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(body, format!("GET /{number} "));
    }
}

#[test]
fn two_and_sixteen_requests_in_one_segment_are_answered_in_order() {
    pipelined(2, ECHO);
    pipelined(16, ECHO);
}

#[test]
fn pipelined_requests_are_answered_in_order_when_handlers_wait() {
    let handler =
        format!("if string.find(request.path, '[02468]$') then task.wait(0.01) end {ECHO}");
    pipelined(16, &handler);
}

#[test]
fn pipelined_answers_stay_whole_and_in_order_when_their_client_reads_late() {
    let server = Server::with_handler(
        r#"
local way, number = string.match(request.path, "/(%l+)/(%d+)")
local body = string.rep(number .. ",", 2 ^ 15)
if way == "late" or way == "both" then task.wait(0.001) end
if way == "stream" or way == "both" then
	local sent = 0
	return {
		headers = { ["Content-Length"] = tostring(#body) },
		body = function()
			sent += 10000
			local piece = string.sub(body, sent - 9999, sent)
			return if piece ~= "" then piece else nil
		end,
	}
end
return body
"#,
    );
    let paths: Vec<_> = [
        "now", "now", "late", "stream", "now", "both", "late", "late",
    ]
    .repeat(10)
    .into_iter()
    .enumerate()
    .map(|(number, way)| format!("/{way}/{}", 1000 + number))
    .collect();
    let requests: String = paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect();
    let mut stream = server.connect_with_small_buffer();
    stream.write_all(requests.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(100));
    let mut stream = BufReader::new(stream);
    for path in paths {
        let number = &path[path.len() - 4..];
        let (head, body) = read_response(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
        assert!(body == format!("{number},").repeat(1 << 15), "{path}");
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let server = Server::with_handler(ECHO);
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"POST /drops HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    assert_eq!(read_response(&mut stream).1, "POST /drops abcde");
    stream
        .write_all(b"POST /next HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok")
        .unwrap();
    assert_eq!(read_response(&mut stream).1, "POST /next ok");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let server = Server::with_handler("task.wait(0.05) return 'still here'");
    let mut stream = server.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut stream).ends_with("still here"));
}

#[test]
fn an_answer_that_cannot_be_sent_is_a_500_and_reported() {
    let server = Server::with_handler(
        r#"
return ({
	["/number"] = 5,
	["/status"] = { status = 99 },
	["/injection"] = { headers = { A = "b\r\nC: d" } },
	["/name"] = { headers = { ["A B"] = "c" } },
	["/coding"] = { headers = { ["Transfer-Encoding"] = "chunked" } },
	["/length"] = { body = "abc", headers = { ["Content-Length"] = "5" } },
	["/value"] = { headers = { A = 5 } },
	["/body"] = { body = true },
} :: any)[request.path]
"#,
    );
    for path in [
        "nil",
        "number",
        "status",
        "injection",
        "name",
        "coding",
        "length",
        "value",
        "body",
    ] {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = server.exchange(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 500 "), "{path}: {answer}");
        assert!(!answer.contains("C: d"), "{path}: {answer}");
    }
    let stderr = server.stop_and_read_stderr();
    assert_eq!(
        stderr
            .lines()
            .filter(|line| line.contains("handler"))
            .count(),
        9,
        "{stderr}"
    );
}

#[test]
fn a_server_that_sees_loops_of_defer_self_still_answers() {
    let server = Server::start(
        r#"
local task = require("@lute/task")
local running = require("@lute/net/server").serve({ port = 0, handler = function() return "answered" end })
print(running.port)
while true do task.deferSelf() end
"#,
    );
    let began = Instant::now();
    let answer = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.ends_with("answered"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn many_large_answers_asked_for_at_once_do_not_fill_the_memory() {
    let server = Server::with_handler("return string.rep('x', 1000000)");
    let mut stream = server.connect();
    stream
        .write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000).as_bytes())
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 60_000, "{kilobytes} kB");
    for _ in 0..1000 {
        assert_eq!(read_response(&mut stream).1.len(), 1_000_000);
    }
}

#[test]
fn a_content_length_that_is_said_twice_is_one_for_the_handler() {
    let server = Server::with_handler("return request.headers['content-length'] .. request.body");
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    assert!(server.exchange(request.as_bytes()).ends_with("\r\n\r\n2ok"));
}
