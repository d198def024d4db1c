//! The benchmark's own peers answer rightly: short runs, in which only what is answered counts.

use std::process::{Command, Output};

fn quick(only: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lute-net-benches"))
        .args([
            "--quick",
            "--seconds",
            "0.1",
            "--lute-net",
            "/dev/null",
            "--only",
        ])
        .arg(only.join(","))
        .output()
        .unwrap()
}

fn assert_measured(only: &[&str]) {
    let run = quick(only);
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let tables = String::from_utf8_lossy(&run.stdout);
    for name in only {
        assert!(tables.contains(name), "no {name} in {tables}");
    }
}

#[test]
fn peers_with_a_luau_handler_answer_rightly() {
    let loads = [
        "get",
        "get-browser",
        "get-read",
        "post-echo",
        "body-1mib",
        "wait",
    ];
    assert_measured(&[loads.as_slice(), &["floor", "hyper-luau", "async-h1-luau"]].concat());
}

#[test]
fn peers_with_a_handler_in_rust_answer_rightly() {
    assert_measured(&[
        "get",
        "post-echo",
        "body-1mib",
        "floor",
        "hyper",
        "async-h1",
    ]);
}

#[test]
fn pipelined_requests_are_all_answered() {
    assert_measured(&["get-pipelined", "floor", "hyper", "hyper-luau"]);
}

#[test]
fn the_websocket_floor_echoes_and_publishes() {
    assert_measured(&[
        "ws-64b",
        "ws-64b-16",
        "ws-16k",
        "ws-16k-16",
        "publish",
        "websocket-floor",
    ]);
}

#[test]
fn node_and_nginx_answer_rightly() {
    let loads = [
        "get",
        "get-read",
        "get-pipelined",
        "post-echo",
        "body-1mib",
        "wait",
    ];
    assert_measured(&[loads.as_slice(), &["node", "nginx-lua"]].concat());
}

#[test]
fn https_is_spoken_to_nginx() {
    assert_measured(&["https", "nginx-lua", "nginx-lua-https"]);
}

#[test]
fn a_row_that_breaks_fails_the_run() {
    let run = quick(&["get", "lute-net"]);
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stdout).contains("| lute-net | broke |"));
}
