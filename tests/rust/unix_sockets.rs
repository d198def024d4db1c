//! Servers on Unix sockets.

use std::{
    fs,
    io::Write,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use crate::support::{PATIENCE, Script, Server, get_once, read_to_end};

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("lute-net-{}-{name}.socket", std::process::id()))
}

fn serve_at(path: &Path) -> Server {
    Server::with_options(
        &format!("socketpath = '{}',", path.display()),
        "if request.path == '/close' then running:close() end return request.remote",
    )
}

fn ask_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get_once("/").as_bytes()).unwrap();
    read_to_end(&mut stream)
}

/// What `serve` says to a path that it must not take.
fn refusal_at(path: &Path) -> String {
    let script = Script::new(&format!(
        r#"
local fine, problem = pcall(require("@lute/net/server").serve, {{ socketpath = "{}", handler = print }})
print(fine, problem)
if fine then problem.close() end
"#,
        path.display()
    ));
    let output = script.run(&[]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_unix_socket_is_served_and_its_path_removed_at_close() {
    let path = socket_path("served");
    let mut server = serve_at(&path);
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    let in_use = refusal_at(&path);
    assert!(in_use.starts_with("false\tfailed to listen on"), "{in_use}");
    assert!(in_use.contains("another process listens there"), "{in_use}");
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(get_once("/close").as_bytes()).unwrap();
    assert!(server.child.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_was_left_behind_is_taken_over() {
    let path = socket_path("left");
    drop(serve_at(&path));
    assert!(path.exists());
    let mut server = serve_at(&path);
    assert!(ask_at(&path).ends_with("\r\n\r\nunix:"));
    server.signal("-TERM");
    assert!(server.child.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let path = socket_path("file");
    fs::write(&path, "precious").unwrap();
    let refused = refusal_at(&path);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious", "{refused}");
    assert!(
        refused.starts_with("false\tfailed to listen on"),
        "{refused}"
    );
    fs::remove_file(&path).unwrap();
}
