//! The host's policy and `client.websocket`, which has redirects of no kind: by name, by address, through proxies, and at
//! Unix sockets.

use std::os::unix::net::UnixListener;

use lute_net::{Policy, Runtime};

use crate::{quotas::guarded, runtime::noting_in};

/// What comes of `client.websocket` for each of `urls`, with the options written in Luau.
fn opened(policy: Policy, urls: &[&str], options: &str) -> Vec<String> {
    let urls: Vec<_> = urls.iter().map(|url| format!("{url:?}")).collect();
    let source = format!(
        r#"
local note = require("@test/note") :: any
local client = require("@lute/net/client")
for _, url in {{ {} }} do
	local fine, problem = pcall(client.websocket, url, {options})
	note(if fine then "open" else problem)
end"#,
        urls.join(", ")
    );
    let (runtime, notes) = noting_in(Runtime::builder().policy(policy), &source);
    runtime.run().unwrap();
    notes.take()
}

fn refused(place: &str) -> String {
    format!("websocket connect failed: connecting to {place} is not allowed")
}

#[test]
fn a_websocket_to_a_host_that_is_denied_by_name_is_refused_before_it_is_looked_up() {
    let policy = Policy::open().deny_connect("*.secret.example").unwrap();
    let notes = opened(
        policy,
        &["ws://a.secret.example/", "wss://b.secret.example:444/x"],
        "nil",
    );
    assert_eq!(
        notes,
        [
            refused("a.secret.example:80"),
            refused("b.secret.example:444")
        ]
    );
}

#[test]
fn a_websocket_to_an_address_that_is_denied_is_refused_however_it_is_written() {
    let (listener, port) = guarded();
    let policy = Policy::open().deny_connect("loopback").unwrap();
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
    ];
    let urls = hosts.map(|host| format!("ws://{host}:{port}/"));
    let notes = opened(policy, &urls.each_ref().map(String::as_str), "nil");
    assert_eq!(notes.len(), hosts.len());
    for note in notes {
        let rest = note.strip_prefix("websocket connect failed: connecting to ");
        assert!(
            rest.is_some_and(|rest| rest.contains("is not allowed")),
            "{note}"
        );
    }
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn a_closed_policy_refuses_every_websocket_but_to_what_it_allows() {
    let (listener, port) = guarded();
    let url = format!("ws://127.0.0.1:{port}/");
    let place = format!("127.0.0.1:{port}");
    let notes = opened(Policy::closed(), &[&url], "nil");
    assert_eq!(notes, [refused(&place)]);
    assert!(listener.accept().is_err(), "somebody came");
    let policy = Policy::closed().allow_connect(&place).unwrap();
    let notes = opened(policy, &[&url], "{ timeout = 0.2 }");
    assert_eq!(
        notes,
        [format!(
            "websocket connect failed: {place} timed out after 0.2 s"
        )]
    );
    assert!(listener.accept().is_ok(), "nobody came");
}

#[test]
fn a_websocket_through_a_proxy_needs_leave_for_the_proxy_and_for_what_it_is_asked_for() {
    let (listener, port) = guarded();
    let policy = Policy::open()
        .deny_connect(&format!("127.0.0.1:{port}"))
        .unwrap()
        .deny_connect("secret.example")
        .unwrap();
    let proxy = format!(r#"{{ proxy = "http://127.0.0.1:{port}" }}"#);
    let notes = opened(
        policy,
        &["wss://secret.example/", "wss://good.example/"],
        &proxy,
    );
    let proxied = refused(&format!("127.0.0.1:{port}"));
    assert_eq!(notes, [refused("secret.example:443"), proxied]);
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn a_websocket_to_a_unix_socket_needs_leave_for_its_path() {
    let folder = std::env::temp_dir().join(format!("lute-net-policy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let rule = format!("unix:{}", folder.display());
    let policy = Policy::open().deny_connect(&rule).unwrap();
    let options = format!("{{ socketpath = {:?} }}", path.display().to_string());
    let notes = opened(policy, &["ws://any.example/"], &options);
    assert_eq!(notes, [refused(&path.display().to_string())]);
    assert!(listener.accept().is_err(), "somebody came");
    std::fs::remove_dir_all(&folder).unwrap();
}
