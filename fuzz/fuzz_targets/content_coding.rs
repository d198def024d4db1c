//! An encoded body: no decoder panics or hangs, none gives out more than 64 KiB at once, and the cuts do not matter.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lute_net::engine::client::{ContentDecoder, Fields};
use lute_net_fuzz::cuts;

const CODINGS: [&str; 6] = ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate"];
const PIECE: usize = 64 * 1024;
/// Where reading a bomb ends.
const ENOUGH: usize = 8 * PIECE;

/// What came out, and how it ended; `None` when it was enough.
fn decode(coding: &str, slices: &[&[u8]]) -> (Vec<u8>, Option<Result<(), &'static str>>) {
    let mut fields = Fields::default();
    fields.push(b"Content-Encoding", coding.as_bytes());
    let mut decoder = ContentDecoder::of_response(&fields).expect("a coding that is known");
    let mut out = Vec::new();
    for slice in slices {
        decoder.feed(slice.to_vec());
        loop {
            let before = out.len();
            match decoder.decode(&mut out) {
                Err(error) => return (out, Some(Err(error))),
                Ok(true) => assert!((1..=PIECE).contains(&(out.len() - before))),
                Ok(false) => {
                    assert_eq!(out.len(), before);
                    break;
                }
            }
            if out.len() > ENOUGH {
                return (out, None);
            }
        }
    }
    (out, Some(decoder.end()))
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, rest)) = cuts::with_seed(data) else {
        return;
    };
    let Some((coding, input)) = rest.split_first() else {
        return;
    };
    let coding = CODINGS[usize::from(*coding) % CODINGS.len()];
    let (whole, whole_end) = decode(coding, &[input]);
    let (cut, cut_end) = decode(coding, &cuts::slices(seed, input));
    if let (Some(whole_end), Some(cut_end)) = (whole_end, cut_end) {
        assert_eq!(
            cut_end.is_ok(),
            whole_end.is_ok(),
            "{cut_end:?} {whole_end:?}"
        );
        if whole_end.is_ok() {
            assert_eq!(cut, whole);
        }
    }
    // Before an error or enough, one may have given out more than the other.
    let common = cut.len().min(whole.len());
    assert_eq!(cut[..common], whole[..common]);
});
