//! The traps of level-triggered readiness: what nobody waits for must not make the loop spin.

use std::{
    io::{BufRead, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::support::Server;

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
