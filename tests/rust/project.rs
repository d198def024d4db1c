//! `lute-net new` and `lute-net run --watch`: what somebody starts with.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::support::{command, kill, wait_until};

/// An empty folder, which is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lute-net-project-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_project_passes_its_test_and_serves() {
    let folder = Folder::new();
    let project = folder.0.join("greeter");
    let output = command().arg("new").arg(&project).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("lute-net run --watch main.luau"), "{said}");

    let aliases = fs::read_to_string(project.join(".luaurc")).unwrap();
    assert!(aliases.contains("definitions/lute"), "{aliases}");

    let tested = command()
        .arg("test")
        .current_dir(&project)
        .output()
        .unwrap();
    assert!(tested.status.success(), "{tested:?}");
    let report = String::from_utf8_lossy(&tested.stdout);
    assert!(report.contains("2 passed"), "{report}");

    let mut child = command()
        .arg(project.join("main.luau"))
        .arg("0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().strip_prefix("greeter on ").unwrap();
    let curl = std::process::Command::new("curl")
        .args(["-sf", &format!("{address}hello/you")])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "Hello, you!");
    kill("-INT", &child.id().to_string());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_folder_that_exists_is_left_alone() {
    let folder = Folder::new();
    let output = command().arg("new").arg(&folder.0).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("exists already: choose another name"),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_name_that_luau_or_html_would_read_otherwise_is_refused() {
    let folder = Folder::new();
    let output = command()
        .arg("new")
        .arg(folder.0.join("a\"b"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("letters, digits"), "{stderr}");
}

#[test]
fn a_script_that_is_not_there_is_looked_for_nearby() {
    let folder = Folder::new();
    folder.write("main.luau", "");
    for path in [folder.0.clone(), folder.0.join("main")] {
        let output = command().arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("did you mean") && stderr.contains("main.luau?"),
            "{stderr}"
        );
    }
}

#[test]
fn completions_and_help_know_the_commands() {
    for (arguments, expected) in [
        (["completions", "bash"], "--workers"),
        (["completions", "zsh"], "completions"),
        (["run", "--help"], "--watch"),
        (["help", "new"], "NAME"),
    ] {
        let output = command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains(expected), "{stdout}");
    }
    let help = command().arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for part in ["Examples:", "Environment:", "Exit codes:", "Signals:"] {
        assert!(help.contains(part), "{help}");
    }
}

/// `lute-net run --watch`; killed when dropped.
struct Watched {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Watched {
    fn start(script: PathBuf) -> Self {
        let mut child = command()
            .args(["run", "--watch"])
            .arg(script)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "it ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watched_script_is_started_again_when_its_code_changes() {
    let folder = Folder::new();
    let serving =
        "require('@lute/net/server').serve({ port = 0, handler = function() return '' end })";
    folder.write("part.luau", "return 1");
    folder.write("main.luau", &format!("{serving} print(require('./part'))"));
    let mut watched = Watched::start(folder.0.join("main.luau"));
    assert_eq!(watched.line(), "1");
    folder.write("data.json", "[]");
    folder.write("part.luau", "return 2");
    assert_eq!(watched.line(), "2");

    // A module in a folder that was not there before.
    fs::create_dir(folder.0.join("parts")).unwrap();
    folder.write("parts/three.luau", "return 3");
    folder.write(
        "main.luau",
        &format!("{serving} print(require('./parts/three'))"),
    );
    while watched.line() != "3" {}
    folder.write("parts/three.luau", "return 4");
    while watched.line() != "4" {}

    kill("-INT", &watched.child.id().to_string());
    assert_eq!(watched.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watched_script_that_fails_or_ends_waits_for_the_next_change() {
    let folder = Folder::new();
    folder.write("main.luau", "print('broken') error('here')");
    let mut watched = Watched::start(folder.0.join("main.luau"));
    assert_eq!(watched.line(), "broken");
    folder.write("main.luau", "print('fine')");
    while watched.line() != "fine" {}
    assert!(watched.child.try_wait().unwrap().is_none());
    kill("-TERM", &watched.child.id().to_string());
    assert_eq!(watched.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watched_script_ends_with_the_watcher() {
    let folder = Folder::new();
    folder.write(
        "main.luau",
        "local running = require('@lute/net/server').serve({ port = 0, handler = function() return '' end }) print(running.port)",
    );
    let mut watched = Watched::start(folder.0.join("main.luau"));
    let port: u16 = watched.line().parse().unwrap();
    drop(watched);
    wait_until("the port to be closed", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_err()
    });
}
