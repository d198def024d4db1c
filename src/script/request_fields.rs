//! A request's headers and query as Luau tables, made when a script first reads them.

use std::borrow::Cow;

use mlua::prelude::{Lua, LuaResult, LuaTable};
use mlua::{BString, Either};

use crate::wire::{Field, MAX_FIELDS, fields_again};

/// A request's headers, names in lower case; repeated ones are joined with `, `, Cookie with `; ` (RFC 6265bis).
///
/// # Errors
/// When the VM has no memory left.
pub fn headers(lua: &Lua, raw_head: &[u8]) -> LuaResult<LuaTable> {
    let mut storage = [Field {
        name: "",
        value: &[],
    }; MAX_FIELDS];
    let sent = fields_again(raw_head, &mut storage);
    // One copy in lower case; a name is at the same place in it as in the head.
    let lower = raw_head.to_ascii_lowercase();
    let name_of = |field: &Field<'_>| {
        let start = field.name.as_ptr() as usize - raw_head.as_ptr() as usize;
        &lower[start..start + field.name.len()]
    };
    let mut fields: Vec<(&[u8], Cow<'_, [u8]>)> = Vec::with_capacity(sent.len());
    for field in sent {
        let name = name_of(field);
        match fields.iter_mut().find(|(known, _)| *known == name) {
            None => fields.push((name, Cow::Borrowed(field.value))),
            Some((_, value)) => {
                let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
                let joined = value.to_mut();
                joined.extend_from_slice(separator);
                joined.extend_from_slice(field.value);
            }
        }
    }
    lua.create_table_from(fields.iter().map(|(name, value)| (text(name), text(value))))
}

/// A request's query, percent- and plus-decoded once; the first of repeated keys.
///
/// # Errors
/// When the VM has no memory left.
pub fn query(lua: &Lua, raw_head: &[u8]) -> LuaResult<LuaTable> {
    let pairs: Vec<_> = query_pairs(query_of(raw_head)).collect();
    // In reverse, so that the first of repeated keys is the one that stays.
    lua.create_table_from(
        pairs
            .iter()
            .rev()
            .map(|(key, value)| (text(key), text(value))),
    )
}

/// A request's query as a flat list of keys and values, decoded, in order.
///
/// # Errors
/// When the VM has no memory left.
pub fn query_list(lua: &Lua, raw_head: &[u8]) -> LuaResult<LuaTable> {
    let pairs: Vec<_> = query_pairs(query_of(raw_head)).collect();
    lua.create_sequence_from(
        pairs
            .iter()
            .flat_map(|(key, value)| [text(key), text(value)]),
    )
}

/// Bytes on their way to Luau. mlua pushes `&str` directly and other bytes over a handle, so short text goes as text:
/// heads and most small bodies.
pub fn text(bytes: &[u8]) -> Either<&str, BString> {
    const SHORT: usize = 4096;
    let short = (bytes.len() <= SHORT)
        .then(|| std::str::from_utf8(bytes).ok())
        .flatten();
    short.map_or_else(|| Either::Right(BString::from(bytes)), Either::Left)
}

/// What stands behind the first `?` of the request line's target; the head is a valid one.
fn query_of(raw_head: &[u8]) -> &[u8] {
    let target = raw_head
        .split(|&byte| byte == b' ')
        .nth(1)
        .unwrap_or_default();
    let start = memchr::memchr(b'?', target).map_or(target.len(), |mark| mark + 1);
    &target[start..]
}

fn query_pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let equals = pair
                .iter()
                .position(|&byte| byte == b'=')
                .unwrap_or(pair.len());
            (
                decoded(&pair[..equals]),
                decoded(pair.get(equals + 1..).unwrap_or_default()),
            )
        })
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'+', b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    Cow::Owned(percent_encoding::percent_decode(&spaced).collect())
}
