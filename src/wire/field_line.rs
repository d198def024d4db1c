//! The grammar of field lines, byte by byte: checks trailers, which come in any slices, and finds
//! out which rule a head broke that `httparse` refused.

use super::error::LineError;
use super::syntax::{is_field_content, is_token_byte};

/// Whether a field may go on in a line that begins with whitespace (RFC 9112 §5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Folding {
    Allowed,
    Refused,
}

/// Where in a section of field lines (RFC 9112 §5) the next byte stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FieldLines {
    FirstLine,
    NextLine,
    Name,
    Value,
    /// After the CR of a field line.
    LineEnd,
    /// After the CR of the empty line.
    LastLineEnd,
}

/// What a byte did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It is a part of a line.
    Inside,
    /// It ended a field line.
    LineEnded,
    /// It ended the empty line, and the section.
    SectionEnded,
}

impl FieldLines {
    /// Takes the next byte, or names the rule it breaks.
    pub(super) fn step(&mut self, byte: u8, folding: Folding) -> Result<Step, LineError> {
        let next = match (*self, byte) {
            (Self::LastLineEnd, b'\n') => return Ok(Step::SectionEnded),
            (Self::LineEnd, b'\n') => {
                *self = Self::NextLine;
                return Ok(Step::LineEnded);
            }
            (Self::LineEnd | Self::LastLineEnd, _) => return Err(LineError::BareCr),
            (_, b'\n') => return Err(LineError::BareLf),
            (Self::FirstLine | Self::NextLine, b'\r') => Self::LastLineEnd,
            (Self::FirstLine | Self::NextLine, b':') => return Err(LineError::EmptyName),
            (Self::FirstLine, b' ' | b'\t') => return Err(LineError::LeadingWhitespace),
            (Self::NextLine, b' ' | b'\t') if folding == Folding::Refused => {
                return Err(LineError::Folded);
            }
            (Self::NextLine, b' ' | b'\t') => Self::Value,
            (Self::Name, b':') => Self::Value,
            (Self::Name, b' ' | b'\t') => return Err(LineError::WhitespaceInName),
            (Self::Name, b'\r') => return Err(LineError::MissingColon),
            (Self::FirstLine | Self::NextLine | Self::Name, _) if is_token_byte(byte) => Self::Name,
            (Self::FirstLine | Self::NextLine | Self::Name, _) => {
                return Err(LineError::InvalidName);
            }
            (Self::Value, b'\r') => Self::LineEnd,
            (Self::Value, _) if is_field_content(byte) => Self::Value,
            (Self::Value, _) => return Err(LineError::InvalidValue),
        };
        *self = next;
        Ok(Step::Inside)
    }
}

/// The first rule that a section of field lines breaks, if it breaks one.
pub(super) fn broken_rule(section: &[u8], folding: Folding) -> Option<LineError> {
    let mut lines = FieldLines::FirstLine;
    for byte in section {
        match lines.step(*byte, folding) {
            Ok(Step::Inside | Step::LineEnded) => {}
            Ok(Step::SectionEnded) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_of_rfc_9112_section_5_has_its_error() {
        use LineError::*;
        for (section, rule) in [
            ("a: b\r\nc:d\r\ne:\t \r\n\r\n", None),
            ("\r\n", None),
            ("a: b\r\nc", None),
            ("a: b\n", Some(BareLf)),
            ("a\n", Some(BareLf)),
            ("\n", Some(BareLf)),
            ("a: b\rc", Some(BareCr)),
            ("\r\r", Some(BareCr)),
            (" a: b", Some(LeadingWhitespace)),
            ("\ta: b", Some(LeadingWhitespace)),
            ("a: b\r\n c", Some(Folded)),
            ("a: b\r\n\tc", Some(Folded)),
            ("a : b", Some(WhitespaceInName)),
            ("a\t: b", Some(WhitespaceInName)),
            ("a b: c", Some(WhitespaceInName)),
            (": b", Some(EmptyName)),
            ("a\r\n", Some(MissingColon)),
            ("a@: b", Some(InvalidName)),
            ("\u{e9}: b", Some(InvalidName)),
            ("a\0: b", Some(InvalidName)),
            ("a: \0", Some(InvalidValue)),
            ("a: b\x7f", Some(InvalidValue)),
            ("a: b\x0bc", Some(InvalidValue)),
        ] {
            let found = broken_rule(section.as_bytes(), Folding::Refused);
            assert_eq!(found, rule, "{section:?}");
        }
    }

    #[test]
    fn folded_lines_pass_where_they_are_allowed() {
        let section = b"a: b\r\n c\r\n\t\r\n\r\n";
        assert_eq!(broken_rule(section, Folding::Allowed), None);
        let first = b" c\r\n\r\n";
        assert_eq!(
            broken_rule(first, Folding::Allowed),
            Some(LineError::LeadingWhitespace)
        );
    }
}
