//! For tests: whatever the bytes are cut into, the answer must be the same.

use std::fmt::Debug;

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

/// Calls `check` with many variations of `samples`, the same ones in each run: bytes replaced, put
/// in, taken out, by those that matter in HTTP.
pub(super) fn for_each_mutation(samples: &[&str], rounds: usize, mut check: impl FnMut(&[u8])) {
    const BYTES: &[u8] = b"\r\n\r\n \t:;,/?#*@%+-=\"\0\x0b\x7f\x80\xff0159afAFxHTTGchunked";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).map_or(0, |number| number % below)
    };
    for round in 0..rounds {
        let mut bytes = samples[round % samples.len()].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = BYTES[random(BYTES.len())],
                1 => bytes.insert(at, BYTES[random(BYTES.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        check(&bytes);
    }
}
