//! The traps of level-triggered readiness: what nobody waits for must not make the loop spin.

use std::{
    io::{BufRead, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::{support::Server, websocket::raw};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// CPU time used in two seconds while a handler sleeps and its client does `provoke`.
fn cpu_while_a_handler_sleeps(provoke: impl FnOnce(TcpStream) -> Option<TcpStream>) -> Duration {
    let mut server = Server::with_handler("print('asked') task.wait(30) return ''");
    let mut stream = server.connect();
    stream.write_all(REQUEST).unwrap();
    server.output.read_line(&mut String::new()).unwrap();
    let _open = provoke(stream);
    thread::sleep(Duration::from_millis(50));
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    server.cpu_time() - before
}

const LIMIT: Duration = Duration::from_millis(20);

#[test]
fn bytes_that_wait_under_a_sleeping_handler_cost_nothing() {
    let used = cpu_while_a_handler_sleeps(|mut stream| {
        stream.write_all(REQUEST).unwrap();
        Some(stream)
    });
    assert!(used < LIMIT, "{used:?}");
}

#[test]
fn a_half_close_under_a_sleeping_handler_costs_nothing() {
    let used = cpu_while_a_handler_sleeps(|stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        Some(stream)
    });
    assert!(used < LIMIT, "{used:?}");
}

#[test]
fn a_reset_under_a_sleeping_handler_costs_nothing() {
    let used = cpu_while_a_handler_sleeps(|stream| {
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        None
    });
    assert!(used < LIMIT, "{used:?}");
}

#[test]
fn a_full_close_with_bytes_under_a_sleeping_handler_costs_nothing() {
    let used = cpu_while_a_handler_sleeps(|mut stream| {
        stream.write_all(REQUEST).unwrap();
        None
    });
    assert!(used < LIMIT, "{used:?}");
}

#[test]
fn an_idle_server_costs_nothing() {
    let server = Server::with_handler("return ''");
    let _idle: Vec<_> = (0..100).map(|_| server.connect()).collect();
    thread::sleep(Duration::from_millis(100));
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    assert!(server.cpu_time() - before < LIMIT);
}

#[test]
fn an_urgent_byte_on_a_connection_that_is_kept_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        thread::sleep(Duration::from_millis(50));
        SockRef::from(&stream).send_out_of_band(b"!").unwrap();
        stream
    });
    let mut server = Server::with_handler(&format!(
        r#"require("@lute/net/client").request("127.0.0.1:{port}")
print("asked")
task.wait(30)
return """#
    ));
    server.connect().write_all(REQUEST).unwrap();
    server.output.read_line(&mut String::new()).unwrap();
    let _open = answering.join().unwrap();
    thread::sleep(Duration::from_millis(50));
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let used = server.cpu_time() - before;
    assert!(used < LIMIT, "{used:?}");
}

#[test]
fn a_websocket_that_is_not_read_and_may_be_silent_for_a_nanosecond_costs_next_to_nothing() {
    let mut server = Server::start(
        r#"
local task = require("@lute/task")
local running = require("@lute/net/server").serve({
	port = 0,
	websocket = {
		idletimeout = 1e-9,
		message = function(_, message)
			if message == "last" then print("has enough") end
			task.wait(30)
		end,
	},
})
print(running.port)
"#,
    );
    // All at once, and more than is handed on: reading pauses before the silence can end the connection.
    let mut bytes = raw::HANDSHAKE.as_bytes().to_vec();
    bytes.extend(raw::frame(raw::TEXT, b"x").repeat(64));
    bytes.extend(raw::frame(raw::TEXT, b"last").repeat(9));
    let mut stream = server.connect();
    stream.write_all(&bytes).unwrap();
    assert_eq!(server.next_line(), "has enough");
    let before = server.cpu_time();
    thread::sleep(Duration::from_secs(2));
    let used = server.cpu_time() - before;
    assert!(used < LIMIT, "{used:?}");
}
