//! When connections are used again, and requests sent again (RFC 9112 §9).

use std::{thread, time::Duration};

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
            let answer = caller.send(caller.request(method, &peer.url()), RequestBody::none());
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
        .send(caller.request("POST", &peer.url()), RequestBody::none())
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
