//! What a host lets its scripts use and reach: memory, connections, bodies, places.

use std::{
    cell::RefCell,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    rc::Rc,
    thread,
    time::Duration,
};

use lute_net::{Limits, Policy, Runtime};

use crate::{runtime::noting_in, support::wait_until};

/// Runs `source` under `policy`; what it noted.
fn run_under(policy: Policy, source: &str) -> Vec<String> {
    let source = format!(
        r#"
local note = require("@test/note") :: any
local client, server, task = require("@lute/net/client"), require("@lute/net/server"), require("@lute/task")
local function try(f, ...)
	local fine, problem = pcall(f, ...)
	note(if fine then "fine" else problem)
end
{source}"#
    );
    let (runtime, notes) = noting_in(Runtime::builder().policy(policy), &source);
    runtime.run().unwrap();
    notes.take()
}

/// A runtime with the limits that `set` sets, whose script has `note`.
fn noting_within(
    set: impl FnOnce(&mut Limits),
    source: &str,
) -> (Runtime, Rc<RefCell<Vec<String>>>) {
    let mut limits = Limits::default();
    set(&mut limits);
    noting_in(Runtime::builder().limits(limits), source)
}

/// A port where nobody may come.
pub fn guarded() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn a_policy_is_asked_before_a_script_connects() {
    let (listener, port) = guarded();
    let policy = Policy::open().deny_connect("loopback").unwrap();
    let source = format!(
        r#"
for _, host in {{ "127.0.0.1", "127.1", "0.0.0.0", "2130706433", "0x7f000001", "[::ffff:127.0.0.1]", "localhost" }} do
	try(client.request, `http://{{host}}:{port}/`)
end"#
    );
    let notes = run_under(policy, &source);
    assert_eq!(notes.len(), 7);
    for note in notes {
        assert!(note.contains("is not allowed"), "{note}");
    }
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn a_policy_is_asked_again_at_each_redirect() {
    let (listener, port) = guarded();
    let policy = Policy::open()
        .deny_connect(&format!("127.0.0.1:{port}"))
        .unwrap();
    let source = format!(
        r#"
local running = server.serve({{ port = 0, handler = function(request)
	return {{ status = 302, headers = {{ Location = "http://127.0.0.1:{port}/" }} }}
end }})
try(client.request, `http://127.0.0.1:{{running.port}}/`)
running.close()"#
    );
    let notes = run_under(policy, &source);
    let refused = format!("network request failed: connecting to 127.0.0.1:{port} is not allowed");
    assert_eq!(notes, [refused]);
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn a_policy_is_asked_where_a_script_listens() {
    let policy = Policy::open()
        .deny_listen("0.0.0.0/0:1-1023")
        .unwrap()
        .deny_listen("0.0.0.0")
        .unwrap()
        .deny_listen("unix:/tmp")
        .unwrap();
    let notes = run_under(
        policy,
        r#"
local handler = function() return "" end
try(server.serve, { port = 80, handler = handler })
try(server.serve, { port = 0, hostname = "0.0.0.0", handler = handler })
try(server.serve, { socketpath = "/tmp/lute-net-never.sock", handler = handler })
local running = server.serve({ port = 0, handler = handler })
try(running.close)"#,
    );
    assert_eq!(
        notes,
        [
            "listening on 127.0.0.1:80 is not allowed",
            "listening on 0.0.0.0:0 is not allowed",
            "listening on /tmp/lute-net-never.sock is not allowed",
            "fine"
        ]
    );
}

#[test]
fn a_closed_policy_looks_no_name_up_that_has_no_rule() {
    let policy = Policy::closed().allow_listen("loopback").unwrap();
    let notes = run_under(
        policy,
        r#"
try(client.request, "http://secret.example/")
try(server.serve, { hostname = "secret.example", port = 8080, handler = function() return "" end })"#,
    );
    assert_eq!(
        notes,
        [
            "network request failed: connecting to secret.example:80 is not allowed",
            "listening on secret.example:8080 is not allowed"
        ]
    );
}

#[test]
fn connections_that_are_kept_for_later_make_room_for_clients_and_websockets() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream_port = upstream.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).unwrap();
        stream
    });
    let (runtime, notes) = noting_within(
        |limits| limits.connections = Some(1),
        &format!(
            r#"
local note = require("@test/note") :: any
local client, server = require("@lute/net/client"), require("@lute/net/server")
client.request("http://127.0.0.1:{upstream_port}/")
local running = server.serve({{ port = 0, handler = function() return "served" end }})
note(tostring(running.port))"#
        ),
    );
    wait_until("the port", || {
        runtime.step(Duration::from_millis(1)).unwrap();
        !notes.borrow().is_empty()
    });
    let _kept = answering.join().unwrap();
    let port: u16 = notes.borrow()[0].parse().unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    wait_until("an answer", || {
        runtime.step(Duration::from_millis(1)).unwrap();
        let _ = stream.read_to_end(&mut answer);
        answer.ends_with(b"served")
    });
}

#[test]
fn clients_beyond_the_connections_of_a_host_wait_for_an_end() {
    let (runtime, notes) = noting_within(
        |limits| limits.connections = Some(2),
        r#"
local note = require("@test/note") :: any
local server = require("@lute/net/server")
for _ = 1, 2 do
	note(tostring(server.serve({ port = 0, handler = function() return "answer" end }).port))
end
"#,
    );
    let ports: Vec<u16> = notes
        .take()
        .iter()
        .map(|port| port.parse().unwrap())
        .collect();
    let ask = |port: u16| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    let answered =
        |stream: &mut TcpStream| matches!(stream.read(&mut [0; 1024]), Ok(count) if count > 0);
    let step = || runtime.step(Duration::from_millis(1)).unwrap();
    let (mut first, mut second) = (ask(ports[0]), ask(ports[1]));
    for stream in [&mut first, &mut second] {
        wait_until("the first two are answered", || {
            step();
            answered(stream)
        });
    }
    let mut third = ask(ports[0]);
    for _ in 0..20 {
        step();
    }
    assert!(!answered(&mut third) && runtime.connections() == 2);
    drop(second);
    wait_until(
        "the third is answered when another server's client has gone",
        || {
            step();
            answered(&mut third)
        },
    );
}

#[test]
fn a_requests_body_beyond_the_hosts_limit_is_413_whatever_the_script_allows() {
    let (runtime, notes) = noting_within(
        |limits| limits.body = Some(10),
        r#"
local note = require("@test/note") :: any
local client = require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, maxbodysize = 1e9, handler = function(request) return request.body end })
for _, length in { 10, 11 } do
	local response = client.stream(`127.0.0.1:{running.port}`, { method = "POST", body = string.rep("x", length) })
	note(tostring(response.status))
	response:close()
end
running.close()
"#,
    );
    runtime.run().unwrap();
    assert_eq!(notes.take(), ["200", "413"]);
}

#[test]
fn requests_beyond_the_hosts_limit_are_an_error_until_others_have_ended() {
    let (runtime, notes) = noting_within(
        |limits| limits.requests = Some(2),
        r#"
local note = require("@test/note") :: any
local task, client = require("@lute/task"), require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	task.wait(0.02)
	return "answer"
end })
local address = `127.0.0.1:{running.port}`
local streamed = client.stream(address)
task.spawn(function() note(client.request(address).body) end)
local _, problem = pcall(function() return client.request(address) end)
note(problem)
task.wait(0.1)
note(tostring(streamed:read()))
assert(streamed:read() == nil)
for _ = 1, 2 do task.spawn(client.request, address) end
task.wait(0.1)
note(client.request(address).body)
running.close()
"#,
    );
    runtime.run().unwrap();
    assert_eq!(
        notes.take(),
        [
            "test.luau:11: too many requests at once (2 are allowed)",
            "answer",
            "answer",
            "answer"
        ]
    );
}

#[test]
fn a_response_beyond_the_hosts_limit_is_an_error_whatever_the_script_allows() {
    let (runtime, notes) = noting_within(
        |limits| limits.body = Some(10),
        r#"
local note = require("@test/note") :: any
local client = require("@lute/net/client")
local running = require("@lute/net/server").serve({ port = 0, handler = function(request)
	return string.rep("x", tonumber(request.query.length) :: number)
end })
for _, length in { 10, 11 } do
	local fine, problem = pcall(function()
		return client.request(`127.0.0.1:{running.port}/?length={length}`, { maxbodysize = 1e9 })
	end)
	note(if fine then "fine" else string.match(problem, "larger than %d+ bytes") or problem)
end
running.close()
"#,
    );
    runtime.run().unwrap();
    assert_eq!(notes.take(), ["fine", "larger than 10 bytes"]);
}

#[test]
fn a_policy_is_asked_for_proxies_and_for_what_they_are_asked_for() {
    let (listener, port) = guarded();
    let policy = Policy::open()
        .deny_connect("loopback")
        .unwrap()
        .deny_connect("secret.example")
        .unwrap();
    let source = format!(
        r#"
try(client.request, "http://good.example/", {{ proxy = "http://127.0.0.1:{port}" }})
try(client.request, "https://good.example/", {{ proxy = "http://127.0.0.1:{port}" }})
try(client.request, "https://secret.example/", {{ proxy = "http://proxy.example:1" }})
try(client.request, "https://127.0.0.1/", {{ proxy = "http://proxy.example:1" }})
try(client.request, "http://any.example/", {{ socketpath = "/run/docker.sock" }})"#
    );
    let policy = policy.deny_connect("unix:/run").unwrap();
    let notes = run_under(policy, &source);
    assert_eq!(notes.len(), 5);
    for (note, place) in notes.iter().zip([
        format!("127.0.0.1:{port}"),
        format!("127.0.0.1:{port}"),
        "secret.example:443".to_owned(),
        "127.0.0.1:443".to_owned(),
        "/run/docker.sock".to_owned(),
    ]) {
        assert!(
            note.contains(&format!("connecting to {place} is not allowed")),
            "{note}"
        );
    }
    assert!(listener.accept().is_err(), "somebody came");
}
