//! What clients and systems do to a server that they should not, and that nothing of it is left behind.

mod sigterm;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::support::{
    PATIENCE, Server, command_with_descriptors, leaves_nothing, read_response, read_to_end,
    wait_until,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It closes its socket; what it has not read makes that a reset.
    Close,
    Reset,
    /// It sends nothing more, and reads on.
    EndSending,
}

const WAYS: [Leave; 3] = [Leave::Close, Leave::Reset, Leave::EndSending];

/// Leaves; the stream of a client that still reads.
fn leave(stream: TcpStream, way: Leave) -> Option<TcpStream> {
    match way {
        Leave::Close => None,
        Leave::Reset => {
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            None
        }
        Leave::EndSending => {
            stream.shutdown(Shutdown::Write).unwrap();
            Some(stream)
        }
    }
}

// Clients that leave in the middle.

#[test]
fn a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing_behind() {
    let mut server = Server::with_handler("task.wait(0.01) return request.body");
    for sent in [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
    ] {
        leaves_nothing(&mut server, |server| {
            for way in WAYS {
                let mut stream = server.connect();
                stream.write_all(sent.as_bytes()).unwrap();
                if let Some(mut stream) = leave(stream, way) {
                    let whole = sent.matches("\r\n\r\nGET").count();
                    let answers = read_to_end(&mut stream);
                    assert_eq!(answers.matches("HTTP/1.1 ").count(), whole, "{sent:?}");
                }
            }
        });
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_of_an_answer_leaves_nothing_behind() {
    let mut server = Server::with_handler(
        r#"
local large = string.rep("x", 2 ^ 24)
if request.path == "/late" then task.wait(0.01) end
return large
"#,
    );
    for path in ["/now", "/late"] {
        for way in WAYS {
            leaves_nothing(&mut server, |server| {
                let mut stream = server.connect();
                stream.write_all(&get(path)).unwrap();
                stream.read_exact(&mut [0; 100]).unwrap();
                if let Some(mut stream) = leave(stream, way) {
                    assert!(read_to_end(&mut stream).len() >= 1 << 24);
                }
            });
        }
    }
}

/// Waits for the client's end, with or without a body that says that it knows.
const WAITING: &str = r#"
if request.path == "/read" then
	for piece in request:pieces() do end
end
print("asked")
local patience = 1000
while not request:closed() and patience > 0 do
	patience -= 1
	task.wait(0.005)
end
print(if patience > 0 then "gone" else "not noticed")
return { body = function(why) print(why) return nil end }
"#;

#[test]
fn a_client_that_leaves_while_its_handler_waits_is_noticed() {
    let mut server = Server::with_handler(WAITING);
    for way in WAYS {
        leaves_nothing(&mut server, |server| {
            let mut stream = server.connect();
            stream.write_all(GET).unwrap();
            assert_eq!(server.next_line(), "asked");
            let rest = leave(stream, way);
            assert_eq!(server.next_line(), "gone", "{way:?}");
            // An answer to nobody is not made; whether a client that has ended its side reads on is not known.
            let told = if way == Leave::Reset { "closed" } else { "nil" };
            assert_eq!(server.next_line(), told, "{way:?}");
            if let Some(mut stream) = rest {
                assert!(read_to_end(&mut stream).ends_with("\r\n0\r\n\r\n"));
            }
        });
    }
}

#[test]
fn a_reset_is_noticed_behind_bytes_that_nobody_reads() {
    for option in ["", "streambody = true,"] {
        let mut server = Server::with_options(option, WAITING);
        for unread in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\n",
        ] {
            leaves_nothing(&mut server, |server| {
                let mut stream = server.connect();
                stream.write_all(unread.as_bytes()).unwrap();
                assert_eq!(server.next_line(), "asked");
                stream.write_all(b"Host: a\r\n\r\n").unwrap();
                thread::sleep(Duration::from_millis(20));
                leave(stream, Leave::Reset);
                assert_eq!(server.next_line(), "gone", "{option} {unread}");
                assert_eq!(server.next_line(), "closed");
            });
        }
    }
}

#[test]
fn a_client_that_leaves_while_its_answer_is_streamed_ends_the_stream() {
    let mut server = Server::with_handler(
        r#"
local large = string.rep("x", 2 ^ 16)
return {
	body = function(why)
		if why then
			print(request.path, why)
			return nil
		end
		if request.path == "/endless" then return large end
		task.wait(if request.path == "/silent" then 60 else 0.005)
		return "x"
	end,
}
"#,
    );
    for path in ["/silent", "/drops", "/endless"] {
        for way in WAYS {
            if (path, way) == ("/endless", Leave::EndSending) {
                // It reads on, and its stream has no end.
                continue;
            }
            leaves_nothing(&mut server, |server| {
                let mut stream = server.connect();
                stream.write_all(&get(path)).unwrap();
                stream.read_exact(&mut [0; 20]).unwrap();
                let rest = leave(stream, way);
                assert_eq!(server.next_line(), format!("{path}\tclosed"), "{way:?}");
                drop(rest);
            });
        }
    }
}

#[test]
fn a_client_that_leaves_while_its_body_is_streamed_ends_the_handlers_read() {
    let mut server = Server::with_options(
        "streambody = true,",
        r#"
local fine, problem = pcall(function()
	for piece in request:pieces() do print(piece) end
end)
print(fine, string.match(problem, "cannot read the request's body"), request:closed())
return "answer"
"#,
    );
    for way in WAYS {
        leaves_nothing(&mut server, |server| {
            let mut stream = server.connect();
            stream
                .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
                .unwrap();
            assert_eq!(server.next_line(), "abc");
            let rest = leave(stream, way);
            let line = server.next_line();
            assert!(
                line.starts_with("false\tcannot read the request's body"),
                "{way:?}: {line}"
            );
            if let Some(mut stream) = rest {
                let answer = read_to_end(&mut stream);
                assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
                assert!(answer.ends_with("answer"), "{answer}");
            }
        });
    }
}

#[test]
fn handlers_whose_clients_have_gone_leave_no_memory_behind() {
    let mut server = Server::with_handler(
        r#"
if request.path == "/memory" then
	-- Enough garbage for several rounds of the collector; the least is what it could not collect.
	local least = math.huge
	for _ = 1, 20000 do
		table.create(100, 0)
		least = math.min(least, collectgarbage("count") * 1024)
	end
	return tostring(least)
end
print("asked")
local large = buffer.create(10000)
if request.path == "/forever" then coroutine.yield() end
while not request:closed() do task.wait(0.001) end
return { body = function() return large end }
"#,
    );
    let memory = |server: &Server| -> f64 {
        let mut stream = server.connect();
        stream.write_all(&get("/memory")).unwrap();
        read_response(&mut stream).1.parse().unwrap()
    };
    let mut vanish = |count: usize| {
        for _ in 0..count {
            for path in ["/late", "/forever"] {
                let mut stream = server.connect();
                stream.write_all(&get(path)).unwrap();
                assert_eq!(server.next_line(), "asked");
                leave(stream, Leave::Reset);
            }
        }
        wait_until("no connection", || server.activity() == (0, 0));
        thread::sleep(Duration::from_millis(10));
        memory(&server)
    };
    let before = vanish(20);
    let grown = vanish(400) - before;
    assert!(grown < 100_000.0, "{grown}");
}

#[test]
fn a_stream_that_is_never_late_keeps_nobody_waiting() {
    let mut server = Server::with_handler(
        r#"
if request.path ~= "/endless" then return "prompt" end
local large = string.rep("x", 2 ^ 16)
return { body = function(why) return if why then nil else large end }
"#,
    );
    leaves_nothing(&mut server, |server| {
        let streams: Vec<_> = (0..2)
            .map(|_| {
                let mut stream = server.connect();
                stream.write_all(&get("/endless")).unwrap();
                let ours = stream.try_clone().unwrap();
                let reader = thread::spawn(move || {
                    let mut buffer = vec![0; 1 << 20];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
                });
                (ours, reader)
            })
            .collect();
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            let mut prompt = server.connect();
            prompt.write_all(GET).unwrap();
            assert_eq!(read_response(&mut prompt).1, "prompt");
            longest = longest.max(began.elapsed());
        }
        assert!(longest < Duration::from_secs(5), "{longest:?}");
        for (stream, reader) in streams {
            stream.shutdown(Shutdown::Both).unwrap();
            reader.join().unwrap();
        }
    });
}

#[test]
fn a_server_without_descriptors_waits_for_some_and_serves_all() {
    // Each of the two servers stays below the limit, both together do not.
    let mut server = Server::run(
        command_with_descriptors(64),
        r#"
local server = require("@lute/net/server")
local function handler(request, running)
	if request.path ~= "/activity" then return "answer" end
	local stats = running:stats()
	return `{stats.connections - 1} {stats.inflight}`
end
local first = server.serve({ port = 0, handler = handler })
local second = server.serve({ port = 0, handler = handler })
print(first.port)
print(second.port)
"#,
    );
    let second: u16 = server.next_line().parse().unwrap();
    leaves_nothing(&mut server, |server| {
        let mut streams: Vec<_> = (0..50)
            .flat_map(|_| [server.port, second])
            .map(|port| {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(GET).unwrap();
                stream
            })
            .collect();
        // Those that the process was started with may have higher numbers.
        wait_until("no descriptor is left", || server.descriptors() >= 64);
        let cpu_time = server.cpu_time();
        thread::sleep(Duration::from_millis(200));
        let used = server.cpu_time() - cpu_time;
        assert!(used < Duration::from_millis(10), "{used:?}");
        // Whoever has an answer leaves, and makes room for others.
        for stream in &mut streams {
            assert_eq!(read_response(stream).1, "answer");
            stream.shutdown(Shutdown::Both).unwrap();
        }
    });
}
