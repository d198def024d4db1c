//! Many WebSockets, floods, and clients that read nothing.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use lute_net::{Limits, Runtime};

use super::{
    echo,
    opening::accepting,
    raw::{CLOSE, PING, PONG, RawWebSocket, TEXT, frame, read_head},
    server,
};
use crate::{
    runtime::noting_in,
    support::{PATIENCE, Script, Server, allow_descriptors, in_a_process_of_its_own, wait_until},
};

fn resident_kib(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_flood_of_pings_that_nobody_reads_the_answers_of_fills_no_memory() {
    let server = echo();
    let mut flood = RawWebSocket::over(server.connect_with_small_buffer());
    flood
        .stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let before = resident_kib(&server);
    let pings = frame(PING, &[b'p'; 125]).repeat(1000);
    for _ in 0..200 {
        if flood.stream.write_all(&pings).is_err() {
            break;
        }
    }
    let grown = resident_kib(&server).saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
    // Others are served.
    let mut other = RawWebSocket::open(&server);
    other.send(TEXT, b"here");
    assert_eq!(other.receive().1, b"here");
}

#[test]
fn pings_to_a_server_that_reads_nothing_fill_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_head(&mut stream);
        stream.write_all(accepting(&request).as_bytes()).unwrap();
        // The script says by another connection that it is done.
        listener.accept().unwrap();
    });
    let script = Script::new(
        r#"
local client, task = require("@lute/net/client"), require("@lute/task")
local ws = client.websocket(...)
for _ = 1, 200000 do ws:ping(string.rep("p", 125)) end
-- `send` waits while 1 MiB is unsent.
local sent = false
task.spawn(function() ws:send("x") sent = true end)
print(sent)
pcall(client.websocket, ...)
"#,
    );
    let output = script.run(&[&format!("ws://127.0.0.1:{port}/")]);
    serving.join().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "true\n");
}

#[test]
fn a_message_that_the_vm_has_no_memory_for_ends_the_websocket_with_1011() {
    let limits = Limits {
        memory: Some(8 << 20),
        ..Limits::default()
    };
    let (runtime, notes) = noting_in(
        Runtime::builder().limits(limits),
        r#"
local note = require("@test/note") :: any
local running
running = require("@lute/net/server").serve({
	port = 0,
	handler = function(request, server) server:upgrade(request) end,
	websocket = {
		message = function(ws, message) note(message) end,
		close = function(ws, code) note(`close {code}`) running.close() end,
	},
})
note(running.port)
"#,
    );
    runtime.step(Duration::from_millis(1)).unwrap();
    let port: u16 = notes.borrow()[0].parse().unwrap();
    let client = thread::spawn(move || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut websocket = RawWebSocket::over(stream);
        websocket.send(TEXT, b"small");
        websocket.send(TEXT, &vec![b'x'; 12 << 20]);
        let code = websocket.receive_close();
        websocket.send(CLOSE, &1011_u16.to_be_bytes());
        code
    });
    runtime.run().unwrap();
    assert_eq!(client.join().unwrap(), Some(1011));
    let notes = notes.take();
    let problem = "error: not enough memory";
    assert_eq!(notes[1..], ["small", problem, "close 1011"]);
}

#[test]
fn a_flood_of_tiny_fragments_is_one_message() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    let mut bytes = frame(0x01, b"");
    bytes.extend(frame(0x00, b"").repeat(50_000));
    bytes.extend(frame(0x00, b"x").repeat(50_000));
    bytes.extend(frame(0x80, b""));
    websocket.raw(&bytes);
    assert_eq!(websocket.receive(), (TEXT, vec![b'x'; 50_000]));
}

#[test]
fn thousands_of_messages_at_once_are_handed_on_and_others_get_their_turn() {
    let server = echo();
    let mut many = RawWebSocket::open(&server);
    let mut writer = many.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        writer
            .write_all(&frame(TEXT, b"m").repeat(100_000))
            .unwrap();
    });
    let mut other = RawWebSocket::open(&server);
    other.send(PING, b"now");
    assert_eq!(other.receive(), (PONG, b"now".to_vec()));
    for _ in 0..100_000 {
        assert_eq!(many.receive(), (TEXT, b"m".to_vec()));
    }
    sending.join().unwrap();
}

#[test]
fn ten_of_a_thousand_subscribers_that_never_read_harm_nobody_else() {
    in_a_process_of_its_own(
        "websocket::load::ten_of_a_thousand_subscribers_that_never_read_harm_nobody_else",
        ten_stuck_of_a_thousand,
    );
}

fn ten_stuck_of_a_thousand() {
    const STUCK: usize = 10;
    const OTHERS: usize = 990;
    const QUEUE: u64 = 300_000;
    allow_descriptors(3000);
    let mut server = server(
        r#"sendqueue = 300000, open = function(ws) ws:subscribe("all") end,
message = function(ws, message) print(running:publish("all", string.rep("x", 20000))) end"#,
    );
    let stuck: Vec<_> = (0..STUCK)
        .map(|_| RawWebSocket::over(server.connect_with_small_buffer()))
        .collect();
    let mut others: Vec<_> = (0..OTHERS).map(|_| RawWebSocket::open(&server)).collect();
    let before = server.memory();
    let mut reached = STUCK + OTHERS;
    // Until the queues of all that read nothing are full, and then a few more.
    for round in 0..1000 {
        others[0].send(TEXT, b"go");
        for websocket in &mut others {
            assert_eq!(websocket.receive().1.len(), 20_000);
        }
        reached = server.next_line().parse().unwrap();
        assert!(reached >= OTHERS, "{reached}");
        if reached == OTHERS && round % 10 == 0 {
            break;
        }
    }
    assert_eq!(
        reached, OTHERS,
        "nobody else is dropped, and what is stuck is"
    );
    let grown = server.memory().saturating_sub(before);
    let queues = STUCK as u64 * QUEUE;
    assert!(grown < 2 * queues + (4 << 20), "{grown} bytes");
    drop(stuck);
}

#[test]
fn ten_thousand_idle_websockets_are_kept_in_little_memory() {
    in_a_process_of_its_own(
        "websocket::load::ten_thousand_idle_websockets_are_kept_in_little_memory",
        ten_thousand_idle,
    );
}

fn ten_thousand_idle() {
    const COUNT: usize = 10_000;
    /// Bytes each: of the process's own memory, whatever the build's profile.
    const EACH: u64 = 2560;
    allow_descriptors(COUNT as u64 + 1000);
    let mut server = server(
        r#"idletimeout = 3600, open = function(ws) ws:subscribe("all") end,
message = function(ws, message) print(message, running:stats().websockets) ws:send(message) end"#,
    );
    // Code and first tables are in memory then.
    drop(
        (0..50)
            .map(|_| RawWebSocket::open(&server))
            .collect::<Vec<_>>(),
    );
    let descriptors = server.descriptors();
    let before = server.memory();
    let mut idle: Vec<_> = (0..COUNT).map(|_| RawWebSocket::open(&server)).collect();
    let grown = server.memory().saturating_sub(before);
    assert!(grown <= EACH * COUNT as u64, "{grown} bytes");
    for place in [0, COUNT / 2, COUNT - 1] {
        idle[place].send(TEXT, b"here");
        assert_eq!(server.next_line(), format!("here\t{COUNT}"));
        assert_eq!(idle[place].receive(), (TEXT, b"here".to_vec()));
    }
    drop(idle);
    wait_until("nothing is left", || server.descriptors() <= descriptors);
}

#[test]
fn a_large_message_leaves_no_large_buffer_behind() {
    let server = echo();
    let mut sockets: Vec<_> = (0..20).map(|_| RawWebSocket::open(&server)).collect();
    let payload = vec![b'x'; 2_000_000];
    for websocket in &mut sockets {
        websocket.send(0x82, &payload);
        assert_eq!(websocket.receive().1.len(), payload.len());
    }
    // The VM's garbage goes while it has something to do.
    wait_until("the buffers are freed", || {
        for websocket in &mut sockets {
            websocket.send(0x82, b"x");
            websocket.receive();
        }
        resident_kib(&server) < 40 * 1024
    });
}
