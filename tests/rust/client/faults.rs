//! Servers that do what they should not. Afterwards everything is as it was.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use lute_net::engine::client::RequestBody;

use super::peer::*;
use crate::support::in_a_process_of_its_own;

/// A server that runs `serve` with its first client; its URL.
fn server(serve: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 4096]);
        serve(client);
    });
    url
}

/// Sends `bytes` over and over until the client has gone.
fn endless(head: &'static [u8], bytes: &'static [u8]) -> String {
    server(move |mut client| {
        if client.write_all(head).is_ok() {
            while client.write_all(bytes).is_ok() {}
        }
    })
}

fn impatient() -> Caller {
    let mut caller = Caller::new();
    caller.options.timeouts.read = Duration::from_millis(100);
    caller
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let peer = Peer::new(vec![Act::Hang]);
    let problem = impatient().get(&peer.url()).unwrap_err();
    let origin = format!("127.0.0.1:{}", peer.port);
    assert_eq!(
        problem,
        format!("{origin} timed out after 0.1 s without a byte")
    );
    let mut caller = Caller::new();
    caller.options.timeouts.total = Duration::from_millis(150);
    let problem = caller.get(&peer.url()).unwrap_err();
    assert_eq!(problem, format!("{origin} timed out after 0.15 s"));
    assert_eq!(caller.engine.connections().used(), 0);
}

#[test]
fn a_server_that_stops_in_the_middle_is_given_up() {
    for begin in [
        "HTTP/1.1 200 OK\r\nX: ",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\n\r\nab",
    ] {
        let url = server(move |mut client| {
            client.write_all(begin.as_bytes()).unwrap();
            let _ = client.read_to_end(&mut Vec::new());
        });
        let problem = impatient().get(&url).unwrap_err();
        assert!(
            problem.ends_with("timed out after 0.1 s without a byte"),
            "{problem}"
        );
    }
}

#[test]
fn a_server_that_sends_drops_has_its_time_for_the_whole() {
    let url = server(|mut client| {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        while client.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let mut caller = impatient();
    caller.options.timeouts.total = Duration::from_millis(300);
    let problem = caller.get(&url).unwrap_err();
    assert!(problem.ends_with("timed out after 0.3 s"), "{problem}");
}

#[test]
fn a_server_that_takes_no_body_is_given_up() {
    let url = server(|mut client| {
        thread::sleep(Duration::from_secs(2));
        let _ = client.write_all(b"too late");
    });
    let caller = impatient();
    // More than the system takes for a server that does not read.
    let body = RequestBody::bytes(vec![b'x'; 30_000_000]);
    let problem = caller.send(caller.request("POST", &url), body).unwrap_err();
    assert!(problem.ends_with("without a byte"), "{problem}");
}

#[test]
fn an_endless_head_chunk_line_or_trailer_has_its_limit() {
    for (head, bytes) in [
        (
            &b"HTTP/1.1 200 OK\r\n"[..],
            &b"X: aaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"[..],
        ),
        (
            b"HTTP/1.1 200 OK\r\nX: ",
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        (b"HTTP/1.1 200 O", b"KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK"),
        (b"", b"HTTP/1.1 103 Hints\r\n\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
            b"extension=extension;extension=extension",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"Trailer: trailer\r\nTrailer: trailer\r\n",
        ),
    ] {
        let problem = Caller::new().get(&endless(head, bytes)).unwrap_err();
        assert!(problem.contains(" sent "), "{problem}");
    }
}

#[test]
fn a_body_beyond_the_limit_is_an_error_whatever_its_framing() {
    let mut caller = Caller::new();
    caller.options.max_body_size = 100_000;
    for head in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    ] {
        let problem = caller.get(&endless(head, &[b'x'; 4096])).unwrap_err();
        assert!(
            problem.ends_with(" is larger than 100000 bytes"),
            "{problem}"
        );
    }
    let exact = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000));
    let peer = Peer::new(vec![close(exact)]);
    assert_eq!(caller.get(&peer.url()).unwrap().body.len(), 100_000);
}

#[test]
fn a_decompression_bomb_is_an_error_and_not_memory() {
    let bomb = include_bytes!("../../../src/engine/client/content_coding/samples/zeros.zst");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    let peer = Peer::new(vec![send([head.as_bytes(), bomb].concat())]);
    let mut caller = Caller::new();
    caller.options.max_body_size = 1_000_000;
    let problem = caller.get(&peer.url()).unwrap_err();
    assert!(
        problem.ends_with(" is larger than 1000000 bytes"),
        "{problem}"
    );
}

#[test]
fn a_coding_that_is_broken_or_cut_is_an_error_that_says_so() {
    let gzip = include_bytes!("../../../src/engine/client/content_coding/samples/lines.txt.gz");
    for (body, problem) in [
        (&gzip[..500], "it is cut short"),
        (
            &b"no gzip at all"[..],
            "it is not what deflate or gzip make",
        ),
    ] {
        let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
        let expected = format!("P sent a response body that cannot be decompressed: {problem}");
        assert_eq!(problem_of([head, body].concat()), expected);
    }
}

#[test]
fn a_reset_is_an_error_that_names_the_host() {
    let peer = Peer::new(vec![Act::Reset]);
    let problem = Caller::new().get(&peer.url()).unwrap_err();
    let expected = format!("the connection to 127.0.0.1:{} failed: ", peer.port);
    assert!(problem.starts_with(&expected), "{problem}");
}

#[test]
fn a_client_has_no_more_descriptors_after_all_that() {
    in_a_process_of_its_own(
        "client::faults::a_client_has_no_more_descriptors_after_all_that",
        || {
            let caller = impatient();
            let acts = [
                Act::Hang,
                Act::Reset,
                close("HTTP/1.1"),
                send("garbage\r\n\r\n"),
            ];
            let before = descriptors();
            for act in acts.iter().cycle().take(40) {
                let peer = Peer::new(vec![act.clone()]);
                caller.get(&peer.url()).unwrap_err();
            }
            crate::support::wait_until("the servers' ends are closed", || {
                // Each peer still listens.
                descriptors() <= before + 40
            });
            assert_eq!(caller.engine.connections().used(), 0);
        },
    );
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
