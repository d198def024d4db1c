//! §13 and §14: preconditions and ranges, as `server.static` heeds them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::{MODIFIED, ask, field};
use crate::support::Server;

/// A folder with a file of ten bytes, modified in 1994, and its server.
struct Site {
    server: Server,
    folder: PathBuf,
}

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

impl Site {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("lute-net-site-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file.txt"), "0123456789").unwrap();
        let file = fs::File::options()
            .write(true)
            .open(folder.join("file.txt"))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .unwrap();
        let source = format!(
            "local server = require('@lute/net/server') print(server.serve({{ port = 0, handler = server.static('{}') }}).port)",
            folder.display()
        );
        Self {
            server: Server::start(&source),
            folder,
        }
    }

    /// Status and body.
    fn get(&self, fields: &str) -> (u16, String, String) {
        let (head, body) = ask(&self.server, &format!("GET /file.txt\n{fields}"));
        (head[9..12].parse().unwrap(), head, body)
    }

    fn status(&self, fields: &str) -> u16 {
        self.get(fields).0
    }

    fn tag(&self) -> String {
        field(&self.get("").1, "ETag").unwrap().to_owned()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn section_13_preconditions_are_evaluated_in_their_order() {
    let site = Site::new("preconditions");
    let tag = site.tag();
    for (fields, status) in [
        (format!("If-None-Match: {tag}"), 304),
        (format!("If-None-Match: W/{tag}"), 304),
        ("If-None-Match: *".to_owned(), 304),
        ("If-None-Match: \"other\"".to_owned(), 200),
        (format!("If-None-Match: \"other\", {tag}"), 304),
        (
            format!("If-None-Match: \"other\"\nIf-None-Match: {tag}"),
            304,
        ),
        (format!("If-Modified-Since: {MODIFIED}"), 304),
        (format!("If-Modified-Since: {BEFORE}"), 200),
        (
            "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT".to_owned(),
            304,
        ),
        (
            "If-Modified-Since: Sun Nov  6 08:49:37 1994".to_owned(),
            304,
        ),
        ("If-Modified-Since: never".to_owned(), 200),
        (
            format!("If-Modified-Since: {MODIFIED}\nIf-Modified-Since: {MODIFIED}"),
            200,
        ),
        (
            format!("If-None-Match: \"other\"\nIf-Modified-Since: {MODIFIED}"),
            200,
        ),
        (format!("If-Match: {tag}"), 200),
        (format!("If-Match: W/{tag}"), 412),
        ("If-Match: \"other\"".to_owned(), 412),
        ("If-Match: *".to_owned(), 200),
        (format!("If-Unmodified-Since: {MODIFIED}"), 200),
        (format!("If-Unmodified-Since: {BEFORE}"), 412),
        (
            format!("If-Match: {tag}\nIf-Unmodified-Since: {BEFORE}"),
            200,
        ),
        (format!("If-Match: \"other\"\nIf-None-Match: {tag}"), 412),
    ] {
        assert_eq!(site.status(&fields), status, "{fields}");
    }
    let (_, head, body) = site.get(&format!("If-None-Match: {tag}"));
    assert_eq!((field(&head, "ETag"), &*body), (Some(&*tag), ""));
    assert!(field(&head, "Date").is_some());
}

#[test]
fn section_14_ranges_select_a_part_of_a_file() {
    let site = Site::new("ranges");
    let tag = site.tag();
    for (fields, status, range, part) in [
        (
            "Range: bytes=0-3".to_owned(),
            206,
            Some("bytes 0-3/10"),
            "0123",
        ),
        (
            "Range: bytes=7-".to_owned(),
            206,
            Some("bytes 7-9/10"),
            "789",
        ),
        (
            "Range: bytes=-2".to_owned(),
            206,
            Some("bytes 8-9/10"),
            "89",
        ),
        (
            "Range: bytes=5-100".to_owned(),
            206,
            Some("bytes 5-9/10"),
            "56789",
        ),
        (
            "Range: bytes=10-".to_owned(),
            416,
            Some("bytes */10"),
            "Range Not Satisfiable",
        ),
        (
            "Range: bytes=-0".to_owned(),
            416,
            Some("bytes */10"),
            "Range Not Satisfiable",
        ),
        ("Range: lines=0-3".to_owned(), 200, None, "0123456789"),
        ("Range: bytes=3-0".to_owned(), 200, None, "0123456789"),
        ("Range: bytes=0-1,3-4".to_owned(), 200, None, "0123456789"),
        (
            format!("Range: bytes=0-3\nIf-Range: {tag}"),
            206,
            Some("bytes 0-3/10"),
            "0123",
        ),
        (
            format!("Range: bytes=0-3\nIf-Range: {MODIFIED}"),
            206,
            Some("bytes 0-3/10"),
            "0123",
        ),
        (
            format!("Range: bytes=0-3\nIf-Range: W/{tag}"),
            200,
            None,
            "0123456789",
        ),
        (
            format!("Range: bytes=0-3\nIf-Range: {BEFORE}"),
            200,
            None,
            "0123456789",
        ),
        (format!("If-Range: {tag}"), 200, None, "0123456789"),
        (
            format!("Range: bytes=0-3\nIf-None-Match: {tag}"),
            304,
            None,
            "",
        ),
    ] {
        let (got, head, body) = site.get(&fields);
        assert_eq!((got, &*body), (status, part), "{fields}: {head}");
        assert_eq!(field(&head, "Content-Range"), range, "{fields}: {head}");
    }
    let (head, _) = ask(&site.server, "HEAD /file.txt\nRange: bytes=0-3");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(field(&head, "Content-Length"), Some("10"));
    assert_eq!(field(&head, "Accept-Ranges"), Some("bytes"));
}
