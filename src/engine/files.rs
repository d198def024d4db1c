//! What a request for a file is answered with (RFC 9110): the file's bytes, a part of them, or a status that says why not.
//!
//! [`answer`] serves a folder and lets nobody out of it; [`single`] serves one file that a script chose. Both block on the
//! file system, so a server calls them on smol's blocking pool; neither reads the file, which is
//! [`FileBody`](super::file_body::FileBody)'s job.
//!
//! The caller sets `Date` and, but for 304, `Content-Length` ([`FileAnswerBody::length`]), and leaves out the body after HEAD.
//!
//! ```
//! use lute_net::engine::files::{self, FileRequest, FolderOptions};
//!
//! let request = FileRequest { method: "GET".into(), path: "/%2e%2e/secret".into(), ..FileRequest::default() };
//! let answer = files::answer(&std::env::temp_dir(), &FolderOptions::default(), &request);
//! assert_eq!(answer.status, 404);
//! ```

mod conditionals;
mod confinement;
mod ranges;
mod request_path;
#[cfg(all(test, unix))]
mod tests;

use std::{fs::File, io, path::Path, time::SystemTime};

use self::{
    conditionals::{Precondition, Validators},
    confinement::Found,
    ranges::Selection,
    request_path::RequestPath,
};
use crate::wire::encode;

/// How a folder is served.
///
/// ```
/// use lute_net::engine::files::FolderOptions;
///
/// let options = FolderOptions { max_age: Some(3600), ..FolderOptions::default() };
/// assert_eq!((options.index.as_deref(), options.dot_files), (Some("index.html"), false));
/// ```
#[derive(Clone, Debug)]
pub struct FolderOptions {
    /// The file that stands for its folder. Default `index.html`; with `None` a folder is never found.
    pub index: Option<String>,
    /// Seconds for which caches may use a file unasked (`Cache-Control: max-age`, RFC 9111 §5.2.2.1). Default `None`: no
    /// such field.
    pub max_age: Option<u32>,
    /// Whether names that begin with a dot are found. Default false; `/.well-known/` (RFC 8615) needs true.
    pub dot_files: bool,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            index: Some("index.html".to_owned()),
            max_age: None,
            dot_files: false,
        }
    }
}

/// What a request says that matters to a file. Repeated fields come joined with `, `.
///
/// ```
/// use lute_net::engine::files::{self, FileRequest, FolderOptions};
///
/// let request = FileRequest { method: "GET".into(), path: "/lib.rs".into(), range: Some("bytes=0-2".into()), ..FileRequest::default() };
/// let answer = files::answer("src".as_ref(), &FolderOptions::default(), &request);
/// assert_eq!((answer.status, answer.body.length()), (206, 3));
/// ```
#[derive(Clone, Debug, Default)]
pub struct FileRequest {
    /// The method, in its own case (RFC 9110 §9.1).
    pub method: String,
    /// The target's path: percent-encoded, without the query. [`single`] does not look at it.
    pub path: String,
    /// RFC 9110 §13.1.1.
    pub if_match: Option<String>,
    /// RFC 9110 §13.1.4.
    pub if_unmodified_since: Option<String>,
    /// RFC 9110 §13.1.2.
    pub if_none_match: Option<String>,
    /// RFC 9110 §13.1.3.
    pub if_modified_since: Option<String>,
    /// RFC 9110 §13.1.5.
    pub if_range: Option<String>,
    /// RFC 9110 §14.2.
    pub range: Option<String>,
}

impl FileRequest {
    fn is_retrieval(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// An answer without `Date` and `Content-Length`.
///
/// ```
/// use lute_net::engine::files::{self, FileRequest};
///
/// let answer = files::single("Cargo.toml".as_ref(), &FileRequest { method: "GET".into(), ..FileRequest::default() })?;
/// assert!(answer.status == 200 && answer.failure.is_none());
/// assert!(answer.fields.iter().any(|(name, _)| *name == "ETag"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileAnswer {
    /// 200, 206, 301, 304, 404, 405, 412, 416 or 500.
    pub status: u16,
    /// Names and values, each fit to be sent as it is.
    pub fields: Vec<(&'static str, String)>,
    /// What follows the head.
    pub body: FileAnswerBody,
    /// What went wrong in the server, with a 500: for its operator, not for the client.
    pub failure: Option<io::Error>,
}

/// What follows the head.
///
/// ```
/// use lute_net::engine::{file_body::FileBody, files::{self, FileAnswerBody, FileRequest}};
///
/// let answer = files::single("Cargo.toml".as_ref(), &FileRequest { method: "GET".into(), ..FileRequest::default() })?;
/// let FileAnswerBody::File { file, start, length } = answer.body else { panic!() };
/// assert_eq!(FileBody::new(file, start, length).remaining(), length);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub enum FileAnswerBody {
    /// Nothing.
    Empty,
    /// The status in words.
    Text(&'static str),
    /// Some or all bytes of a regular file.
    File {
        /// Opened for reading.
        file: File,
        /// The first byte to send, from 0.
        start: u64,
        /// The bytes to send.
        length: u64,
    },
}

impl FileAnswerBody {
    /// Bytes, for `Content-Length` (RFC 9110 §8.6); also after HEAD, where they are not sent.
    ///
    /// ```
    /// assert_eq!(lute_net::engine::files::FileAnswerBody::Text("Not Found").length(), 9);
    /// ```
    pub fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Text(text) => text.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// The answer to a request for something in `folder`.
///
/// | request | status |
/// |---|---|
/// | neither GET nor HEAD | 405 with `Allow` |
/// | not a plain path of names, a dot file, no regular file, one outside `folder` (through symlinks too), unreadable | 404 |
/// | a folder, without a slash at the end | 301 to the path with it (no query: the caller may add it) |
/// | a folder, with a slash at the end | that of its index file, or 404 |
/// | a file, whole or in part | 200, 206, 304, 412, 416 as RFC 9110 §13 and §14 say |
///
/// When the server itself is at fault (`folder` is missing, no descriptor is left, the disk fails) it is 500, with the
/// reason in [`FileAnswer::failure`].
///
/// ```
/// use lute_net::engine::files::{self, FileRequest, FolderOptions};
///
/// let asks = |path: &str| FileRequest { method: "GET".into(), path: path.into(), ..FileRequest::default() };
/// let status = |path| files::answer("src".as_ref(), &FolderOptions::default(), &asks(path)).status;
/// assert_eq!([status("/lib.rs"), status("/wire"), status("/nothing"), status("/../Cargo.toml")], [200, 301, 404, 404]);
/// ```
pub fn answer(folder: &Path, options: &FolderOptions, request: &FileRequest) -> FileAnswer {
    if !request.is_retrieval() {
        let mut answer = text(405);
        answer.fields.push(("Allow", "GET, HEAD".to_owned()));
        return answer;
    }
    let Some(path) = RequestPath::parse(&request.path) else {
        return text(404);
    };
    if !options.dot_files && path.has_dot_name() {
        return text(404);
    }
    let answered = match confinement::find(folder, &path, options.index.as_deref()) {
        Ok(Found::File { file, name }) => represent(file, &name, options.max_age, request),
        Ok(Found::FolderWithoutSlash) => Ok(moved(path.with_slash())),
        Ok(Found::Nothing) => Ok(text(404)),
        Err(error) => Err(error),
    };
    answered.unwrap_or_else(failed)
}

/// The answer that sends the file at `path`, which the server's own script chose: anywhere, under any name, through
/// symlinks. There is no 404 and no 405 here: the script has answered already, whatever the method was.
///
/// Preconditions count for GET and HEAD, ranges for GET. A caller that sends the file with another status than 200 gives
/// a request with the method alone, since neither applies then (RFC 9110 §13.2.1).
///
/// ```
/// use lute_net::engine::files::{self, FileRequest};
///
/// let request = FileRequest { method: "GET".into(), ..FileRequest::default() };
/// assert_eq!(files::single("src/lib.rs".as_ref(), &request)?.status, 200);
/// assert!(files::single("src".as_ref(), &request).is_err(), "a folder");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When there is no regular file at `path` or it can't be opened, with the path in the text: a mistake of the script's,
/// to be treated like an error it raised.
pub fn single(path: &Path, request: &FileRequest) -> io::Result<FileAnswer> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    confinement::open_anywhere(path)
        .and_then(|file| represent(file, &name, None, request))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// The file itself, or what its preconditions and range make of it, in the order of RFC 9110 §13.2.2.
fn represent(
    file: File,
    name: &str,
    max_age: Option<u32>,
    request: &FileRequest,
) -> io::Result<FileAnswer> {
    let metadata = file.metadata()?;
    let validators = Validators::new(&metadata, SystemTime::now())?;
    let whole = metadata.len();
    let mut selection = Selection::Whole;
    if request.is_retrieval() {
        match validators.check(request) {
            Precondition::NotModified => return Ok(not_modified(&validators, max_age)),
            Precondition::Failed => return Ok(text(412)),
            Precondition::Passed => {}
        }
        if validators.range_applies(request) {
            selection = Selection::new(request.range.as_deref(), whole);
        }
    }
    let (status, start, length) = match selection {
        Selection::Whole => (200, 0, whole),
        Selection::Part { start, length } => (206, start, length),
        Selection::Unsatisfiable => return Ok(unsatisfiable(whole)),
    };
    let mut fields = vec![
        ("Content-Type", content_type(name)),
        no_sniffing(),
        ("ETag", validators.tag().to_owned()),
        ("Accept-Ranges", "bytes".to_owned()),
    ];
    fields.extend(validators.date().map(|date| ("Last-Modified", date)));
    fields.extend(cache_control(max_age));
    if status == 206 {
        let last = start + length - 1;
        fields.push(("Content-Range", format!("bytes {start}-{last}/{whole}")));
    }
    Ok(FileAnswer {
        status,
        fields,
        body: FileAnswerBody::File {
            file,
            start,
            length,
        },
        failure: None,
    })
}

/// The fields of RFC 9110 §15.4.5, and no `Last-Modified`: the entity tag says all it would.
fn not_modified(validators: &Validators, max_age: Option<u32>) -> FileAnswer {
    let mut fields = vec![("ETag", validators.tag().to_owned())];
    fields.extend(cache_control(max_age));
    FileAnswer {
        status: 304,
        fields,
        body: FileAnswerBody::Empty,
        failure: None,
    }
}

/// RFC 9110 §15.5.17.
fn unsatisfiable(whole: u64) -> FileAnswer {
    let mut answer = text(416);
    answer
        .fields
        .push(("Content-Range", format!("bytes */{whole}")));
    answer
}

fn moved(location: String) -> FileAnswer {
    let mut answer = text(301);
    answer.fields.push(("Location", location));
    answer
}

fn failed(failure: io::Error) -> FileAnswer {
    FileAnswer {
        failure: Some(failure),
        ..text(500)
    }
}

/// The status in words.
fn text(status: u16) -> FileAnswer {
    FileAnswer {
        status,
        fields: vec![
            ("Content-Type", "text/plain; charset=utf-8".to_owned()),
            no_sniffing(),
        ],
        body: FileAnswerBody::Text(encode::reason(status)),
        failure: None,
    }
}

/// By the name's extension; bytes of any kind when that says nothing. Text is taken to be UTF-8.
fn content_type(name: &str) -> String {
    let extension = Path::new(name).extension().unwrap_or_default();
    let kind = match extension.to_str() {
        // Where `mime_guess` knows none, or an obsolete one (RFC 9239 §6).
        Some("luau") => Some("text/plain"),
        Some("mjs") => Some("text/javascript"),
        _ => mime_guess::from_path(name).first_raw(),
    };
    match kind {
        Some(kind) if kind.starts_with("text/") => format!("{kind}; charset=utf-8"),
        Some(kind) => kind.to_owned(),
        None => "application/octet-stream".to_owned(),
    }
}

/// A browser must not take an uploaded picture for a script (<https://fetch.spec.whatwg.org/#x-content-type-options-header>).
fn no_sniffing() -> (&'static str, String) {
    ("X-Content-Type-Options", "nosniff".to_owned())
}

fn cache_control(max_age: Option<u32>) -> Option<(&'static str, String)> {
    max_age.map(|seconds| ("Cache-Control", format!("max-age={seconds}")))
}
