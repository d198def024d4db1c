//! A folder on disk and what is asked of it.

mod folders;
mod representations;

use std::{
    env, fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::*;

/// `site/` and, beside it, what nobody may reach; removed at the end of the test.
struct Site(PathBuf);

impl Site {
    fn new(test: &str) -> Self {
        let base = env::temp_dir().join(format!("lute-net-files-{}-{test}", process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(base.join("site/sub")).unwrap();
        fs::create_dir_all(base.join("outside")).unwrap();
        let site = Self(base);
        site.write("index.html", "<h1>home</h1>");
        site.write("a.txt", "0123456789");
        site.write("sub/index.html", "<h1>sub</h1>");
        site.write("../outside/secret.txt", "secret");
        site
    }

    fn folder(&self) -> PathBuf {
        self.0.join("site")
    }

    /// Writes a file as if long ago, so that its validators are strong.
    fn write(&self, name: &str, content: &str) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(modified()).unwrap();
    }

    fn answer(&self, request: &FileRequest) -> FileAnswer {
        answer(&self.folder(), &FolderOptions::default(), request)
    }

    fn get(&self, path: &str) -> FileAnswer {
        self.answer(&get(path))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn modified() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(784_111_777_500)
}

fn get(path: &str) -> FileRequest {
    FileRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        ..FileRequest::default()
    }
}

fn field<'a>(answer: &'a FileAnswer, name: &str) -> Option<&'a str> {
    let mut values = answer.fields.iter().filter(|field| field.0 == name);
    let value = values.next().map(|field| &*field.1);
    assert!(values.next().is_none(), "{name} twice");
    value
}

/// The body's bytes.
fn body(answer: FileAnswer) -> String {
    let expected = answer.body.length();
    let mut content = String::new();
    match answer.body {
        FileAnswerBody::Empty => {}
        FileAnswerBody::Text(text) => content.push_str(text),
        FileAnswerBody::File {
            mut file,
            start,
            length,
        } => {
            file.seek(SeekFrom::Start(start)).unwrap();
            file.take(length).read_to_string(&mut content).unwrap();
        }
    }
    assert_eq!(content.len() as u64, expected);
    content
}

#[track_caller]
fn assert_not_found(answer: FileAnswer) {
    assert_eq!(answer.status, 404);
    assert!(answer.failure.is_none());
    assert_eq!(body(answer), "Not Found");
}

fn link(target: impl AsRef<Path>, place: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, place).unwrap();
}
