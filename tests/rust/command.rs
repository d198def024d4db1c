//! The command `lute-net`: arguments, exit codes, signals, curl as its client.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{PATIENCE, Script, Server, command};

#[test]
fn a_script_gets_its_arguments() {
    let script = Script::new("print(...)");
    let output = script.run(&["one", "--two", "-3"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\t--two\t-3\n");
    assert!(output.status.success());
    let output = command()
        .arg("run")
        .arg(&script.0)
        .arg("four")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "four\n");
}

#[test]
fn an_error_nobody_catches_is_shown_with_its_place_and_the_exit_code_is_1() {
    let script = Script::new("local function inner()\n\terror('broken')\nend\ninner()");
    let output = script.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let file = script.0.display();
    assert!(stderr.contains(&format!("{file}:2: broken")), "{stderr}");
    assert!(stderr.contains(&format!("{file}:4")), "{stderr}");
    assert!(
        !stderr.contains("[lute-net]") && !stderr.contains(".rs"),
        "{stderr}"
    );
}

#[test]
fn an_error_in_a_spawned_coroutine_is_reported_and_everything_else_goes_on() {
    let script = Script::new(
        r#"
local task = require("@lute/task")
task.delay(0.01, function() error("in a coroutine") end)
task.delay(0.03, function() print("went on") end)
"#,
    );
    let output = script.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "went on\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("in a coroutine"));
}

#[test]
fn a_script_that_is_no_luau_or_not_there_is_named() {
    let script = Script::new("local = 1");
    let output = script.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains(&format!("{}:1:", script.0.display())),
        "{stderr}"
    );
    let output = command().arg("no-such-file.luau").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read"));
}

#[test]
fn a_script_ends_when_nothing_is_left() {
    let script = Script::new(
        r#"
local task = require("@lute/task")
local server = require("@lute/net/server")
local running = server.serve({ port = 0, handler = function() return "" end })
task.spawn(function() coroutine.yield() end)
task.delay(0.02, function() running.close() end)
"#,
    );
    let began = Instant::now();
    assert!(script.run(&[]).status.success());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn curl_gets_the_body() {
    let server = Server::with_handler(
        "return { status = 202, body = request.method .. request.path .. request.body, headers = { A = 'b' } }",
    );
    let url = format!("http://127.0.0.1:{}/path?query", server.port);
    let output = Command::new("curl")
        .args(["-si", "-d", "data", &url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("HTTP/1.1 202 Accepted\r\n"), "{text}");
    assert!(text.contains("\r\nA: b\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nPOST/pathdata"), "{text}");
    let large = "x".repeat(3 * 1024 * 1024);
    let mut curl = Command::new("curl")
        .args(["-s", "--data-binary", "@-", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut curl.stdin.take().unwrap(), large.as_bytes()).unwrap();
    let output = curl.wait_with_output().unwrap();
    assert_eq!(output.stdout.len(), "POST/path".len() + large.len());
}

#[test]
fn a_handlers_error_is_500_without_its_text_and_goes_to_stderr() {
    let server = Server::with_handler("error('secret')");
    let answer = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");
    let stderr = server.stop_and_read_stderr();
    assert!(
        stderr.contains("secret") && stderr.contains(".luau:6"),
        "{stderr}"
    );
}

#[test]
fn sigint_lets_a_waiting_handler_answer_and_then_ends_with_0() {
    let mut server = Server::with_handler("print('asked') task.wait(0.3) return 'late'");
    let mut stream = server.connect();
    std::io::Write::write_all(
        &mut stream,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .unwrap();
    std::io::BufRead::read_line(&mut server.output, &mut String::new()).unwrap();
    signal(&server, "-INT");
    let answer = crate::support::read_to_end(&mut stream);
    assert!(answer.ends_with("late"), "{answer}");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::with_handler("print('asked') task.wait(60) return 'late'");
    let mut stream = server.connect();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::io::BufRead::read_line(&mut server.output, &mut String::new()).unwrap();
    signal(&server, "-TERM");
    thread::sleep(Duration::from_millis(100));
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "it did not wait for the handler"
    );
    signal(&server, "-TERM");
    let began = Instant::now();
    assert_eq!(server.child.wait().unwrap().code(), Some(128 + 15));
    assert!(began.elapsed() < PATIENCE);
}

fn signal(server: &Server, signal: &str) {
    let status = Command::new("kill")
        .args([signal, &server.child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}
