//! A request's head as its table keeps it in the VM: headers and query are made of it when a script first reads them.
//!
//! It is a buffer of Luau's, so that keeping one costs a copy and no more: where the parts are, as numbers of 32 bits, and
//! behind them the bytes as they came. A script can get at it and write into it, so nothing in it is trusted: a place
//! outside of the bytes is an empty one.
//!
//! ```text
//! target | name of field 1 | value of field 1 | name of field 2 | …    each a start and a length
//! the head's bytes
//! ```
//!
//! In front of all that stands the number of fields.

use crate::wire::{Field, MAX_FIELDS, RequestHead};

/// Bytes of a number.
const NUMBER: usize = size_of::<u32>();
/// Bytes of a place: a start and a length.
const PLACE: usize = 2 * NUMBER;

/// How many bytes [`write`] fills.
pub fn size(head: &RequestHead<'_, '_>, raw_head: &[u8]) -> usize {
    NUMBER + PLACE + head.fields().len() * 2 * PLACE + raw_head.len()
}

/// Keeps `head` in `room`, which is [`size`] bytes long. `raw_head` is what it was parsed from.
pub fn write(head: &RequestHead<'_, '_>, raw_head: &[u8], room: &mut [u8]) {
    let base = raw_head.as_ptr().addr();
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr().wrapping_sub(base) as u32;
        (u64::from(start) | (part.len() as u64) << 32).to_le_bytes()
    };
    let fields = head.fields();
    let Some((count, room)) = room.split_first_chunk_mut::<NUMBER>() else {
        return;
    };
    *count = (fields.len() as u32).to_le_bytes();
    let Some((target, room)) = room.split_first_chunk_mut::<PLACE>() else {
        return;
    };
    *target = place(head.target().as_bytes());
    let Some((places, text)) = room.split_at_mut_checked(fields.len() * 2 * PLACE) else {
        return;
    };
    // The host of an absolute target counts, not the field's (RFC 9112 §3.2.2).
    let is_absolute = !head.target().starts_with('/');
    for (Field { name, value }, places) in fields.iter().zip(places.chunks_exact_mut(2 * PLACE)) {
        let (first, second) = places.split_at_mut(PLACE);
        let is_overridden = is_absolute && name.eq_ignore_ascii_case("host");
        let value = if is_overridden { head.host() } else { *value };
        first.copy_from_slice(&place(name.as_bytes()));
        second.copy_from_slice(&place(value));
    }
    if text.len() == raw_head.len() {
        text.copy_from_slice(raw_head);
    }
}

/// A head that was kept.
#[derive(Clone, Copy)]
pub struct KeptHead<'b> {
    target: &'b [u8],
    places: &'b [u8],
    text: &'b [u8],
}

impl<'b> KeptHead<'b> {
    /// Reads what [`write`] wrote; whatever else `bytes` hold, it is a head.
    pub fn read(bytes: &'b [u8]) -> Self {
        let (places, text) = split(bytes);
        let (target, places) = places.split_at_checked(PLACE).unwrap_or_default();
        Self {
            target: part(text, target),
            places,
            text,
        }
    }

    /// The target as it was sent.
    pub fn target(&self) -> &'b [u8] {
        self.target
    }

    /// What stands behind the first `?` of the target.
    pub fn query(&self) -> &'b [u8] {
        let start = memchr::memchr(b'?', self.target).map_or(self.target.len(), |mark| mark + 1);
        &self.target[start..]
    }

    /// How many fields there are, at most [`MAX_FIELDS`].
    pub fn count(&self) -> usize {
        (self.places.len() / (2 * PLACE)).min(MAX_FIELDS)
    }

    /// The name of the field at `index`; empty beyond the last.
    pub fn name(&self, index: usize) -> &'b [u8] {
        self.at(2 * index)
    }

    /// The value of the field at `index`; empty beyond the last.
    pub fn value(&self, index: usize) -> &'b [u8] {
        self.at(2 * index + 1)
    }

    fn at(&self, index: usize) -> &'b [u8] {
        let place = self.places.get(index * PLACE..(index + 1) * PLACE);
        part(self.text, place.unwrap_or_default())
    }
}

/// Puts the names of a kept head's fields into lower case, for good.
pub fn lower_names(bytes: &mut [u8]) {
    let places_end = bytes.len() - split(bytes).1.len();
    let (places, text) = bytes.split_at_mut(places_end);
    let fields = places.get(NUMBER + PLACE..).unwrap_or_default();
    for places in fields.chunks_exact(2 * PLACE) {
        if let Some(name) = range(&places[..PLACE]).and_then(|range| text.get_mut(range)) {
            name.make_ascii_lowercase();
        }
    }
}

/// The places, that of the target first, and the head's bytes.
fn split(bytes: &[u8]) -> (&[u8], &[u8]) {
    let split = bytes
        .split_first_chunk::<NUMBER>()
        .and_then(|(count, rest)| {
            let count = u32::from_le_bytes(*count) as usize;
            rest.split_at_checked(count.checked_mul(2 * PLACE)?.checked_add(PLACE)?)
        });
    split.unwrap_or_default()
}

fn part<'b>(text: &'b [u8], place: &[u8]) -> &'b [u8] {
    range(place)
        .and_then(|range| text.get(range))
        .unwrap_or_default()
}

fn range(place: &[u8]) -> Option<std::ops::Range<usize>> {
    let place = u64::from_le_bytes(*place.first_chunk()?);
    let (start, length) = (place as u32 as usize, (place >> 32) as usize);
    Some(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::{FieldStorage, Parsed, parse_request};

    fn kept(text: &[u8]) -> Vec<u8> {
        let mut storage = FieldStorage::new();
        let Ok(Parsed::Complete(head)) = parse_request(text, &mut storage, text.len()) else {
            panic!("a whole head");
        };
        let raw_head = &text[..head.length()];
        let mut room = vec![0; size(&head, raw_head)];
        write(&head, raw_head, &mut room);
        room
    }

    fn fields(head: &KeptHead<'_>) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let fields = (0..head.count()).map(|index| (head.name(index), head.value(index)));
        fields
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    const HEAD: &[u8] = b"\r\nGET /a?b=c HTTP/1.1\r\nHost: A\r\nX-Empty:\r\nX-Two:  D \r\n\r\nbody";

    #[test]
    fn what_is_kept_of_a_head_is_its_target_and_its_fields() {
        let bytes = kept(HEAD);
        let head = KeptHead::read(&bytes);
        assert_eq!((head.target(), head.query()), (&b"/a?b=c"[..], &b"b=c"[..]));
        let expected = [("Host", "A"), ("X-Empty", ""), ("X-Two", "D")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&head), expected);
        assert_eq!((head.name(3), head.value(3)), (&b""[..], &b""[..]));
    }

    #[test]
    fn the_host_of_an_absolute_target_stands_in_for_the_field_as_of_rfc_9112_section_3_2_2() {
        let host = |text: &[u8]| {
            let bytes = kept(text);
            let head = KeptHead::read(&bytes);
            assert_eq!(head.name(0), b"hOST");
            String::from_utf8(head.value(0).to_vec()).unwrap()
        };
        let other = host(b"GET http://b:81/ HTTP/1.1\r\nhOST: a\r\n\r\n");
        assert_eq!(other, "b:81");
        assert_eq!(host(b"OPTIONS * HTTP/1.1\r\nhOST: a\r\n\r\n"), "a");
        assert_eq!(host(b"GET / HTTP/1.1\r\nhOST: a\r\n\r\n"), "a");
    }

    #[test]
    fn names_alone_are_put_into_lower_case() {
        let mut bytes = kept(HEAD);
        lower_names(&mut bytes);
        let head = KeptHead::read(&bytes);
        let expected = [("host", "A"), ("x-empty", ""), ("x-two", "D")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields(&head), expected);
    }

    #[test]
    fn any_bytes_are_a_head_since_a_script_can_write_into_it() {
        let whole = kept(HEAD);
        for end in 0..whole.len() {
            let mut cut = whole[..end].to_vec();
            lower_names(&mut cut);
            fields(&KeptHead::read(&cut));
        }
        for position in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[position] = byte;
                lower_names(&mut changed);
                let head = KeptHead::read(&changed);
                let seen: usize = (0..head.count())
                    .map(|index| head.name(index).len() + head.value(index).len())
                    .sum();
                assert!(seen <= head.count() * 2 * changed.len());
            }
        }
        assert_eq!(KeptHead::read(&[0xff; 64]).count(), 0);
        let many = [&255_u32.to_le_bytes()[..], &[0; 8192]].concat();
        assert_eq!(KeptHead::read(&many).count(), MAX_FIELDS);
    }
}
