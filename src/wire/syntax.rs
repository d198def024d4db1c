//! The alphabets and small grammars of RFC 9110 and RFC 3986, on bytes.
//!
//! ```
//! use lute_net::wire::syntax;
//!
//! assert!(syntax::is_token(b"Content-Type") && syntax::is_host(b"a.example:80"));
//! ```

use std::net::Ipv6Addr;

/// One or more token characters (RFC 9110 §5.6.2), as methods and field names are.
///
/// ```
/// use lute_net::wire::syntax::is_token;
///
/// assert!(is_token(b"X-Request-Id") && !is_token(b"two words") && !is_token(b""));
/// ```
#[inline]
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Only tab and 0x20–0x7e: what a script may put in a request's field value.
///
/// ```
/// use lute_net::wire::syntax::is_client_field_value;
///
/// assert!(is_client_field_value(b"text/plain") && !is_client_field_value("é".as_bytes()));
/// ```
#[inline]
pub fn is_client_field_value(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e))
}

/// No CR, LF or NUL (RFC 9110 §5.5): what a script may put in a response's field value.
///
/// ```
/// use lute_net::wire::syntax::is_field_value;
///
/// assert!(is_field_value("é".as_bytes()) && !is_field_value(b"a\r\nSet-Cookie: b=1"));
/// ```
#[inline]
pub fn is_field_value(value: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', b'\0', value).is_none()
}

/// The number of a `Content-Length` (RFC 9110 §8.6): `1*DIGIT` below 2⁶⁴. `str::parse` would take a `+`.
///
/// ```
/// use lute_net::wire::syntax::decimal;
///
/// assert_eq!((decimal(b"007"), decimal(b"+7"), decimal(b"18446744073709551616")), (Some(7), None, None));
/// ```
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// `uri-host [":" port]` (RFC 9110 §7.2) with a name, an IPv4 address or an IPv6 address in brackets.
///
/// Nothing at all is valid too, as a client sends for a target without an authority; a port without
/// a host is not (RFC 9110 §4.2.1). The port is any number of digits, also none.
///
/// ```
/// use lute_net::wire::syntax::is_host;
///
/// assert!(is_host(b"a.example:8080") && is_host(b"[::1]:80") && is_host(b""));
/// assert!(!is_host(b"user@a.example") && !is_host(b"a.example/path"));
/// ```
pub fn is_host(text: &[u8]) -> bool {
    if text.is_empty() {
        return true;
    }
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else {
            return false;
        };
        let (address, after) = literal.split_at(end);
        return is_ip_literal(address) && matches!(after, [b']', port @ ..] if is_port(port));
    }
    let end = memchr::memchr(b':', text).unwrap_or(text.len());
    let (name, port) = text.split_at(end);
    !name.is_empty() && is_registered_name(name) && is_port(port)
}

/// Nothing, or a colon and digits (RFC 3986 §3.2.3).
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// `reg-name` (RFC 3986 §3.2.2), of which IPv4 addresses are a part.
fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (byte, after) if HOST_BYTES[usize::from(*byte)] => after,
            _ => return false,
        };
    }
    true
}

/// What stands between the brackets of an `IP-literal` (RFC 3986 §3.2.2).
fn is_ip_literal(text: &[u8]) -> bool {
    match text {
        [b'v' | b'V', future @ ..] => is_future_address(future),
        _ => str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
    }
}

/// The rest of `IPvFuture` after its `v`.
fn is_future_address(text: &[u8]) -> bool {
    let Some(dot) = memchr::memchr(b'.', text) else {
        return false;
    };
    let (version, address) = text.split_at(dot);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && address.len() > 1
        && address
            .iter()
            .all(|byte| *byte == b':' || HOST_BYTES[usize::from(*byte)])
}

/// `tchar` (RFC 9110 §5.6.2).
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// A byte of a field value (RFC 9110 §5.5), a reason phrase or a chunk extension: tab, space,
/// visible ASCII or obs-text.
#[inline]
pub(super) fn is_field_content(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

/// A byte of a request target: visible ASCII, and no `#`, which begins a fragment (RFC 9112 §3.2).
#[inline]
pub(super) fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'#'
}

static TOKEN_BYTES: [bool; 256] = alphanumerics_and(b"!#$%&'*+-.^_`|~");
/// `unreserved` and `sub-delims` (RFC 3986 §2.2, §2.3).
static HOST_BYTES: [bool; 256] = alphanumerics_and(b"-._~!$&'()*+,;=");

const fn alphanumerics_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_the_characters_of_rfc_9110_section_5_6_2() {
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), expected, "{byte:#x}");
        }
        assert!(is_token(b"Content-Type"));
        assert!(!is_token(b""));
        assert!(!is_token(b"Content Type"));
    }

    #[test]
    fn client_field_values_are_tabs_and_printable_ascii() {
        for byte in 0..=255u8 {
            let expected = byte == b'\t' || (0x20..0x7f).contains(&byte);
            assert_eq!(is_client_field_value(&[byte]), expected, "{byte:#x}");
        }
        assert!(is_client_field_value(b""));
    }

    #[test]
    fn server_field_values_have_no_cr_lf_or_nul_as_of_rfc_9110_section_5_5() {
        for byte in 0..=255u8 {
            let expected = !matches!(byte, b'\r' | b'\n' | 0);
            assert_eq!(is_field_value(&[b'a', byte, b'b']), expected, "{byte:#x}");
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn hosts_are_names_and_addresses_with_an_optional_port_as_of_rfc_9110_section_7_2() {
        for host in [
            "",
            "a.example",
            "a.example:80",
            "a.example:",
            "a_b.example",
            "%41.example",
            "xn--bcher-kva.example",
            "127.0.0.1:3000",
            "[::1]",
            "[::1]:443",
            "[2001:db8::8:800:200c:417a]:1",
            "[::ffff:192.0.2.1]",
            "[v1.fe80::a+en1]",
            "a!$&'()*+,;=b",
        ] {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for host in [
            ":80",
            "a b",
            "a.example:80a",
            "a.example:80:80",
            "a.example:-1",
            "user@a.example",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\"b",
            "a%4",
            "a%zz",
            "a%",
            "::1",
            "[::1",
            "[]",
            "[a.example]",
            "[127.0.0.1]",
            "[::1%eth0]",
            "[::1]80",
            "[::1]x:80",
            "[::1]]",
            "[v.a]",
            "[v1.]",
            "[vg.a]",
            "b\u{fc}cher.example",
            " a",
            "a\t",
            "http://a",
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn target_bytes_are_visible_ascii_without_the_fragment_sign() {
        for byte in 0..=255u8 {
            assert_eq!(
                is_target_byte(byte),
                byte.is_ascii_graphic() && byte != b'#'
            );
        }
    }
}
