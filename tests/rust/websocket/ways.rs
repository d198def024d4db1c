//! The ways of a client's WebSocket: TLS, and proxies, which it always goes through by CONNECT.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use super::raw::read_head;
use crate::{
    certificates::Authority,
    support::{Script, Server},
};

const ECHO: &str = "websocket = { message = function(ws, message) ws:send(message) end },";

/// Echoes `hello` through the WebSocket that is opened with these options, and prints it.
fn echoing(options: &str, url: &str) -> (String, String) {
    let script = Script::new(&format!(
        r#"
local client = require("@lute/net/client")
local ws = client.websocket(..., {{ {options} }})
ws:send("hello")
print(ws:receive())
ws:close()
"#
    ));
    let output = script.run(&[url]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

fn secure_server(authority: &Authority, websocket: &str) -> Server {
    let issued = authority.issue("server");
    let tls = format!(
        "tls = {{ certfilename = {:?}, keyfilename = {:?} }},",
        issued.certificate, issued.key
    );
    Server::start(&format!(
        r#"
local server = require("@lute/net/server")
print(server.serve({{ port = 0, {tls} {websocket} }}).port)
"#
    ))
}

#[test]
fn wss_checks_the_certificate() {
    let authority = Authority::new();
    let server = secure_server(&authority, ECHO);
    let url = format!("wss://localhost:{}/", server.port);
    let trust = format!("tls = {{ cafilename = {:?} }}", authority.certificate());
    assert_eq!(echoing(&trust, &url).0, "hello\n");
    let (_, problem) = echoing("", &url);
    assert!(
        problem.contains("websocket connect failed: ") && problem.contains("certificate"),
        "{problem}"
    );
}

#[test]
fn a_page_without_tls_is_not_of_the_origin_of_a_server_with_it() {
    let authority = Authority::new();
    let origins = ECHO.replace("message =", r#"origins = { "self" }, message ="#);
    let server = secure_server(&authority, &origins);
    let from = |scheme: &str| {
        let options = format!(
            "tls = {{ cafilename = {:?} }}, headers = {{ Origin = '{scheme}://localhost:{}' }}",
            authority.certificate(),
            server.port
        );
        echoing(&options, &format!("wss://localhost:{}/", server.port))
    };
    assert_eq!(from("https").0, "hello\n");
    let (_, problem) = from("http");
    assert!(problem.contains("answered 403"), "{problem}");
}

/// A proxy for one connection; what it was asked.
fn proxy() -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let asked = read_head(&mut near);
        let target = asked.split(' ').nth(1).unwrap();
        let mut far = TcpStream::connect(target.replace("localhost", "127.0.0.1")).unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut from, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        let back = thread::spawn(move || pass(&mut from, &mut to));
        pass(&mut near, &mut far);
        back.join().unwrap();
        asked
    });
    (port, serving)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[test]
fn a_proxy_is_asked_to_connect_for_ws_and_for_wss() {
    let plain = Server::start(&format!(
        r#"
local server = require("@lute/net/server")
print(server.serve({{ port = 0, {ECHO} }}).port)
"#
    ));
    let (port, proxying) = proxy();
    let options = format!(r#"proxy = "http://127.0.0.1:{port}""#);
    let url = format!("ws://127.0.0.1:{}/", plain.port);
    assert_eq!(echoing(&options, &url).0, "hello\n");
    let asked = proxying.join().unwrap();
    let expected = format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", plain.port);
    assert!(asked.starts_with(&expected), "{asked}");

    let authority = Authority::new();
    let secure = secure_server(&authority, ECHO);
    let (port, proxying) = proxy();
    let options = format!(
        r#"proxy = "http://127.0.0.1:{port}", tls = {{ cafilename = {:?} }}"#,
        authority.certificate()
    );
    let url = format!("wss://localhost:{}/", secure.port);
    assert_eq!(echoing(&options, &url).0, "hello\n");
    let asked = proxying.join().unwrap();
    let expected = format!("CONNECT localhost:{} HTTP/1.1\r\n", secure.port);
    assert!(asked.starts_with(&expected), "{asked}");
}
