//! A request's path as the names of folders and a file.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but RFC 3986's `unreserved` (§2.3) is encoded in a `Location`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The names in a path, each of which means an entry of the folder before it and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestPath {
    names: Vec<String>,
    slash_at_end: bool,
}

impl RequestPath {
    /// Decodes `path` once. `None` when it does not begin with a slash, or a segment is empty (but the last), `.` or
    /// `..`, holds a slash, a backslash or NUL, is not UTF-8, or has a `%` without two hexadecimal digits.
    ///
    /// `..` is refused and not undone: a client undoes it itself (RFC 3986 §5.2.4), and what an encoded one means is a
    /// matter of opinion between servers and proxies.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments = path.strip_prefix('/')?;
        let (segments, slash_at_end) = match segments.strip_suffix('/') {
            Some(segments) => (segments, true),
            None => (segments, segments.is_empty()),
        };
        let names = if path == "/" {
            Vec::new()
        } else {
            segments.split('/').map(name).collect::<Option<_>>()?
        };
        Some(Self {
            names,
            slash_at_end,
        })
    }

    /// The names, outermost first; none for the folder itself.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the path can only mean a folder.
    pub(super) fn has_slash_at_end(&self) -> bool {
        self.slash_at_end
    }

    /// Whether an entry is hidden by Unix custom.
    pub(super) fn has_dot_name(&self) -> bool {
        self.names.iter().any(|name| name.starts_with('.'))
    }

    /// The path with a slash at its end, encoded anew. It begins with one slash and a name, so it leads to this host:
    /// `//evil.example` and `/\evil.example` would lead elsewhere (RFC 3986 §4.2, and what browsers make of it).
    pub(super) fn with_slash(&self) -> String {
        let mut path = "/".to_owned();
        for name in &self.names {
            path.extend(utf8_percent_encode(name, ENCODED));
            path.push('/');
        }
        path
    }
}

fn name(segment: &str) -> Option<String> {
    if !escapes_are_whole(segment) {
        return None;
    }
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    let refused = matches!(&*name, "" | "." | "..")
        || name.contains(['/', '\\', '\0'])
        // A drive, or a stream of a file.
        || (cfg!(windows) && name.contains(':'));
    (!refused).then(|| name.into_owned())
}

/// Whether each `%` has its two digits (RFC 3986 §2.1).
fn escapes_are_whole(segment: &str) -> bool {
    segment.split('%').skip(1).all(|after| {
        matches!(after.as_bytes(), [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Option<Vec<String>> {
        RequestPath::parse(path).map(|path| path.names)
    }

    #[test]
    fn a_path_is_decoded_once() {
        assert_eq!(names("/"), Some(vec![]));
        assert_eq!(names("/a/b.txt"), Some(vec!["a".into(), "b.txt".into()]));
        assert_eq!(
            names("/%61%20b/%C3%BC"),
            Some(vec!["a b".into(), "ü".into()])
        );
        assert_eq!(names("/a+b"), Some(vec!["a+b".into()]));
        assert_eq!(names("/%252e%252e"), Some(vec!["%2e%2e".into()]));
        assert_eq!(names("/%252f"), Some(vec!["%2f".into()]));
    }

    #[test]
    fn a_slash_at_the_end_is_kept_in_mind() {
        let slash = |path| RequestPath::parse(path).is_some_and(|path| path.has_slash_at_end());
        assert!(slash("/") && slash("/a/") && slash("/a/b/"));
        assert!(!slash("/a") && !slash("/a/b"));
    }

    #[test]
    fn what_is_not_a_plain_path_of_names_is_refused() {
        for path in [
            "",
            "*",
            "a",
            "//",
            "///",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/./",
            "/./a",
            "/a/.",
            "/..",
            "/../",
            "/../a",
            "/a/../b",
            "/%2e",
            "/%2e%2e",
            "/%2E%2E/a",
            "/.%2e/a",
            "/%2e./a",
            "/..%2fa",
            "/..%2Fa",
            "/a%2fb",
            "/%2f",
            "/%2fetc/passwd",
            "/a\\b",
            "/..\\a",
            "/%5c",
            "/..%5ca",
            "/%00",
            "/a%00.txt",
            "/a\0",
            "/%ff",
            "/%c0%ae%c0%ae/a",
            "/%c0%af",
            "/%e0%80%af",
            "/%",
            "/%2",
            "/%zz",
            "/a%+1",
            "http://a.example/a",
        ] {
            assert_eq!(names(path), None, "{path:?}");
        }
    }

    #[test]
    fn names_that_only_look_like_tricks_are_names() {
        for name in ["...", "..a", "a..", "a.", "~", "%2e%2e", "a:b"] {
            let path = format!("/{}", name.replace('%', "%25"));
            assert_eq!(names(&path), Some(vec![name.into()]), "{path}");
        }
    }

    #[test]
    fn a_path_with_a_slash_leads_to_this_host_and_holds_no_line_ends() {
        for (path, expected) in [
            ("/a", "/a/"),
            ("/a/b", "/a/b/"),
            (
                "/a%0d%0aSet-Cookie:%20x=1",
                "/a%0D%0ASet%2DCookie%3A%20x%3D1/",
            ),
            ("/%C3%BC%3F%23", "/%C3%BC%3F%23/"),
            ("/evil.example:80", "/evil.example%3A80/"),
        ] {
            let path = RequestPath::parse(path).unwrap();
            assert_eq!(path.with_slash(), expected.replace("%2D", "-"));
        }
        for path in [
            "//evil.example",
            "/%2fevil.example",
            "/\\evil.example",
            "/%5cevil.example",
        ] {
            assert_eq!(RequestPath::parse(path), None, "{path}");
        }
    }
}
