//! Bodies that come and go in pieces.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use lute_net::Runtime;
use socket2::SockRef;

use crate::{
    runtime::noting_in,
    support::{PATIENCE, Server, get_once, read_response, read_to_end},
};

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

#[test]
fn a_body_is_sent_while_the_requests_own_still_comes() {
    let server = Server::with_options(
        "streambody = true,",
        r#"
if request.path == "/late" then task.wait(0.01) end
return { body = function(why) return if why then nil else request:read() end }
"#,
    );
    let mut stream = server.connect();
    for path in ["/now", "/late"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let (head, _) = read_response(&mut stream);
        assert!(
            head.contains("\r\nTransfer-Encoding: chunked\r\n"),
            "{head}"
        );
        for piece in [b"ping", b"pong"] {
            stream.write_all(piece).unwrap();
            let mut chunk = [0; 9];
            stream.read_exact(&mut chunk).unwrap();
            assert_eq!(&chunk[3..7], piece);
        }
        let mut last = [0; 5];
        stream.read_exact(&mut last).unwrap();
        assert_eq!(&last, b"0\r\n\r\n");
    }
}

#[test]
fn two_coroutines_that_read_one_body_get_all_of_it_between_them() {
    let server = Server::with_options(
        "streambody = true,",
        r#"
local length, readers = 0, 2
for _ = 1, 2 do
	task.spawn(function()
		for piece in request:pieces() do length += #piece end
		readers -= 1
	end)
end
while readers > 0 do task.wait() end
return tostring(length)
"#,
    );
    let mut stream = server.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n")
        .unwrap();
    for piece in ["one,", "two,", "six."] {
        thread::sleep(Duration::from_millis(10));
        stream.write_all(piece.as_bytes()).unwrap();
    }
    assert_eq!(read_response(&mut stream).1, "12");
}

/// Asks every 50 ms until twice the same is said.
fn settled(mut asked: impl FnMut() -> String) -> String {
    let mut before = asked();
    loop {
        thread::sleep(Duration::from_millis(50));
        let now = asked();
        if now == before {
            return now;
        }
        before = now;
    }
}

#[test]
fn a_body_is_made_no_faster_than_its_client_takes_it() {
    let server = Server::start(
        r#"
local made = 0
print(require("@lute/net/server").serve({ port = 0, handler = function(request)
	if request.path == "/made" then return tostring(made) end
	return { body = function(why)
		if why or made == 400 then return nil end
		made += 1
		return string.rep("x", 2 ^ 16)
	end } :: any
end }).port)
"#,
    );
    let made = || {
        let answer = server.exchange(get_once("/made").as_bytes());
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    let mut stream = server.connect_with_small_buffer();
    stream.write_all(get_once("/").as_bytes()).unwrap();
    let count: u32 = settled(made).parse().unwrap();
    // What the system holds, and one piece.
    assert!((1..150).contains(&count), "{count}");
    assert!(read_to_end(&mut stream).len() > 400 << 16);
    assert_eq!(made(), "400");
}

#[test]
fn a_body_comes_no_faster_than_its_handler_takes_it() {
    let server = Server::start(
        r#"
local task = require("@lute/task")
local open = false
print(require("@lute/net/server").serve({ port = 0, streambody = true, maxbodysize = 2 ^ 30, handler = function(request, running)
	if request.path == "/received" then return tostring(running.stats().received // 2 ^ 16) end
	if request.path == "/open" then open = true return "" end
	while not open do task.wait(0.01) end
	local size = 0
	for piece in request:pieces() do size += #piece end
	return tostring(size)
end } :: any).port)
"#,
    );
    let get = |path| {
        let answer = server.exchange(get_once(path).as_bytes());
        answer.rsplit("\r\n").next().unwrap().to_owned()
    };
    let mut stream = server.connect();
    let size = 400 << 16;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        size
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || {
        for _ in 0..400 {
            sender.write_all(&[b'x'; 1 << 16]).unwrap();
        }
    });
    let received: u32 = settled(|| get("/received")).parse().unwrap();
    assert!(received < 10, "{received}");
    get("/open");
    sending.join().unwrap();
    assert!(read_to_end(&mut stream).ends_with(&format!("\r\n{size}")));
}

#[test]
fn a_response_that_a_script_forgets_closes_its_connection_once_it_is_collected() {
    // Its request's body is a function, which the VM is told of when it is over.
    let (runtime, notes) = noting_in(
        Runtime::builder(),
        r#"
local note = require("@test/note") :: any
local client, server = require("@lute/net/client"), require("@lute/net/server")
local running = server.serve({ port = 0, handler = function()
	return { body = function() return string.rep("x", 100_000) end }
end })
local function forget()
	local left = 3
	local response = client.stream(`http://127.0.0.1:{running.port}/`, {
		method = "POST",
		body = function(): any
			left -= 1
			return if left > 0 then "piece" else nil
		end,
	})
	note(`{response.status}`)
end
forget()
note("forgotten")
"#,
    );
    let deadline = Instant::now() + PATIENCE;
    while notes.borrow().len() < 2 && Instant::now() < deadline {
        runtime.step(Duration::from_millis(1)).unwrap();
    }
    assert_eq!(*notes.borrow(), ["200", "forgotten"]);
    assert_eq!(runtime.connections(), 1);
    for _ in 0..2 {
        runtime.lua().gc_collect().unwrap();
    }
    while runtime.connections() > 0 && Instant::now() < deadline {
        runtime.step(Duration::from_millis(1)).unwrap();
    }
    assert_eq!(runtime.connections(), 0);
    assert_eq!(*notes.borrow(), ["200", "forgotten"]);
}
