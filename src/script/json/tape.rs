//! A JSON text as serde_json reads it.

use std::{fmt, ops::Range};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

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
    pub fn read(text: &'t [u8]) -> Result<Self, serde_json::Error> {
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
