//! Bodies that are sent when the server wants them (RFC 9110 §10.1.1).

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    rc::Rc,
    task::{Context, Poll},
    thread,
};

use lute_net::engine::{client::RequestBody, service::BodySource};

use super::peer::*;

/// A body of these pieces.
struct Pieces(Vec<&'static [u8]>);

impl BodySource for Pieces {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let next = (!self.0.is_empty()).then(|| self.0.remove(0).to_vec());
        Poll::Ready(Ok(next))
    }
}

pub fn streamed() -> RequestBody {
    RequestBody::Streamed {
        source: Box::new(Pieces(vec![b"one", b"two"])),
        length: None,
    }
}

#[test]
fn a_large_body_follows_100_continue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        // Nothing may come before it is asked for.
        client
            .set_read_timeout(Some(std::time::Duration::from_millis(50)))
            .unwrap();
        assert!(client.read(&mut [0]).is_err());
        client.set_read_timeout(None).unwrap();
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = vec![0; 2_000_000];
        client.read_exact(&mut body).unwrap();
        client
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    let caller = Caller::new();
    let request = caller.request("POST", &url);
    let answer = caller.send(request, RequestBody::bytes(vec![b'x'; 2_000_000]));
    assert_eq!(answer.unwrap().status, 200);
    assert!(server.join().unwrap().contains("Expect: 100-continue\r\n"));
}

#[test]
fn a_body_that_the_server_does_not_want_is_not_sent() {
    let peer = Peer::new(vec![send("HTTP/1.1 401 Who?\r\nContent-Length: 0\r\n\r\n")]);
    let caller = Caller::new();
    let answer = caller.send(caller.request("POST", &peer.url()), streamed());
    assert_eq!(answer.unwrap().status, 401);
    // The connection, on which a body was promised, is not used again.
    assert!(caller.client.pool().is_empty());
    assert!(!peer.requests()[0].contains("one"));
}

#[test]
fn a_server_that_does_not_know_the_expectation_is_asked_without_it() {
    let refusal = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n";
    let peer = Peer::new(vec![send(refusal), hello()]);
    let caller = Caller::new();
    let body = RequestBody::bytes(vec![b'x'; 2_000_000]);
    let answer = caller.send(caller.request("PUT", &peer.url()), body);
    assert_eq!(answer.unwrap().body, b"hello");
    assert!(peer.requests()[0].contains("Expect: 100-continue"));
    assert!(!peer.requests()[1].contains("Expect"));
}

#[test]
fn a_server_that_says_nothing_gets_the_body_after_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"0\r\n\r\n") {
            let mut bytes = [0; 1000];
            let count = client.read(&mut bytes).unwrap();
            request.extend_from_slice(&bytes[..count]);
        }
        client
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(request).unwrap()
    });
    let caller = Caller::new();
    let answer = caller.send(caller.request("POST", &url), streamed());
    assert_eq!(answer.unwrap().status, 200);
    let request = server.join().unwrap();
    assert!(
        request.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{request}"
    );
}

#[test]
fn a_server_that_answers_early_and_reads_no_more_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 100]).unwrap();
        client
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop")
            .unwrap();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        rest.len()
    });
    let caller = Caller::new();
    let body = RequestBody::bytes(vec![b'x'; 900_000]);
    let answer = caller.send(caller.request("POST", &url), body).unwrap();
    assert_eq!((answer.status, &answer.body[..]), (413, &b"stop"[..]));
    drop(caller);
    server.join().unwrap();
}

/// As [`Pieces`], with something that is dropped with it.
struct Holding(Pieces, #[expect(dead_code)] Rc<()>);

impl BodySource for Holding {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.0.poll_piece(context)
    }
}

/// Sends a body that holds something to a server that answers with `status` when it has seen `last` of the request, and then
/// nothing more: how often that is held while the response is read.
fn held_behind_a_response(status: &'static str, last: &'static [u8]) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(last) {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
    });
    let caller = Caller::new();
    let held = Rc::new(());
    let body = RequestBody::Streamed {
        source: Box::new(Holding(Pieces(vec![b"one"]), held.clone())),
        length: None,
    };
    let sending = caller.client.send_body(caller.request("POST", &url), body);
    let response = caller.engine.block_on(sending).unwrap().unwrap();
    let count = Rc::strong_count(&held) - 1;
    drop(response);
    server.join().unwrap();
    count
}

#[test]
fn what_makes_a_body_is_dropped_when_the_body_is_sent_and_not_only_when_the_response_is_read() {
    assert_eq!(held_behind_a_response("200 OK", b"0\r\n\r\n"), 0);
}

#[test]
fn what_makes_a_body_that_the_server_does_not_want_is_dropped_with_its_answer() {
    assert_eq!(held_behind_a_response("403 No", b"\r\n\r\n"), 0);
}

#[test]
fn the_bytes_of_a_body_are_not_kept_while_the_response_is_read() {
    let peer = Peer::new(vec![send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")]);
    let caller = Caller::new();
    let bytes = Rc::new(b"a note".to_vec());
    let request = caller.request("POST", &peer.url());
    let sending = caller
        .client
        .send_body(request, RequestBody::Bytes(bytes.clone()));
    let response = caller.engine.block_on(sending).unwrap().unwrap();
    assert_eq!(Rc::strong_count(&bytes), 1);
    drop(response);
}
