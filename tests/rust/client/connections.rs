//! When connections are used again, and requests sent again (RFC 9112 §9).

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use lute_net::engine::client::RequestBody;

use super::peer::*;

const KEPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How many connections two requests take, when the first is answered so.
fn connections_for_two(first: Act) -> usize {
    let peer = Peer::new(vec![first, hello()]);
    let caller = Caller::new();
    for _ in 0..2 {
        caller.get(&peer.url()).unwrap();
    }
    peer.connections()
}

#[test]
fn a_connection_is_used_again_unless_the_response_says_otherwise_as_of_rfc_9112_section_9_3() {
    for (response, expected) in [
        (KEPT, 1),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            2,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            2,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 2),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\nContent-Length: 0\r\n\r\n",
            1,
        ),
        (
            "HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=0\r\nContent-Length: 0\r\n\r\n",
            2,
        ),
    ] {
        assert_eq!(
            connections_for_two(send(response)),
            expected,
            "{response:?}"
        );
    }
}

#[test]
fn bytes_behind_a_response_belong_to_none_and_end_the_connection() {
    let surplus = format!("{KEPT}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    let peer = Peer::new(vec![send(surplus), send(KEPT)]);
    let caller = Caller::new();
    for _ in 0..2 {
        assert_eq!(caller.get(&peer.url()).unwrap().body, b"ok");
    }
    assert_eq!(peer.connections(), 2);
}

#[test]
fn a_kept_connection_that_the_server_has_closed_is_not_used() {
    let peer = Peer::new(vec![close(KEPT), send(KEPT)]);
    let caller = Caller::new();
    let post = || {
        let request = caller.request("POST", &peer.url());
        caller
            .send(request, RequestBody::bytes(b"x".to_vec()))
            .unwrap()
    };
    post();
    thread::sleep(Duration::from_millis(50));
    post();
    assert_eq!((peer.connections(), peer.requests().len()), (2, 2));
}

#[test]
fn an_idempotent_request_on_a_kept_connection_that_ends_is_sent_again_as_of_rfc_9112_section_9_3_1()
{
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        for end in [close(""), Act::Reset] {
            let peer = Peer::new(vec![
                send("HTTP/1.1 204 X\r\n\r\n"),
                end,
                send("HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n"),
            ]);
            let caller = Caller::new();
            caller.get(&peer.url()).unwrap();
            let answer = caller.send(caller.request(method, &peer.url()), RequestBody::Empty);
            assert_eq!(answer.unwrap().status, 205, "{method}");
            assert_eq!((peer.connections(), peer.requests().len()), (2, 3));
        }
    }
}

#[test]
fn a_post_is_not_sent_again_as_of_rfc_9112_section_9_3_1() {
    let peer = Peer::new(vec![send(KEPT), close(""), send(KEPT)]);
    let caller = Caller::new();
    caller.get(&peer.url()).unwrap();
    let problem = caller
        .send(caller.request("POST", &peer.url()), RequestBody::Empty)
        .unwrap_err();
    assert!(problem.contains("closed the connection"), "{problem}");
    assert_eq!(peer.requests().len(), 2);
}

#[test]
fn a_request_whose_response_has_begun_is_not_sent_again() {
    let peer = Peer::new(vec![send(KEPT), close("HTTP/1.1 2"), send(KEPT)]);
    let caller = Caller::new();
    caller.get(&peer.url()).unwrap();
    assert!(caller.get(&peer.url()).is_err());
    assert_eq!(peer.requests().len(), 2);
}

#[test]
fn a_request_on_a_new_connection_is_sent_once() {
    let peer = Peer::new(vec![close(""), send(KEPT)]);
    assert!(Caller::new().get(&peer.url()).is_err());
    assert_eq!(peer.requests().len(), 1);
}

#[test]
fn idle_connections_are_kept_up_to_a_limit_and_closed_on_demand() {
    let peers: Vec<_> = (0..3).map(|_| Peer::new(vec![hello()])).collect();
    let caller = Caller::new();
    for peer in &peers {
        caller.get(&peer.url()).unwrap();
    }
    assert_eq!(caller.client.pool().len(), 3);
    caller.client.pool().drop_oldest();
    assert_eq!(caller.client.pool().len(), 2);
    caller.get(&peers[0].url()).unwrap();
    assert_eq!(peers[0].connections(), 2);
    caller.client.pool().clear();
    assert!(caller.client.pool().is_empty());
}

/// Turns the caller's loop until `condition` holds.
fn until(caller: &Caller, condition: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    caller
        .engine
        .block_on(async {
            while !condition() {
                assert!(begin.elapsed() < crate::support::PATIENCE);
                let soon = std::time::Instant::now() + Duration::from_millis(1);
                caller.engine.timers().sleep_until(soon).await;
            }
        })
        .unwrap();
}

#[test]
fn a_request_that_closes_says_so_and_its_connection_is_not_kept_as_of_rfc_9112_section_9_6() {
    let peer = Peer::new(vec![hello()]);
    let caller = Caller::new();
    let mut request = caller.request("GET", &peer.url());
    request.closes = true;
    caller.send(request, RequestBody::Empty).unwrap();
    assert!(peer.requests()[0].contains("\r\nConnection: close\r\n"));
    assert!(caller.client.pool().is_empty());
    assert_eq!(caller.engine.reactor().watched(), 0);
    caller.get(&peer.url()).unwrap();
    assert!(!peer.requests()[1].contains("Connection"));
    assert_eq!(caller.client.pool().len(), 1);
}

#[test]
fn a_kept_connection_is_closed_as_soon_as_its_server_closes_it() {
    let peer = Peer::new(vec![
        close("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        hello(),
    ]);
    let caller = Caller::new();
    // The first is kept until its end is seen, and the second one must not be taken with it.
    caller.get(&peer.url()).unwrap();
    until(&caller, || caller.client.pool().is_empty());
    assert_eq!(caller.engine.reactor().watched(), 0);
    caller.get(&peer.url()).unwrap();
    assert_eq!(caller.client.pool().len(), 1);
}

#[test]
fn of_many_kept_connections_those_are_closed_that_their_servers_close() {
    let staying = Peer::new(vec![hello()]);
    let caller = Caller::new();
    caller.get(&staying.url()).unwrap();
    let leaving: Vec<_> = (0..8)
        .map(|_| {
            Peer::new(vec![close(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )])
        })
        .collect();
    for peer in &leaving {
        caller.get(&peer.url()).unwrap();
    }
    until(&caller, || caller.client.pool().len() == 1);
    caller.get(&staying.url()).unwrap();
    assert_eq!(staying.connections(), 1);
}

#[test]
fn bytes_that_come_on_a_kept_connection_end_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(KEPT.as_bytes());
        thread::sleep(Duration::from_millis(20));
        let timeout = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
        let _ = stream.write_all(timeout);
        let _ = stream.read(&mut [0; 1024]);
    });
    let caller = Caller::new();
    let answer = caller.get(&format!("http://127.0.0.1:{port}/")).unwrap();
    assert_eq!(answer.status, 200);
    until(&caller, || caller.client.pool().is_empty());
}

#[test]
fn a_connection_that_is_kept_later_for_a_shorter_time_ends_first() {
    let long = Peer::new(vec![hello()]);
    let short = Peer::new(vec![send(
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n",
    )]);
    let caller = Caller::new();
    caller.get(&long.url()).unwrap();
    caller.get(&short.url()).unwrap();
    assert_eq!(caller.client.pool().len(), 2);
    until(&caller, || caller.client.pool().len() == 1);
    caller.get(&long.url()).unwrap();
    assert_eq!(long.connections(), 1);
}

#[test]
fn a_cleared_pool_keeps_and_watches_connections_as_before() {
    let peer = Peer::new(vec![
        hello(),
        hello(),
        close("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ]);
    let caller = Caller::new();
    caller.get(&peer.url()).unwrap();
    caller.client.pool().clear();
    assert_eq!(caller.engine.reactor().watched(), 0);
    caller.get(&peer.url()).unwrap();
    assert_eq!(caller.client.pool().len(), 1);
    caller.get(&peer.url()).unwrap();
    assert_eq!(peer.connections(), 2);
    until(&caller, || caller.client.pool().is_empty());
    assert_eq!(caller.engine.timers().next_deadline(), None);
}
