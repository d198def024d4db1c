//! RFC 6455 §5: frames, and what is no frame.

use super::{
    echo,
    raw::{BINARY, PING, PONG, RawWebSocket, TEXT, frame},
    server,
};

/// What a server closes with that gets these bytes.
fn code_for(bytes: &[u8]) -> Option<u16> {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    websocket.raw(bytes);
    websocket.receive_close()
}

#[test]
fn messages_of_every_length_come_back_however_they_are_cut() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    for length in [0, 1, 125, 126, 127, 65535, 65536, 1_000_000] {
        let payload: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        websocket.send(BINARY, &payload);
        assert!(websocket.receive() == (BINARY, payload), "{length} bytes");
    }
    for byte in frame(TEXT, "grüße".as_bytes()) {
        websocket.raw(&[byte]);
    }
    assert_eq!(websocket.receive(), (TEXT, "grüße".as_bytes().to_vec()));
}

#[test]
fn text_is_a_string_and_bytes_are_a_buffer() {
    let server = server("message = function(ws, message) ws:send(typeof(message)) end");
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, b"a");
    websocket.send(BINARY, b"a");
    assert_eq!(websocket.receive(), (TEXT, b"string".to_vec()));
    assert_eq!(websocket.receive(), (TEXT, b"buffer".to_vec()));
}

#[test]
fn fragments_are_one_message_and_control_frames_may_stand_between_them() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(0x01, b"one ");
    websocket.send(PING, b"now");
    websocket.send(0x00, b"and ");
    websocket.send(0x00, b"");
    websocket.send(0x80, b"two");
    assert_eq!(websocket.receive(), (PONG, b"now".to_vec()));
    assert_eq!(websocket.receive(), (TEXT, b"one and two".to_vec()));
}

#[test]
fn a_character_may_be_cut_in_two_by_fragments() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    let text = "€".as_bytes();
    websocket.send(0x01, &text[..1]);
    websocket.send(0x00, &text[1..2]);
    websocket.send(0x80, &text[2..]);
    assert_eq!(websocket.receive(), (TEXT, text.to_vec()));
}

#[test]
fn pings_are_answered_in_order_with_the_messages_and_pongs_are_ignored() {
    let server = echo();
    let mut websocket = RawWebSocket::open(&server);
    let mut bytes = frame(PING, b"1");
    bytes.extend(frame(TEXT, b"message"));
    bytes.extend(frame(PONG, b"unasked"));
    bytes.extend(frame(PING, &[b'x'; 125]));
    websocket.raw(&bytes);
    assert_eq!(websocket.receive(), (PONG, b"1".to_vec()));
    assert_eq!(websocket.receive(), (TEXT, b"message".to_vec()));
    assert_eq!(websocket.receive(), (PONG, vec![b'x'; 125]));
}

#[test]
fn a_frame_that_is_not_masked_ends_the_connection_as_of_rfc_6455_section_5_1() {
    assert_eq!(code_for(b"\x81\x02hi"), Some(1002));
}

#[test]
fn reserved_bits_end_the_connection_as_of_rfc_6455_section_5_2() {
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(code_for(&frame(TEXT | bit, b"hi")), Some(1002), "{bit:#x}");
    }
}

#[test]
fn reserved_opcodes_end_the_connection_as_of_rfc_6455_section_5_2() {
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_eq!(
            code_for(&frame(0x80 | opcode, b"")),
            Some(1002),
            "{opcode:#x}"
        );
    }
}

#[test]
fn control_frames_of_more_than_125_bytes_end_the_connection_as_of_rfc_6455_section_5_5() {
    assert_eq!(code_for(&frame(PING, &[0; 126])), Some(1002));
    assert_eq!(code_for(&frame(0x88, &[0; 126])), Some(1002));
}

#[test]
fn fragmented_control_frames_end_the_connection_as_of_rfc_6455_section_5_5() {
    assert_eq!(code_for(&frame(0x09, b"hi")), Some(1002));
}

#[test]
fn a_continuation_of_nothing_ends_the_connection_as_of_rfc_6455_section_5_4() {
    assert_eq!(code_for(&frame(0x80, b"hi")), Some(1002));
}

#[test]
fn a_message_inside_of_another_ends_the_connection_as_of_rfc_6455_section_5_4() {
    let mut bytes = frame(0x01, b"one");
    bytes.extend(frame(TEXT, b"two"));
    assert_eq!(code_for(&bytes), Some(1002));
}

#[test]
fn text_that_is_not_utf_8_ends_the_connection_with_1007_as_of_rfc_6455_section_8_1() {
    assert_eq!(code_for(&frame(TEXT, b"\xff")), Some(1007));
    assert_eq!(
        code_for(&frame(TEXT, b"\xed\xa0\x80")),
        Some(1007),
        "a surrogate"
    );
    assert_eq!(code_for(&frame(TEXT, b"\xe2\x82")), Some(1007), "it is cut");
    assert_eq!(
        code_for(&frame(0x01, b"fine\xff")),
        Some(1007),
        "not only at the end"
    );
}

#[test]
fn a_message_above_the_limit_ends_the_connection_with_1009_before_it_is_there() {
    let server = server(
        r#"maxmessagesize = 1000, message = function(ws, message) ws:send(message) end,
close = function(ws, code) print("close", code) end"#,
    );
    let mut server = server;
    let mut fits = RawWebSocket::open(&server);
    fits.send(TEXT, &[b'a'; 1000]);
    assert_eq!(fits.receive().1.len(), 1000);

    let mut declared = RawWebSocket::open(&server);
    declared.raw(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0");
    assert_eq!(declared.receive_close(), Some(1009));
    assert_eq!(server.next_line(), "close\t1009");

    let mut fragments = RawWebSocket::open(&server);
    fragments.send(0x01, &[b'a'; 600]);
    fragments.send(0x00, &[b'a'; 600]);
    assert_eq!(fragments.receive_close(), Some(1009));
    assert_eq!(server.next_line(), "close\t1009");
}

#[test]
fn control_frames_may_be_longer_than_the_longest_message() {
    let mut server = server(
        r#"maxmessagesize = 10, close = function(ws, code, reason) print("close", code, reason) end"#,
    );
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(PING, &[b'a'; 125]);
    assert_eq!(websocket.receive(), (0x8a, vec![b'a'; 125]));
    websocket.send(0x88, b"\x03\xe8more than ten bytes");
    assert_eq!(websocket.receive_close(), Some(1000));
    assert_eq!(server.next_line(), "close\t1000\tmore than ten bytes");
    let mut websocket = RawWebSocket::open(&server);
    websocket.send(TEXT, &[b'a'; 11]);
    assert_eq!(websocket.receive_close(), Some(1009));
}
