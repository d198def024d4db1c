//! The target of a request (RFC 9112 §3.2).

use super::error::RequestError;
use super::syntax::is_host;

/// A request target (RFC 9112 §3.2) and its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTarget<'b> {
    /// As it was sent.
    pub(super) text: &'b str,
    /// Of the absolute form: a valid host, perhaps with a port, never empty.
    pub(super) authority: Option<&'b str>,
    /// Without the query; never empty.
    pub(super) path: &'b str,
    /// After the first `?`.
    pub(super) query: Option<&'b str>,
}

impl<'b> RequestTarget<'b> {
    /// Takes a target apart that `httparse` took, and so has no whitespace and no control bytes.
    #[inline]
    pub(super) fn read(method: &str, text: &'b str) -> Result<Self, RequestError> {
        if !text.is_ascii() {
            return Err(RequestError::InvalidTargetByte);
        }
        let (before_query, query) = match memchr::memchr2(b'?', b'#', text.as_bytes()) {
            Some(end) => split_query(text, end)?,
            None => (text, None),
        };
        if method == "CONNECT" {
            return Err(connect_error(text));
        }
        if before_query.starts_with('/') {
            return Ok(RequestTarget {
                text,
                authority: None,
                path: before_query,
                query,
            });
        }
        Self::read_other_form(method, text, before_query, query)
    }

    /// `asterisk-form` and `absolute-form` (RFC 9112 §3.2.2, §3.2.4).
    fn read_other_form(
        method: &str,
        text: &'b str,
        before_query: &'b str,
        query: Option<&'b str>,
    ) -> Result<Self, RequestError> {
        if text == "*" && method == "OPTIONS" {
            return Ok(RequestTarget {
                text,
                authority: None,
                path: text,
                query: None,
            });
        }
        let after_scheme = strip_scheme(before_query).ok_or(RequestError::InvalidTarget)?;
        let path_start = memchr::memchr(b'/', after_scheme.as_bytes());
        let (authority, path) = path_start
            .and_then(|start| after_scheme.split_at_checked(start))
            .unwrap_or((after_scheme, "/"));
        if authority.is_empty() || !is_host(authority.as_bytes()) {
            return Err(RequestError::InvalidTarget);
        }
        Ok(RequestTarget {
            text,
            authority: Some(authority),
            path,
            query,
        })
    }
}

/// The parts around the `?` at `end`. A fragment sign, there or later, is refused.
fn split_query(text: &str, end: usize) -> Result<(&str, Option<&str>), RequestError> {
    let (before, after) = text.split_at_checked(end).unwrap_or((text, ""));
    match after.strip_prefix('?') {
        Some(query) if memchr::memchr(b'#', query.as_bytes()).is_none() => {
            Ok((before, Some(query)))
        }
        _ => Err(RequestError::InvalidTargetByte),
    }
}

/// What follows `http://` or `https://`; a scheme has no case (RFC 3986 §3.1).
fn strip_scheme(text: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// `authority-form` (RFC 9112 §3.2.3) is what CONNECT goes with: `host:port`.
fn connect_error(target: &str) -> RequestError {
    let has_port = target
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    if has_port && is_host(target.as_bytes()) {
        RequestError::ConnectNotSupported
    } else {
        RequestError::InvalidTarget
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parts(text: &str) -> (Option<&str>, &str, Option<&str>) {
        let target = RequestTarget::read("GET", text).unwrap();
        assert_eq!(target.text, text);
        (target.authority, target.path, target.query)
    }

    #[test]
    fn the_origin_form_is_a_path_and_a_query_as_of_rfc_9112_section_3_2_1() {
        assert_eq!(parts("/"), (None, "/", None));
        assert_eq!(parts("/a/b"), (None, "/a/b", None));
        assert_eq!(parts("/a?b=c&d"), (None, "/a", Some("b=c&d")));
        assert_eq!(parts("/a?"), (None, "/a", Some("")));
        assert_eq!(parts("/a?b?c"), (None, "/a", Some("b?c")));
        assert_eq!(parts("//a.example/b"), (None, "//a.example/b", None));
        assert_eq!(parts("/http://a/?b"), (None, "/http://a/", Some("b")));
        assert_eq!(parts("/%00|"), (None, "/%00|", None));
    }

    #[test]
    fn the_absolute_form_names_the_host_as_of_rfc_9112_section_3_2_2() {
        assert_eq!(parts("http://a"), (Some("a"), "/", None));
        assert_eq!(parts("http://a?b/c"), (Some("a"), "/", Some("b/c")));
        assert_eq!(parts("http://a:80/b?c"), (Some("a:80"), "/b", Some("c")));
        assert_eq!(parts("HTTPS://[::1]:1/"), (Some("[::1]:1"), "/", None));
        for text in [
            "http://",
            "http:///a",
            "http://?a",
            "http://:80/",
            "http://u@a/",
            "http://u:p@a/",
            "http://a:b/",
            "http://[::1/",
            "http:/a",
            "ftp://a/",
            "ws://a/",
            "httpx://a/",
            "ttp://a",
        ] {
            let error = RequestTarget::read("GET", text).unwrap_err();
            assert_eq!(error, RequestError::InvalidTarget, "{text}");
        }
    }

    #[test]
    fn the_asterisk_is_for_options_as_of_rfc_9112_section_3_2_4() {
        let target = RequestTarget::read("OPTIONS", "*").unwrap();
        assert_eq!((target.text, target.path, target.query), ("*", "*", None));
        for (method, text) in [
            ("GET", "*"),
            ("options", "*"),
            ("OPTIONS", "**"),
            ("OPTIONS", "*?a"),
        ] {
            let error = RequestTarget::read(method, text).unwrap_err();
            assert_eq!(error, RequestError::InvalidTarget, "{method} {text}");
        }
    }

    #[test]
    fn the_authority_form_is_for_connect_which_is_not_supported_as_of_rfc_9112_section_3_2_3() {
        for (method, text, error) in [
            (
                "CONNECT",
                "a.example:443",
                RequestError::ConnectNotSupported,
            ),
            ("CONNECT", "[::1]:443", RequestError::ConnectNotSupported),
            ("CONNECT", "a.example", RequestError::InvalidTarget),
            ("CONNECT", "a.example:", RequestError::InvalidTarget),
            ("CONNECT", ":443", RequestError::InvalidTarget),
            ("CONNECT", "/", RequestError::InvalidTarget),
            ("CONNECT", "http://a:1/", RequestError::InvalidTarget),
            ("CONNECT", "a:1?b:1", RequestError::InvalidTarget),
            ("GET", "a.example:443", RequestError::InvalidTarget),
            ("GET", "a", RequestError::InvalidTarget),
            ("GET", "?a", RequestError::InvalidTarget),
        ] {
            assert_eq!(
                RequestTarget::read(method, text).unwrap_err(),
                error,
                "{method} {text}"
            );
        }
    }

    #[test]
    fn fragments_and_bytes_beyond_ascii_are_refused_as_of_rfc_9112_section_3_2() {
        for text in [
            "/#a",
            "/a?b#c",
            "#",
            "http://a#b",
            "/caf\u{e9}",
            "/a?\u{e9}",
        ] {
            let error = RequestTarget::read("GET", text).unwrap_err();
            assert_eq!(error, RequestError::InvalidTargetByte, "{text}");
        }
    }
}
