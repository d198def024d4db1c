//! The query of a target as HTML's forms write it: `application/x-www-form-urlencoded` (WHATWG URL §5).
//!
//! ```
//! use lute_net::wire::query;
//!
//! let pairs: Vec<_> = query::pairs(b"name=a+b&flag").collect();
//! assert_eq!(pairs, [(&b"name"[..], &b"a+b"[..]), (b"flag", b"")]);
//! assert_eq!(query::decode(b"a+b%21", &mut [0; 6]), b"a b!");
//! ```

/// The pairs of a query, still encoded: a key, and a value that is empty where there is no `=`. Empty pairs are left out.
///
/// ```
/// let pairs: Vec<_> = lute_net::wire::query::pairs(b"tag=a&tag=b&draft").collect();
/// assert_eq!(pairs, [(&b"tag"[..], &b"a"[..]), (b"tag", b"b"), (b"draft", b"")]);
/// ```
pub fn pairs(query: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
    query
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match memchr::memchr(b'=', pair) {
            Some(equals) => (&pair[..equals], &pair[equals + 1..]),
            None => (pair, &pair[..0]),
        })
}

/// Whether [`decode`] would change `text`.
///
/// ```
/// use lute_net::wire::query::is_encoded;
///
/// assert!(is_encoded(b"a+b") && is_encoded(b"%41") && !is_encoded(b"plain"));
/// ```
pub fn is_encoded(text: &[u8]) -> bool {
    memchr::memchr2(b'+', b'%', text).is_some()
}

/// Percent- and plus-decodes `text` into `room`, which is at least as long: the decoded bytes. A `%` without two hexadecimal
/// digits stays as it is.
///
/// ```
/// use lute_net::wire::query::decode;
///
/// let mut room = [0; 16];
/// assert_eq!(decode(b"caf%C3%A9+1%", &mut room), "café 1%".as_bytes());
/// ```
pub fn decode<'r>(text: &[u8], room: &'r mut [u8]) -> &'r [u8] {
    let words = text.split(|&byte| byte == b'+').enumerate();
    let decoded = words.flat_map(|(index, word)| {
        let space = (index > 0).then_some(b' ');
        space
            .into_iter()
            .chain(percent_encoding::percent_decode(word))
    });
    let mut length = 0;
    for (byte, place) in decoded.zip(room.iter_mut()) {
        *place = byte;
        length += 1;
    }
    &room[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_pairs_and_each_is_decoded_once() {
        let found: Vec<_> = pairs(b"a=1&&flag&b==&=c&a=2&").collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"a", b"1"),
            (b"flag", b""),
            (b"b", b"="),
            (b"", b"c"),
            (b"a", b"2"),
        ];
        assert_eq!(found, expected);
        for (text, expected) in [
            ("a+b%20c", "a b c"),
            ("%2B%2520", "+%20"),
            ("+", " "),
            ("++", "  "),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz+%C3%A9", "%zz \u{e9}"),
            ("", ""),
        ] {
            let mut room = [0; 16];
            assert_eq!(
                decode(text.as_bytes(), &mut room),
                expected.as_bytes(),
                "{text}"
            );
        }
    }
}
