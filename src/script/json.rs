//! `@std/json` (RFC 8259): text to Luau values and back.
//!
//! serde_json reads the text, onto a flat tape of tokens, of which [`raw_vm`](super::raw_vm) makes the values in one go: no
//! tree in between. The other way [`raw_vm`](super::raw_vm) walks the values and this module writes each.

use std::{fmt, io, ops::Range};

use mlua::prelude::{Lua, LuaFunction, LuaNil, LuaResult, LuaString, LuaTable, LuaValue};
use mlua::{IntoLuaMulti, MultiValue};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::raw_vm::json as raw;

/// How deep values may be nested, both ways. serde_json's own limit.
pub const DEPTH: usize = 128;

/// The longest text that is written, in bytes. A table that is in a value many times is written as often: without a limit a
/// few of them could fill any memory.
const LONGEST: usize = 256 << 20;

/// Spaces for each level of pretty-printed text.
const INDENT: usize = 4;

/// What `luau/json.luau` calls. `deserialize(text, marker)` and `serialize(value, pretty, marker)` return the result, or
/// nil and why not. `marker` is the metatable of tables that are objects though they are empty. `memory` is what the VM may
/// have: no text is longer.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, memory: Option<usize>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set("null", LuaValue::NULL)?;
    native.set("deserialize", deserialize_function(lua)?)?;
    native.set("serialize", serialize_function(lua, memory)?)?;
    Ok(native)
}

fn deserialize_function(lua: &Lua) -> LuaResult<LuaFunction> {
    lua.create_function(|lua, (text, marker): (LuaString, LuaTable)| {
        let text = text.as_bytes();
        match Tape::read(&text) {
            Ok(tape) => raw::push(lua, &tape, marker),
            Err(error) => refused(lua, format!("invalid JSON: {error}")),
        }
    })
}

fn serialize_function(lua: &Lua, memory: Option<usize>) -> LuaResult<LuaFunction> {
    let longest = memory.unwrap_or(LONGEST).min(LONGEST);
    lua.create_function(
        move |lua, (value, pretty, marker): (LuaValue, bool, LuaTable)| {
            let mut writer = Writer::new(pretty, longest);
            match raw::walk(lua, value, marker, &mut writer)? {
                Ok(()) => lua.create_string(&writer.out)?.into_lua_multi(lua),
                Err(problem @ Problem::TooLong(_)) => {
                    refused(lua, format!("cannot serialize value: {problem}"))
                }
                Err(problem) => {
                    let place = String::from_utf8_lossy(&writer.path).into_owned();
                    refused(lua, format!("cannot serialize value{place}: {problem}"))
                }
            }
        },
    )
}

fn refused(lua: &Lua, message: String) -> LuaResult<MultiValue> {
    (LuaNil, message).into_lua_multi(lua)
}

/// A JSON text, token by token.
pub struct Tape<'t> {
    tokens: Vec<Token<'t>>,
    /// Strings that had escapes in them.
    unescaped: String,
}

/// A part of a JSON text. What belongs to an array or object follows it.
pub enum Token<'t> {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean(bool),
    /// Any number.
    Number(f64),
    /// A string without escapes, or an object's key.
    Text(&'t str),
    /// A string with escapes; see [`Tape::unescaped`].
    Unescaped(Range<usize>),
    /// An array of so many values.
    Array(usize),
    /// An object of so many keys, each before its value.
    Object(usize),
}

impl<'t> Tape<'t> {
    /// Reads a whole text.
    fn read(text: &'t [u8]) -> Result<Self, serde_json::Error> {
        let mut tape = Self {
            tokens: Vec::new(),
            unescaped: String::new(),
        };
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        Value(&mut tape).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(tape)
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> &[Token<'t>] {
        &self.tokens
    }

    /// A string that had escapes in it.
    pub fn unescaped(&self, range: &Range<usize>) -> &str {
        self.unescaped.get(range.clone()).unwrap_or_default()
    }

    fn push_unescaped(&mut self, text: &str) {
        let start = self.unescaped.len();
        self.unescaped.push_str(text);
        let range = start..self.unescaped.len();
        self.tokens.push(Token::Unescaped(range));
    }
}

/// Puts a value onto the tape.
struct Value<'a, 't>(&'a mut Tape<'t>);

impl<'t> DeserializeSeed<'t> for Value<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Value<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.tokens.push(Token::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.tokens.push(Token::Boolean(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.tokens.push(Token::Number(value as f64));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.tokens.push(Token::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.tokens.push(Token::Number(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<(), E> {
        self.0.tokens.push(Token::Text(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_unescaped(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut values: A) -> Result<(), A::Error> {
        let place = self.0.tokens.len();
        self.0.tokens.push(Token::Null);
        let mut count = 0;
        while values.next_element_seed(Value(&mut *self.0))?.is_some() {
            count += 1;
        }
        self.close(place, Token::Array(count))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut pairs: A) -> Result<(), A::Error> {
        let place = self.0.tokens.len();
        self.0.tokens.push(Token::Null);
        let mut count = 0;
        while pairs.next_key_seed(Value(&mut *self.0))?.is_some() {
            pairs.next_value_seed(Value(&mut *self.0))?;
            count += 1;
        }
        self.close(place, Token::Object(count))
    }
}

impl<'t> Value<'_, 't> {
    /// Notes at `place` what began there.
    fn close<E: de::Error>(self, place: usize, token: Token<'t>) -> Result<(), E> {
        let begun = self.0.tokens.get_mut(place);
        *begun.ok_or_else(|| E::custom("no such token"))? = token;
        Ok(())
    }
}

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
        }
    }
}

/// Writes JSON text.
pub struct Writer {
    out: Vec<u8>,
    longest: usize,
    pretty: bool,
    depth: usize,
    /// After a problem: the keys that lead to it, as a script would write them.
    path: Vec<u8>,
}

impl Writer {
    fn new(pretty: bool, longest: usize) -> Self {
        Self {
            out: Vec::new(),
            longest,
            pretty,
            depth: 0,
            path: Vec::new(),
        }
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
    /// [`Problem::TooDeep`], [`Problem::TooLong`]
    pub fn open(&mut self, bracket: u8) -> Result<(), Problem> {
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
    /// [`Problem::TooLong`]
    pub fn separate(&mut self, is_first: bool) -> Result<(), Problem> {
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
