//! Many WebSockets, floods, and clients that read nothing.

use std::{io::Write, time::Duration};

use super::{
    echo,
    raw::{PING, PONG, RawWebSocket, TEXT, frame},
    server,
};
use crate::support::{Server, wait_until};

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
fn subscribers_that_never_read_harm_nobody_else() {
    let mut server = server(
        r#"sendqueue = 300000, open = function(ws) ws:subscribe("all") end,
message = function(ws, message)
	local reached = 0
	for _ = 1, 100 do reached = ws:publish("all", string.rep("x", 10000)) end
	print(reached)
end"#,
    );
    let stuck: Vec<_> = (0..10)
        .map(|_| RawWebSocket::over(server.connect_with_small_buffer()))
        .collect();
    let mut others: Vec<_> = (0..100).map(|_| RawWebSocket::open(&server)).collect();
    let reading: Vec<_> = others
        .drain(1..)
        .map(|mut websocket| {
            std::thread::spawn(move || {
                for _ in 0..500 {
                    assert_eq!(websocket.receive().1.len(), 10_000);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        others[0].send(TEXT, b"go");
        let reached: usize = server.next_line().parse().unwrap();
        assert!(reached >= 99, "{reached}");
    }
    for thread in reading {
        thread.join().unwrap();
    }
    drop(stuck);
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
