use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    engine::websocket::frames::{self, Kind},
    wire::cuts::{cut, cuts, for_each, mutated},
};

/// Small, so that messages reach it.
const LONGEST_MESSAGE: usize = 200;

/// What a WebSocket would see.
#[derive(PartialEq, Debug, Default)]
struct Seen {
    /// Up to a close frame, or to what breaks the rules.
    messages: Vec<Message>,
    violation: Option<Violation>,
    pongs: Vec<u8>,
}

/// Reads `slices` one after the other, as the pump does.
fn read(role: Role, slices: &[&[u8]]) -> Seen {
    let mut reader = Reader::new(role);
    reader.limit(LONGEST_MESSAGE);
    let mut seen = Seen::default();
    for slice in slices {
        let mut rest = *slice;
        loop {
            match reader.next(&mut rest, Some(&mut seen.pongs)) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    let last = message.is_close();
                    seen.messages.push(message);
                    if last {
                        return seen;
                    }
                }
                Err(violation) => {
                    seen.violation = Some(violation);
                    return seen;
                }
            }
        }
        assert!(rest.is_empty(), "all of it was used");
    }
    seen
}

/// A client's masks are random, and not compared.
fn unmasked(mut seen: Seen) -> Seen {
    seen.pongs.clear();
    seen
}

/// A message in fragments, perhaps with pings between them, or a close frame; and what it says.
fn messages() -> impl Strategy<Value = (Vec<Frame>, Message)> {
    let text = "[a-zäß€🦀]{0,60}".prop_map(|text| (text.clone().into_bytes(), Message::text(text)));
    let bytes = vec(any::<u8>(), 0..140).prop_map(|bytes| (bytes.clone(), Message::binary(bytes)));
    (prop_oneof![text, bytes], cuts(), any::<bool>()).prop_map(
        |((payload, message), places, ping)| {
            let opcode = if message.is_text() { 0x01 } else { 0x02 };
            let mut pieces = cut(&payload, &places);
            if pieces.is_empty() {
                pieces.push(&[]);
            }
            let last = pieces.len() - 1;
            let mut frames = Vec::new();
            for (number, piece) in pieces.into_iter().enumerate() {
                let first = if number == 0 { opcode } else { 0x00 };
                let is_final = if number == last { 0x80 } else { 0x00 };
                frames.push((first | is_final, piece.to_vec()));
                if ping && number < last {
                    frames.push((0x89, b"ping".to_vec()));
                }
            }
            (frames, message)
        },
    )
}

/// A frame's first byte and payload.
type Frame = (u8, Vec<u8>);

/// What the other end of a WebSocket of this role sends.
fn encoded(role: Role, frames: &[Frame]) -> Vec<u8> {
    let sender = match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    };
    let mut out = Vec::new();
    for (first, payload) in frames {
        let start = out.len();
        frames::frame(&mut out, sender, Kind::Binary, payload);
        out[start] = *first;
    }
    out
}

fn roles() -> impl Strategy<Value = Role> {
    select(vec![Role::Server, Role::Client])
}

#[test]
fn messages_in_any_slices_are_the_same_messages() {
    let inputs = (vec(messages(), 0..5), cuts(), roles());
    for_each(1000, inputs, |(messages, places, role)| {
        let mut frames: Vec<_> = messages
            .iter()
            .flat_map(|(frames, _)| frames.clone())
            .collect();
        frames.push((0x88, b"\x03\xe8bye".to_vec()));
        let input = encoded(role, &frames);
        let seen = read(role, &cut(&input, &places));
        assert_eq!(unmasked(read(role, &[&input])), unmasked(seen));
        let seen = read(role, &cut(&input, &places));
        assert_eq!(seen.violation, None);
        let pings = frames.iter().filter(|(first, _)| *first == 0x89).count();
        let longest = if role == Role::Client { 10 } else { 6 };
        assert_eq!(seen.pongs.len(), pings * longest, "each ping has its pong");
        let received = seen
            .messages
            .into_iter()
            .filter(|message| !message.is_ping());
        let received: Vec<_> = received.collect();
        let (last, received) = received.split_last().unwrap();
        assert!(matches!(last, Message::Close(Some(frame)) if u16::from(frame.code) == 1000));
        let sent: Vec<_> = messages.into_iter().map(|(_, message)| message).collect();
        assert_eq!(received, sent);
    });
}

#[test]
fn what_breaks_the_rules_does_so_in_any_slices() {
    let broken = |role| {
        let frames = vec(messages(), 1..4)
            .prop_map(|all| all.into_iter().flat_map(|(frames, _)| frames).collect())
            .prop_map(move |frames: Vec<Frame>| encoded(role, &frames));
        (mutated(frames, 1..=4), cuts())
    };
    for role in [Role::Server, Role::Client] {
        for_each(2000, broken(role), |(input, places)| {
            let whole = unmasked(read(role, &[&input]));
            for slices in [cut(&input, &places), input.chunks(1).collect()] {
                let seen = unmasked(read(role, &slices));
                assert_eq!(seen, whole, "{}", input.escape_ascii());
            }
        });
    }
}
