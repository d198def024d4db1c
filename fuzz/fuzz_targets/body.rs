//! A body in each framing: the cuts do not matter, an error stays, and what our encoder wrote is read back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::wire::{BodyDecoder, BodyError, BodyEvent, BodyFraming, encode};
use lute_net_fuzz::cuts;

/// How the reading of a body ended.
#[derive(Clone, PartialEq, Debug)]
enum End {
    /// After this many bytes of input.
    Whole(usize),
    /// The peer closed.
    Closed(Result<(), BodyError>),
    Failed(BodyError),
}

fn decode(framing: BodyFraming, slices: &[&[u8]]) -> (Vec<u8>, End) {
    let mut decoder = BodyDecoder::new(framing);
    let mut body = Vec::new();
    let mut used_in_all = 0;
    for slice in slices {
        let mut rest = *slice;
        loop {
            let (used, event) = match decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error));
                    assert_eq!(decoder.end_of_input(), Err(error));
                    return (body, End::Failed(error));
                }
            };
            used_in_all += used;
            let (taken, after) = rest.split_at(used);
            rest = after;
            match event {
                BodyEvent::Piece(piece) => {
                    assert!(!piece.is_empty() && taken.ends_with(piece));
                    body.extend_from_slice(piece);
                }
                BodyEvent::NeedMore => {
                    assert!(rest.is_empty());
                    break;
                }
                BodyEvent::End => {
                    assert!(decoder.is_finished() && decoder.remaining() == Some(0));
                    return (body, End::Whole(used_in_all));
                }
            }
        }
    }
    if decoder.is_finished() {
        return (body, End::Whole(used_in_all));
    }
    (body, End::Closed(decoder.end_of_input()))
}

fn read_back(slices: &[&[u8]], seed: u8) {
    let mut out = Vec::new();
    slices
        .iter()
        .for_each(|piece| encode::chunk(&mut out, piece));
    encode::last_chunk(&mut out);
    let decoded = decode(BodyFraming::Chunked, &cuts::slices(seed, &out));
    assert_eq!(decoded, (slices.concat(), End::Whole(out.len())));
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, rest)) = cuts::with_seed(data) else {
        return;
    };
    let Some((framing, input)) = rest.split_first() else {
        return;
    };
    let framing = match framing {
        b'c' => BodyFraming::Chunked,
        b'u' => BodyFraming::UntilClose,
        length => BodyFraming::Length(u64::from(*length)),
    };
    let slices = cuts::slices(seed, input);
    assert_eq!(decode(framing, &slices), decode(framing, &[input]));
    read_back(&slices, seed);
});
