use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::wire::cuts::{chunked_bodies, cut, cuts, for_each, mutated};

/// What a connection would see.
#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Request { head: Vec<u8>, body: Vec<u8> },
    Refused(Refusal),
}

/// Small, so that requests reach them.
fn limits() -> Limits {
    Limits {
        head: 160,
        body: 64,
        buffered: 64,
        ..Limits::default()
    }
}

/// Reads `slices` one after the other, as a connection does: up to the first refusal, or the end.
fn read(slices: &[&[u8]], bodies: Bodies) -> Vec<Seen> {
    let (limits, buffered) = (limits(), Rc::new(Buffered::default()));
    let mut intake = Intake::default();
    let mut streaming: Option<(Vec<u8>, BodyIntake)> = None;
    let (mut input, mut seen, mut streamed) = (Vec::new(), Vec::new(), Vec::new());
    for slice in slices {
        input.extend_from_slice(slice);
        loop {
            if let Some((head, mut body)) = streaming.take() {
                let (used, piece) = body.piece(&input, &limits);
                let (more, over) = match piece {
                    Piece::More => (true, false),
                    Piece::Bytes(bytes) => {
                        streamed.extend_from_slice(bytes);
                        (false, false)
                    }
                    Piece::End => (false, true),
                    Piece::Refused(refusal) => {
                        seen.push(Seen::Refused(refusal));
                        return seen;
                    }
                };
                input.drain(..used);
                if over {
                    let body = std::mem::take(&mut streamed);
                    seen.push(Seen::Request { head, body });
                    continue;
                }
                streaming = Some((head, body));
                if more {
                    break;
                }
                continue;
            }
            if input.is_empty() {
                break;
            }
            let mut storage = FieldStorage::new();
            let (used, taken) = intake.next(&input, &mut storage, &limits, &buffered, bodies);
            let waits = matches!(taken, Taken::More) && used == 0;
            match taken {
                Taken::More | Taken::WantsContinue => {}
                Taken::Request { raw_head, body, .. } => seen.push(Seen::Request {
                    head: raw_head.to_vec(),
                    body: body.to_vec(),
                }),
                Taken::Collected(whole) => seen.push(Seen::Request {
                    head: whole.raw_head().to_vec(),
                    body: whole.body().to_vec(),
                }),
                Taken::Streaming { raw_head, body, .. } => {
                    streaming = Some((raw_head.to_vec(), body));
                }
                Taken::Refused(refusal) => {
                    seen.push(Seen::Refused(refusal));
                    return seen;
                }
            }
            input.drain(..used);
            if waits {
                break;
            }
        }
    }
    drop((intake, streaming));
    assert_eq!(buffered.bytes.get(), 0, "what is over holds nothing");
    seen
}

/// A request that follows the rules, and its body.
fn requests() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let framed = prop_oneof![
        Just((String::new(), Vec::new(), Vec::new())),
        vec(any::<u8>(), 0..40).prop_map(|data| {
            let length = format!("Content-Length: {}\r\n", data.len());
            (length, data.clone(), data)
        }),
        chunked_bodies().prop_map(|(coded, data)| {
            ("Transfer-Encoding: chunked\r\n".to_owned(), coded, data)
        }),
    ];
    let method = select(vec!["GET", "POST", "HEAD", "OPTIONS"]);
    let fields = "(X: [a-z]{0,9}\r\n|Expect: 100-continue\r\n){0,2}";
    (method, "/[a-z%?=&]{0,9}", fields, framed).prop_map(
        |(method, target, fields, (framing, coded, data))| {
            let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}{framing}\r\n");
            ([head.into_bytes(), coded].concat(), data)
        },
    )
}

#[test]
fn requests_in_any_slices_are_the_same_requests() {
    let inputs = (vec(requests(), 1..4), cuts());
    for_each(2000, inputs, |(requests, places)| {
        let input: Vec<u8> = requests
            .iter()
            .flat_map(|(coded, _)| coded.clone())
            .collect();
        for bodies in [Bodies::Whole, Bodies::Streamed] {
            let seen = read(&cut(&input, &places), bodies);
            assert_eq!(seen, read(&[&input], bodies));
            let small = requests
                .iter()
                .all(|(coded, data)| coded.len() < 160 && data.len() <= 64);
            if small {
                let bodies: Vec<_> = seen
                    .into_iter()
                    .map(|seen| match seen {
                        Seen::Request { body, .. } => body,
                        Seen::Refused(refusal) => panic!("{refusal:?}"),
                    })
                    .collect();
                let sent: Vec<_> = requests.iter().map(|(_, data)| data.clone()).collect();
                assert_eq!(bodies, sent);
            }
        }
    });
}

#[test]
fn what_is_refused_is_so_in_any_slices() {
    let pipelines = vec(requests(), 1..4)
        .prop_map(|requests| requests.into_iter().flat_map(|(coded, _)| coded).collect());
    for_each(
        10_000,
        (mutated(pipelines, 1..=4), cuts()),
        |(mut input, places)| {
            // A head that is broken but not at its end may be refused or waited for: here each comes to its end.
            input.extend(b"\r\n\r\n");
            for bodies in [Bodies::Whole, Bodies::Streamed] {
                assert_eq!(
                    read(&cut(&input, &places), bodies),
                    read(&[&input], bodies),
                    "{}",
                    input.escape_ascii()
                );
            }
        },
    );
}

#[test]
fn whether_a_refusal_has_a_body_does_not_depend_on_bytes_behind_what_is_refused() {
    for head in ["HEAD / HTTP/1.1", "\r\nHEAD ", "\r\n\r\nHEAD "] {
        assert_eq!(RefusalBody::to(head.as_bytes()), RefusalBody::Empty);
    }
    for refused_before in ["\nHEAD ", " HEAD ", "\r\n\r\n\r\nHEAD ", "HEADER "] {
        let body = RefusalBody::to(refused_before.as_bytes());
        assert_eq!(body, RefusalBody::Reason, "{refused_before:?}");
    }
}
