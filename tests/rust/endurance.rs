//! Long runs: what a process holds does not grow with what it has done.
//!
//! `LUTE_NET_ENDURANCE=1000000 cargo test --release --test rust endurance -- --nocapture` is the long form.

use std::{
    fs,
    io::{BufReader, Write},
};

use crate::{
    support::{Server, read_response, wait_until},
    websocket::raw::{BINARY, CLOSE, RawWebSocket, TEXT},
};

/// Samples of the memory in a run.
const SAMPLES: usize = 20;

/// Of the whole process; what the allocator keeps between two samples comes and goes.
const RESIDENT_GROWTH: u64 = 2 * 1024 * 1024;

/// Of Luau's heap.
const HEAP_GROWTH: u64 = 64 * 1024;

/// So many of what a test does: a short run, or a long one that was asked for.
fn count(short: usize) -> usize {
    std::env::var("LUTE_NET_ENDURANCE").map_or(short, |count| count.parse().unwrap())
}

/// All that a handler can do, and what a script should not.
const HANDLER: &str = r#"
local path = request.path
if path == "/memory" then
	-- Enough garbage for several rounds of the collector; the least is what it could not collect.
	local least = math.huge
	for _ = 1, 20000 do
		table.create(100, 0)
		least = math.min(least, collectgarbage("count") * 1024)
	end
	return tostring(least)
elseif path == "/fields" then
	return request.headers["x-name"] .. request.query.key
elseif path == "/echo" then
	return request.body
elseif path == "/late" then
	task.wait(0)
	return tostring(coroutine.running())
elseif path == "/stream" then
	local pieces = { "one", "two" }
	return {
		headers = { ["Content-Length"] = "6" },
		body = function(why)
			return if why then nil else table.remove(pieces, 1)
		end,
	}
elseif path == "/error" then
	error("broken")
elseif path == "/list" then
	return { status = 202, headers = { ["Set-Cookie"] = { "a=1", "b=2" } }, body = buffer.fromstring("list") }
end
return "plain"
"#;

const ONERROR: &str = "onerror = function() end, timeout = { idle = 600 },";

/// One of each, pipelined.
const REQUESTS: [&str; 8] = [
    "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /fields?key=value%20&other HTTP/1.1\r\nHost: a\r\nX-Name: name\r\nCookie: a=b\r\n\r\n",
    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET /late HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /error HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /list HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// What a connection is asked before it ends, in one way or another.
const ROUNDS: usize = 25;

#[test]
fn memory_stays_flat_over_many_requests() {
    let server = Server::with_options(ONERROR, HANDLER);
    let batch = REQUESTS.concat();
    let connections = count(40_000).div_ceil(ROUNDS * REQUESTS.len());
    let mut curve = Curve::default();
    for number in 0..connections {
        let mut stream = server.connect();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..ROUNDS {
            stream.write_all(batch.as_bytes()).unwrap();
            for request in REQUESTS {
                let (head, _) = read_response(&mut reader);
                let broken = head.starts_with("HTTP/1.1 500 ");
                assert_eq!(broken, request.contains("/error"), "{head}");
            }
        }
        match number % 3 {
            0 => {}
            // In the middle of a head, and with one that is refused.
            1 => stream.write_all(b"GET / HT").unwrap(),
            _ => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap(),
        }
        drop((stream, reader));
        if curve.is_due(number, connections) {
            curve.sample(&server);
        }
    }
    curve.assert_flat("requests", connections * ROUNDS * REQUESTS.len());
}

/// Echoes and, beside them, [`HANDLER`]'s memory.
const WEBSOCKET: &str = r#"onerror = function() end,
websocket = { message = function(ws, message) ws:send(message) end },"#;

/// Messages over one connection.
const MESSAGES: usize = 500;

#[test]
fn memory_stays_flat_over_many_websocket_messages() {
    let handler = format!("if running:upgrade(request) then return nil end\n{HANDLER}");
    let server = Server::with_options(WEBSOCKET, &handler);
    let connections = count(20_000).div_ceil(MESSAGES);
    let (short, long) = ([b'x'; 64], vec![b'y'; 20_000]);
    let mut curve = Curve::default();
    for number in 0..connections {
        let mut socket = RawWebSocket::open(&server);
        for _ in 0..MESSAGES / 10 {
            for index in 0..10 {
                let long_one = index == 9;
                let (kind, payload) = if long_one {
                    (BINARY, &long[..])
                } else {
                    (TEXT, &short[..])
                };
                socket.send(kind, payload);
            }
            for index in 0..10 {
                let length = if index == 9 { long.len() } else { short.len() };
                assert_eq!(socket.receive().1.len(), length);
            }
        }
        if number % 2 == 0 {
            socket.send(CLOSE, &1000_u16.to_be_bytes());
            assert_eq!(socket.receive_close(), Some(1000));
        }
        drop(socket);
        if curve.is_due(number, connections) {
            curve.sample(&server);
        }
    }
    curve.assert_flat("messages", connections * MESSAGES);
}

/// Bytes of memory the process has.
fn resident(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// Memory over a run.
#[derive(Default)]
struct Curve {
    /// Luau's heap and the whole process.
    samples: Vec<(u64, u64)>,
}

impl Curve {
    /// Whether it is time for a sample after step `number` of `steps`.
    fn is_due(&self, number: usize, steps: usize) -> bool {
        (number + 1) * SAMPLES / steps > self.samples.len()
    }

    /// Takes one when nothing is going on.
    fn sample(&mut self, server: &Server) {
        const REQUEST: &[u8] = b"GET /memory HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        wait_until("the end of all connections", || server.activity() == (0, 0));
        let answer = server.exchange(REQUEST);
        let (_, heap) = answer.split_once("\r\n\r\n").unwrap();
        let heap = heap.parse::<f64>().unwrap() as u64;
        self.samples.push((heap, resident(server)));
    }

    /// From the end of the first quarter on, nothing grows.
    fn assert_flat(&self, what: &str, count: usize) {
        println!("{count} {what}; Luau's heap and resident memory in KiB:");
        for (heap, resident) in &self.samples {
            println!("{:6} {:8}", heap / 1024, resident / 1024);
        }
        assert_eq!(self.samples.len(), SAMPLES);
        let (heap, resident) = self.samples[SAMPLES / 4 - 1];
        let (heap_at_end, resident_at_end) = self.samples[SAMPLES - 1];
        assert!(heap_at_end < heap + HEAP_GROWTH, "{:?}", self.samples);
        assert!(
            resident_at_end < resident + RESIDENT_GROWTH,
            "{:?}",
            self.samples
        );
    }
}
