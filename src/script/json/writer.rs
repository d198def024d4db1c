//! JSON text, value by value.

use std::{fmt, io};

use super::super::interrupt::Interrupt;

/// How deep values may be nested, both ways. serde_json's own limit.
pub const DEPTH: usize = 128;

/// Spaces for each level of pretty-printed text.
const INDENT: usize = 4;

/// Why a value has no JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Luau's name of a type that JSON does not have.
    Type(&'static str),
    /// NaN or an infinity.
    NotFinite,
    /// A string that is not UTF-8.
    NotUtf8,
    /// A table with string keys and others.
    MixedKeys,
    /// A table with numbers as keys that are no list.
    NoList,
    /// Deeper than [`DEPTH`].
    TooDeep,
    /// Its text would have more than so many bytes.
    TooLong(usize),
    /// The script has no time left.
    Late,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => write!(f, "a {name} is no JSON value"),
            Self::NotFinite => f.write_str("JSON has no infinity and no NaN"),
            Self::NotUtf8 => f.write_str("the string is not UTF-8"),
            Self::MixedKeys => f.write_str("the keys of an object must all be strings"),
            Self::NoList => f.write_str("the numbers that are its keys have gaps: it is no list"),
            Self::TooDeep => write!(
                f,
                "it is nested deeper than {DEPTH} levels, or holds itself"
            ),
            Self::TooLong(longest) => write!(f, "its text is longer than {longest} bytes"),
            Self::Late => f.write_str("there is no time left for it"),
        }
    }
}

/// Values for each look at the clock.
const STRIDE: u32 = 256;

/// Writes JSON text.
pub struct Writer<'i> {
    out: Vec<u8>,
    longest: usize,
    interrupt: &'i Interrupt,
    separated: u32,
    pretty: bool,
    depth: usize,
    path: Vec<u8>,
}

impl<'i> Writer<'i> {
    /// An empty text. It gets `longest` bytes at the most, and no more of the script's time than `interrupt` gives it.
    pub fn new(pretty: bool, longest: usize, interrupt: &'i Interrupt) -> Self {
        Self {
            out: Vec::new(),
            longest,
            interrupt,
            separated: 0,
            pretty,
            depth: 0,
            path: Vec::new(),
        }
    }

    /// What is written.
    pub fn text_so_far(&self) -> &[u8] {
        &self.out
    }

    /// After a problem: the keys that lead to it, as a script would write them.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// `null`
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    /// `true`, `false`
    pub fn boolean(&mut self, value: bool) {
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A number, in as few digits as give it back exactly.
    ///
    /// # Errors
    /// [`Problem::NotFinite`]
    pub fn number(&mut self, value: f64) -> Result<(), Problem> {
        /// Up to here each whole number is exact.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if !value.is_finite() {
            return Err(Problem::NotFinite);
        }
        if value.fract() == 0.0
            && value.abs() <= WHOLE
            && !(value == 0.0 && value.is_sign_negative())
        {
            let mut digits = itoa::Buffer::new();
            self.out
                .extend_from_slice(digits.format(value as i64).as_bytes());
            return Ok(());
        }
        serde_json::to_writer(&mut self.out, &value).map_err(|_| Problem::NotFinite)
    }

    /// A string.
    ///
    /// # Errors
    /// [`Problem::NotUtf8`], [`Problem::TooLong`]
    pub fn text(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let text = std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?;
        let room = Room {
            out: &mut self.out,
            longest: self.longest,
        };
        serde_json::to_writer(room, text).map_err(|_| Problem::TooLong(self.longest))
    }

    /// An array or object begins.
    ///
    /// # Errors
    /// [`Problem::TooDeep`], [`Problem::TooLong`], [`Problem::Late`]
    pub fn open(&mut self, bracket: u8) -> Result<(), Problem> {
        // Each time: a table that is empty may have been huge, and is looked through to its end.
        self.check_time()?;
        self.out.push(bracket);
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Problem::TooDeep);
        }
        self.check_length()
    }

    /// Before each value of an array and each key of an object.
    ///
    /// # Errors
    /// [`Problem::TooLong`], [`Problem::Late`]
    pub fn separate(&mut self, is_first: bool) -> Result<(), Problem> {
        self.separated = self.separated.wrapping_add(1);
        if self.separated.is_multiple_of(STRIDE) {
            self.check_time()?;
        }
        if !is_first {
            self.out.push(b',');
        }
        self.begin_line();
        self.check_length()
    }

    /// Between a key and its value.
    pub fn colon(&mut self) {
        self.out
            .extend_from_slice(if self.pretty { b": " } else { b":" });
    }

    /// An array or object ends.
    pub fn close(&mut self, bracket: u8, is_empty: bool) {
        self.depth -= 1;
        if !is_empty {
            self.begin_line();
        }
        self.out.push(bracket);
    }

    /// The key of what could not be written; the innermost is noted first.
    pub fn note_key(&mut self, key: &[u8]) {
        let mut path = vec![b'.'];
        path.extend_from_slice(key);
        path.append(&mut self.path);
        self.path = path;
    }

    /// As [`Self::note_key`], for a place in an array.
    pub fn note_index(&mut self, index: usize) {
        let mut path = format!("[{index}]").into_bytes();
        path.append(&mut self.path);
        self.path = path;
    }

    fn check_time(&self) -> Result<(), Problem> {
        if self.interrupt.is_overdue() {
            return Err(Problem::Late);
        }
        Ok(())
    }

    fn check_length(&self) -> Result<(), Problem> {
        if self.out.len() > self.longest {
            return Err(Problem::TooLong(self.longest));
        }
        Ok(())
    }

    fn begin_line(&mut self) {
        if self.pretty {
            self.out.push(b'\n');
            let indent = self.out.len() + self.depth * INDENT;
            self.out.resize(indent, b' ');
        }
    }
}

/// What is left of the longest text: a string may have six times as many bytes there.
struct Room<'w> {
    out: &'w mut Vec<u8>,
    longest: usize,
}

impl io::Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.out.len() + bytes.len() > self.longest {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
