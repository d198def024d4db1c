//! Any path and range asked of a folder of files: nothing but the folder's own files comes, and no more of them than they hold.

#![no_main]

use std::cell::OnceCell;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use lute_net::engine::files::{self, FileAnswerBody, FileRequest, FolderOptions};
use lute_net::wire::syntax;

const INSIDE: &[u8] = b"inside: this may be served";

thread_local! {
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// `…/served` with files that may be served; beside it, behind a dot and at the ends of symlinks are others.
fn folder() -> PathBuf {
    let root = std::env::temp_dir().join(format!("lute-net-fuzz-{}", std::process::id()));
    let served = root.join("served");
    fs::create_dir_all(served.join("folder")).unwrap();
    fs::write(root.join("secret"), "outside").unwrap();
    fs::write(served.join(".hidden"), "outside").unwrap();
    for name in ["file", "index.html", "a b", "folder/index.html"] {
        fs::write(served.join(name), INSIDE).unwrap();
    }
    for (name, target) in [("link", "../secret"), ("up", ".."), ("folder/root", "/")] {
        let _ = std::os::unix::fs::symlink(target, served.join(name));
    }
    served
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\n').map(str::to_owned);
    let request = FileRequest {
        method: "GET".to_owned(),
        path: parts.next().unwrap_or_default(),
        range: parts.next(),
        if_range: parts.next(),
        if_none_match: parts.next(),
        if_modified_since: parts.next(),
        if_match: parts.next(),
        if_unmodified_since: parts.next(),
    };
    let answer = FOLDER.with(|folder_once| {
        files::answer(
            folder_once.get_or_init(folder),
            &FolderOptions::default(),
            &request,
        )
    });
    assert!(
        matches!(answer.status, 200 | 206 | 301 | 304 | 404 | 412 | 416),
        "{}",
        answer.status
    );
    for (name, value) in &answer.fields {
        assert!(
            syntax::is_token(name.as_bytes()) && syntax::is_field_value(value.as_bytes()),
            "{name}: {value}"
        );
        if *name == "Location" {
            assert!(
                value.starts_with('/') && !value.starts_with("//") && !value.starts_with("/\\"),
                "{value}"
            );
        }
    }
    if let FileAnswerBody::File {
        mut file,
        start,
        length,
    } = answer.body
    {
        let mut part = Vec::new();
        file.seek(SeekFrom::Start(start)).unwrap();
        file.take(length).read_to_end(&mut part).unwrap();
        let (start, length) = (start as usize, length as usize);
        assert_eq!(part, INSIDE[start..start + length]);
    }
});
