//! Why async-h1 does not read what comes from the network: the same bytes to a server on it and to ours.
//!
//! Each test shows first what async-h1 2.3 does, then what ours does. A test that fails in its first half says that
//! async-h1 has become better.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use http_types::{Body, Request, Response, StatusCode};

use crate::support::{PATIENCE, Server};

/// How one connection ended at async-h1.
#[derive(Debug, PartialEq)]
enum End {
    Served,
    Refused,
    Panicked,
}

/// Answers one connection with method, path and body.
fn async_h1() -> (SocketAddr, Receiver<End>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, end) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let stream = smol::net::TcpStream::try_from(stream).unwrap();
        let accepted = catch_unwind(AssertUnwindSafe(|| {
            smol::block_on(async_h1::accept(stream, echo))
        }));
        let _ = ended.send(match accepted {
            Ok(Ok(())) => End::Served,
            Ok(Err(_)) => End::Refused,
            Err(_) => End::Panicked,
        });
    });
    (address, end)
}

async fn echo(mut request: Request) -> http_types::Result<Response> {
    let body = request.body_string().await?;
    let mut response = Response::new(StatusCode::Ok);
    let path = request.url().path();
    response.set_body(Body::from(format!("{} {path} [{body}]", request.method())));
    Ok(response)
}

fn ours() -> Server {
    Server::with_handler("return `{request.method} {request.path} [{request.body}]`")
}

/// Sends the pieces one after the other, ends its side, and reads until the other one ends or is silent.
fn exchange(address: SocketAddr, pieces: &[&[u8]], silence: Duration) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(silence)).unwrap();
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            thread::sleep(Duration::from_millis(100));
        }
        // A server that has given up already may reset the connection.
        let _ = stream.write_all(piece);
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(500);

fn answer_of_async_h1(pieces: &[&[u8]]) -> String {
    exchange(async_h1().0, pieces, SILENCE)
}

fn answer_of_ours(pieces: &[&[u8]]) -> String {
    let server = ours();
    exchange(
        SocketAddr::from(([127, 0, 0, 1], server.port)),
        pieces,
        PATIENCE,
    )
}

#[test]
fn a_pipelined_request_is_lost() {
    let first = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let last = b"GET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".as_slice();
    let both = [first, last].concat();
    let answer = answer_of_async_h1(&[&both]);
    assert!(
        answer.contains("/one") && !answer.contains("/two"),
        "{answer}"
    );
    let answer = answer_of_ours(&[&both]);
    assert!(
        answer.contains("/one") && answer.contains("/two"),
        "{answer}"
    );
}

#[test]
fn a_field_value_with_a_byte_above_127_panics() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Name: caf\xc3\xa9\r\nConnection: close\r\n\r\n";
    let (address, end) = async_h1();
    exchange(address, &[request], PATIENCE);
    assert_eq!(end.recv_timeout(PATIENCE), Ok(End::Panicked));
    let answer = answer_of_ours(&[request]);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn two_lengths_that_differ_are_not_refused() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nContent-Length: 2\r\nConnection: close\r\n\r\nabcdefghi";
    let answer = answer_of_async_h1(&[request]);
    assert!(answer.contains("POST / [ab]"), "{answer}");
    let answer = answer_of_ours(&[request]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn a_chunked_body_whose_last_line_comes_in_two_segments_hangs() {
    let head =
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            .as_slice();
    let pieces: [&[u8]; 2] = [&[head, b"2\r\nab\r\n0\r\n\r"].concat(), b"\n"];
    assert_eq!(answer_of_async_h1(&pieces), "");
    let answer = answer_of_ours(&pieces);
    assert!(answer.ends_with("POST / [ab]"), "{answer}");
}

#[test]
fn bad_input_is_not_answered() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nbad name: b\r\n\r\n";
    let (address, end) = async_h1();
    assert_eq!(exchange(address, &[request], PATIENCE), "");
    assert_eq!(end.recv_timeout(PATIENCE), Ok(End::Refused));
    let answer = answer_of_ours(&[request]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
fn http_1_0_is_unknown() {
    let request = b"GET /old HTTP/1.0\r\n\r\n";
    let (address, end) = async_h1();
    assert_eq!(exchange(address, &[request], PATIENCE), "");
    assert_eq!(end.recv_timeout(PATIENCE), Ok(End::Refused));
    let answer = answer_of_ours(&[request]);
    assert!(answer.ends_with("GET /old []"), "{answer}");
}
