//! Which part of a file a `Range` field asks for (RFC 9110 §14.2).

/// What to send of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it, with 200.
    Whole,
    /// This part of it, never empty, with 206.
    Part { start: u64, length: u64 },
    /// Nothing of what was asked for is there: 416.
    Unsatisfiable,
}

impl Selection {
    /// What `range` selects of a file of `whole` bytes.
    ///
    /// One range of bytes is heeded. Several, another unit and what breaks the grammar count as no range at all, which
    /// RFC 9110 §14.2 allows; many small or overlapping ranges are a way to make a server work (§17.15).
    pub(super) fn new(range: Option<&str>, whole: u64) -> Self {
        let Some(range) = range.and_then(ByteRange::parse) else {
            return Self::Whole;
        };
        match range {
            ByteRange::Suffix { length: 0 } => Self::Unsatisfiable,
            // The last bytes of an empty file are all it has, and no Content-Range can say "none" (§14.4).
            ByteRange::Suffix { .. } if whole == 0 => Self::Whole,
            ByteRange::Suffix { length } => {
                let length = length.min(whole);
                Self::Part {
                    start: whole - length,
                    length,
                }
            }
            ByteRange::From { first, .. } if first >= whole => Self::Unsatisfiable,
            ByteRange::From { first, last } => Self::Part {
                start: first,
                length: last.min(whole - 1) - first + 1,
            },
        }
    }
}

/// RFC 9110 §14.1.2; numbers that no file can have are cut to the largest.
enum ByteRange {
    /// `first-last`, or `first-` for all from there on.
    From { first: u64, last: u64 },
    /// `-length`.
    Suffix { length: u64 },
}

impl ByteRange {
    /// `None` unless `field` is one valid range of bytes.
    fn parse(field: &str) -> Option<Self> {
        let (unit, range) = field.split_once('=')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = range.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix {
                length: number(last)?,
            });
        }
        let first = number(first)?;
        let last = if last.is_empty() {
            u64::MAX
        } else {
            number(last)?
        };
        (first <= last).then_some(Self::From { first, last })
    }
}

/// One or more digits.
fn number(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, length: u64) -> Selection {
        Selection::Part { start, length }
    }

    #[test]
    fn one_range_of_bytes_selects_a_part_as_of_rfc_9110_section_14_1_2() {
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-4", part(0, 5)),
            ("bytes=3-9", part(3, 7)),
            ("bytes=3-10", part(3, 7)),
            ("bytes=9-9", part(9, 1)),
            ("bytes=5-", part(5, 5)),
            ("bytes=0-", part(0, 10)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-11", part(0, 10)),
            ("BYTES=0-4", part(0, 5)),
            ("bytes=000-004", part(0, 5)),
        ] {
            assert_eq!(Selection::new(Some(range), 10), expected, "{range}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits_are_larger_than_any_file() {
        let huge = "9".repeat(40);
        let of = |range: String| Selection::new(Some(&range), 10);
        assert_eq!(of(format!("bytes=3-{huge}")), part(3, 7));
        assert_eq!(of(format!("bytes=-{huge}")), part(0, 10));
        assert_eq!(of(format!("bytes={huge}-")), Selection::Unsatisfiable);
        assert_eq!(of(format!("bytes={}-", u64::MAX)), Selection::Unsatisfiable);
        assert_eq!(
            Selection::new(Some("bytes=0-"), u64::MAX),
            part(0, u64::MAX)
        );
    }

    #[test]
    fn a_range_behind_the_end_or_of_no_bytes_is_unsatisfiable() {
        for range in ["bytes=10-", "bytes=10-12", "bytes=11-11", "bytes=-0"] {
            assert_eq!(
                Selection::new(Some(range), 10),
                Selection::Unsatisfiable,
                "{range}"
            );
        }
    }

    #[test]
    fn an_empty_file_has_no_first_byte_but_its_last_bytes_are_the_whole() {
        assert_eq!(
            Selection::new(Some("bytes=0-"), 0),
            Selection::Unsatisfiable
        );
        assert_eq!(
            Selection::new(Some("bytes=-0"), 0),
            Selection::Unsatisfiable
        );
        assert_eq!(Selection::new(Some("bytes=-5"), 0), Selection::Whole);
        assert_eq!(Selection::new(None, 0), Selection::Whole);
    }

    #[test]
    fn several_ranges_other_units_and_bad_syntax_are_no_range() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-3",
            "bytes=0-4,6-8",
            "bytes=0-4,",
            "bytes=a-4",
            "bytes=0-b",
            "bytes=+1-4",
            "bytes=--4",
            "bytes=1--4",
            "bytes= 0-4",
            "bytes=0 - 4",
            "bytes 0-4",
            "bytes =0-4",
            "items=0-4",
            "bytes=\u{661}-4",
        ] {
            assert_eq!(Selection::new(Some(range), 10), Selection::Whole, "{range}");
        }
    }
}
