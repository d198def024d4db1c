//! Clients that take their time, many at once, while others are served.

use std::{
    io::Write,
    net::TcpStream,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Server, allow_descriptors, leaves_nothing, read_response, read_to_end, wait_until,
};

const HANDLER: &str =
    "return if request.path == '/large' then string.rep('x', 2 ^ 18) else 'prompt'";

/// How long slow clients are borne, and in Luau.
const BORNE: Duration = Duration::from_secs(4);
const TIMEOUTS: &str = "timeout = { header = 4, body = 4, write = 4 },";

/// A client that asks and reads gets its answer, and not only because the slow ones have been dropped.
fn assert_prompt(server: &Server) {
    let began = Instant::now();
    let mut prompt = server.connect();
    prompt
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut prompt).1, "prompt");
    let took = began.elapsed();
    assert!(took < BORNE, "{took:?}");
}

fn begin(server: &Server, number: usize) -> TcpStream {
    let (mut stream, begin): (_, &[u8]) = match number % 100 {
        0..50 => (server.connect(), b"GET / HTTP/1.1\r\nX: "),
        50..99 => (
            server.connect(),
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        ),
        // Reads nothing.
        _ => (
            server.connect_with_small_buffer(),
            b"GET /large HTTP/1.1\r\nHost: a\r\n\r\nGET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    };
    stream.write_all(begin).unwrap();
    stream
}

#[test]
fn five_thousand_slow_clients_do_not_slow_down_the_others() {
    allow_descriptors(6000);
    let mut server = Server::with_options(TIMEOUTS, HANDLER);
    let attack = |server: &mut Server| {
        let mut slow: Vec<_> = (0..5000).map(|number| begin(server, number)).collect();
        for _ in 0..5 {
            for stream in &mut slow {
                let _ = stream.write_all(b"x");
            }
            assert_prompt(server);
        }
        for (number, stream) in slow.iter_mut().enumerate() {
            if number % 100 != 99 {
                assert!(read_to_end(stream).starts_with("HTTP/1.1 408 "));
            }
        }
        // Those who read nothing do so until they are dropped.
        wait_until("the end of all", || server.activity() == (0, 0));
    };
    leaves_nothing(&mut server, attack);
    let before = server.memory();
    leaves_nothing(&mut server, attack);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown}");
}

/// Runs slowhttptest with 300 connections and these options while others are served; the server survives it.
fn slowhttptest(options: &[&str], path: &str) {
    let mut server = Server::with_options(TIMEOUTS, HANDLER);
    leaves_nothing(&mut server, |server| {
        let url = format!("http://127.0.0.1:{}{path}", server.port);
        let mut attack = Command::new("slowhttptest")
            .args(["-c", "300", "-r", "300", "-l", "10", "-p", "4", "-u", &url])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("the attack", || server.activity().0 > 100);
        while attack.try_wait().unwrap().is_none() {
            assert_prompt(server);
            thread::sleep(Duration::from_millis(50));
        }
        let output = attack.wait_with_output().unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(report.contains("YES"), "{report}");
        assert!(
            !report.contains("NO\u{1b}") && !report.contains(" NO"),
            "{report}"
        );
        wait_until("the end of all", || server.activity() == (0, 0));
    });
}

#[test]
fn slowhttptest_with_slow_headers_leaves_the_others_served() {
    slowhttptest(&["-H", "-i", "1", "-x", "24"], "/");
}

#[test]
fn slowhttptest_with_slow_bodies_leaves_the_others_served() {
    slowhttptest(&["-B", "-i", "1", "-s", "100000", "-x", "10"], "/");
}

#[test]
fn slowhttptest_with_slow_reading_leaves_the_others_served() {
    slowhttptest(
        &[
            "-X", "-n", "1", "-w", "10", "-y", "20", "-z", "4", "-k", "3",
        ],
        "/large",
    );
}
