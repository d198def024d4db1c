//! The samples were made by gzip, zstd and Node from the lines that `lines` makes, and from 100 MiB of zeros.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::*;

const GZIP: &[u8] = include_bytes!("samples/lines.txt.gz");
const ZLIB: &[u8] = include_bytes!("samples/lines.txt.zlib");
const BARE_DEFLATE: &[u8] = include_bytes!("samples/lines.txt.deflate");
const BROTLI: &[u8] = include_bytes!("samples/lines.txt.br");
const ZSTD: &[u8] = include_bytes!("samples/lines.txt.zst");

const ALL: [(&str, &[u8]); 5] = [
    ("gzip", GZIP),
    ("deflate", ZLIB),
    ("deflate", BARE_DEFLATE),
    ("br", BROTLI),
    ("zstd", ZSTD),
];

fn lines() -> Vec<u8> {
    let lines = (0..400).map(|number| format!("line {number} of a text\n"));
    lines.collect::<String>().into_bytes()
}

fn decoder(coding: &str) -> ContentDecoder {
    let mut fields = Fields::default();
    fields.push(b"Content-Encoding", coding.as_bytes());
    ContentDecoder::of_response(&fields).unwrap()
}

/// Decodes a body that comes in pieces of `size` bytes.
fn decode(coding: &str, encoded: &[u8], size: usize) -> Result<Vec<u8>, &'static str> {
    let (mut decoder, mut out) = (decoder(coding), Vec::new());
    for piece in encoded.chunks(size) {
        decoder.feed(piece.to_vec());
        while decoder.decode(&mut out)? {}
    }
    decoder.end()?;
    Ok(out)
}

#[test]
fn all_codings_are_undone_however_they_are_cut() {
    for (coding, encoded) in ALL {
        for size in [1, 2, 3, 7, 100, encoded.len()] {
            assert!(
                decode(coding, encoded, size) == Ok(lines()),
                "{coding} by {size}"
            );
        }
    }
}

#[test]
fn members_and_frames_may_follow_each_other_as_of_rfc_1952_section_2_2_and_rfc_8878_section_3() {
    for (coding, encoded) in [("gzip", GZIP), ("zstd", ZSTD)] {
        for size in [1, 13, 10_000] {
            let twice = [encoded, encoded].concat();
            assert!(
                decode(coding, &twice, size) == Ok([lines(), lines()].concat()),
                "{coding} by {size}"
            );
        }
    }
    let skipped = [b"\x5a\x2a\x4d\x18\x03\0\0\0abc", ZSTD].concat();
    assert!(decode("zstd", &skipped, 5) == Ok(lines()));
}

#[test]
fn what_follows_a_gzip_member_and_is_none_is_dropped() {
    for rest in [&b"\0\0\0\0"[..], b"\x1f", b"\x1fx", b"text"] {
        let encoded = [GZIP, rest].concat();
        for size in [1, 10_000] {
            assert!(decode("gzip", &encoded, size) == Ok(lines()), "{rest:?}");
        }
    }
}

#[test]
fn codings_on_top_of_each_other_are_undone_in_turn_as_of_rfc_9110_section_8_4() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(BROTLI).unwrap();
    let both = gzip.finish().unwrap();
    for size in [1, 10, 10_000] {
        assert!(decode("br, gzip", &both, size) == Ok(lines()));
        assert!(decode("br,identity, X-GZip", &both, size) == Ok(lines()));
    }
}

#[test]
fn what_is_cut_short_is_an_error_and_no_body_at_all_is_none() {
    for (coding, encoded) in ALL {
        assert_eq!(decode(coding, &[], 1), Ok(Vec::new()), "{coding}");
        for end in [1, 5, encoded.len() / 2, encoded.len() - 1] {
            let cut = decode(coding, &encoded[..end], 64);
            assert_eq!(cut, Err("it is cut short"), "{coding} at {end}");
        }
    }
}

#[test]
fn garbage_is_an_error() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let error = decode(coding, &[0xfe; 5000], 5000).unwrap_err();
        assert!(error.starts_with("it is not what "), "{coding}: {error}");
    }
}

#[test]
fn damage_in_the_middle_is_noticed_or_decoded_but_does_no_harm() {
    for (coding, encoded) in ALL {
        for at in (0..encoded.len()).step_by(5) {
            let mut damaged = encoded.to_vec();
            damaged[at] ^= 0x55;
            if let Ok(text) = decode(coding, &damaged, 500) {
                assert!(text.len() < 10_000_000);
            }
        }
    }
}

#[test]
fn a_bomb_is_given_out_in_pieces_of_64_kib() {
    let bombs: [(&str, &[u8]); 2] = [
        ("br", include_bytes!("samples/zeros.br")),
        ("zstd", include_bytes!("samples/zeros.zst")),
    ];
    for (coding, bomb) in bombs {
        let mut decoder = decoder(coding);
        decoder.feed(bomb.to_vec());
        let (mut out, mut total) = (Vec::new(), 0);
        while decoder.decode(&mut out).unwrap() {
            assert!(out.len() <= PIECE, "{coding}");
            total += out.len();
            out.clear();
        }
        assert_eq!(total, 100 * 1024 * 1024, "{coding}");
        assert_eq!(decoder.end(), Ok(()));
    }
}

#[test]
fn a_zstd_window_of_more_than_8_mib_is_refused_as_of_rfc_9659_section_3() {
    let wide = include_bytes!("samples/window.zst");
    assert_eq!(decode("zstd", wide, 1000), Err("it is not what zstd makes"));
}

#[test]
fn unknown_codings_and_too_many_are_left_alone() {
    for coding in [
        "",
        "identity",
        "compress",
        "gzip, compress",
        "gzip, gzip, gzip, gzip, gzip",
    ] {
        let mut fields = Fields::default();
        fields.push(b"content-encoding", coding.as_bytes());
        assert!(ContentDecoder::of_response(&fields).is_none(), "{coding}");
    }
    assert!(ContentDecoder::of_response(&Fields::default()).is_none());
}
