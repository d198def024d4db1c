//! For tests: whatever the bytes are cut into, the answer must be the same.

use std::fmt::Debug;

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::head::{HeadProgress, Parsed};

/// Parses the whole `input` and each prefix of it: a prefix may only lead to "more" or to the answer
/// of the whole, and once there is an answer more bytes must not take it back. Returns that answer.
pub(super) fn parse_all_prefixes<T, E>(
    input: &[u8],
    parse: impl Fn(&[u8]) -> Result<Parsed<T>, E>,
) -> Result<Parsed<T>, E>
where
    T: PartialEq + Debug,
    E: PartialEq + Debug,
{
    let whole = parse(input);
    let mut answered = false;
    for end in 0..=input.len() {
        let prefix = parse(&input[..end]);
        let partial = prefix == Ok(Parsed::Partial);
        let text = input[..end].escape_ascii();
        assert!(partial || prefix == whole, "{text}: {prefix:?}, {whole:?}");
        assert!(!partial || !answered, "{text}: the answer was taken back");
        answered = !partial;
    }
    let by_byte = parse_byte_by_byte(input, &parse);
    if matches!(whole, Ok(Parsed::Complete(_))) {
        assert_eq!(by_byte, whole);
    } else {
        assert!(by_byte == whole || by_byte == Ok(Parsed::Partial));
    }
    whole
}

/// The first answer when one byte comes at a time and only promising input is parsed.
fn parse_byte_by_byte<T, E>(
    input: &[u8],
    parse: &impl Fn(&[u8]) -> Result<Parsed<T>, E>,
) -> Result<Parsed<T>, E> {
    let mut progress = HeadProgress::default();
    (1..=input.len())
        .map(|end| &input[..end])
        .filter(|prefix| progress.worth_parsing(prefix))
        .map(parse)
        .find(|answer| !matches!(answer, Ok(Parsed::Partial)))
        .unwrap_or(Ok(Parsed::Partial))
}

/// Calls `check` with so many values of `strategy`, the same ones in each run; what fails is made small.
pub(crate) fn for_each<S: Strategy>(cases: u32, strategy: S, check: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let outcome = runner.run(&strategy, |value| {
        check(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Calls `check` with many variations of `samples`.
pub(super) fn for_each_mutation(samples: &[&str], rounds: u32, check: impl Fn(&[u8])) {
    let samples: Vec<_> = samples
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    for_each(rounds, mutated(select(samples), 1..=3), |bytes| {
        check(&bytes);
    });
}

/// What `inputs` gives with some bytes replaced, put in or taken out, by those that matter in HTTP.
pub(crate) fn mutated(
    inputs: impl Strategy<Value = Vec<u8>>,
    changes: std::ops::RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<u8>> {
    const BYTES: &[u8] = b"\r\n\r\n \t:;,/?#*@%+-=\"\0\x0b\x7f\x80\xff0159afAFxHTTGchunked";
    let change = (any::<Index>(), select(BYTES), 0..3_u8);
    (inputs, vec(change, changes)).prop_map(|(mut bytes, changes)| {
        for (at, byte, kind) in changes {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// Places to cut an input at, for [`cut`].
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// `input` in the slices that `places` make of it; none is empty.
pub(crate) fn cut<'b>(input: &'b [u8], places: &[Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<_> = places
        .iter()
        .map(|place| place.index(input.len() + 1))
        .collect();
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    let slices = ends.into_iter().map(|end| {
        let slice = &input[start..end];
        start = end;
        slice
    });
    slices.filter(|slice| !slice.is_empty()).collect()
}

/// A body in the chunked coding with extensions and trailers, and what it says.
pub(crate) fn chunked_bodies() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let piece = vec(any::<u8>(), 1..40);
    let extension = select(vec!["", ";a", " ; b=c", ";d=\"e\""]);
    let trailers = select(vec!["", "A: b\r\n", "A: b\r\nC:\r\n"]);
    (vec((piece, extension), 0..6), trailers).prop_map(|(chunks, trailers)| {
        let (mut coded, mut data) = (Vec::new(), Vec::new());
        for (piece, extension) in chunks {
            coded.extend(format!("{:x}{extension}\r\n", piece.len()).bytes());
            coded.extend(&piece);
            coded.extend(b"\r\n");
            data.extend(piece);
        }
        coded.extend(format!("0\r\n{trailers}\r\n").bytes());
        (coded, data)
    })
}
