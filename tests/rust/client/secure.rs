//! HTTPS, with certificates made here.

use std::{
    io::{Read, Write},
    net::TcpListener,
    rc::Rc,
    thread,
    time::Duration,
};

use lute_net::engine::tls::ClientTlsOptions;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

use super::peer::Caller;
use crate::{
    certificates::{Authority, Issued},
    support::{Script, Server},
};

fn serving(issued: &Issued, more: &str) -> Server {
    let options = format!(
        "tls = {{ certfilename = {:?}, keyfilename = {:?}, {more} }},",
        issued.certificate, issued.key
    );
    Server::with_options(&options, "return `{request.secure} {request.headers.host}`")
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/", server.port)
}

fn trusting(authority: &Authority) -> Caller {
    let mut caller = Caller::new();
    caller.options.tls = Rc::new(ClientTlsOptions {
        cafilename: Some(authority.certificate()),
        ..ClientTlsOptions::default()
    });
    caller
}

#[test]
fn a_server_of_a_trusted_authority_is_spoken_to_and_its_connection_kept() {
    let authority = Authority::new();
    let server = serving(&authority.issue("server"), "");
    let caller = trusting(&authority);
    for _ in 0..3 {
        let answer = caller.get(&url(&server)).unwrap();
        let expected = format!("true localhost:{}", server.port);
        assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
        assert_eq!(caller.client.pool().len(), 1);
    }
    let by_address = format!("https://127.0.0.1:{}/", server.port);
    assert_eq!(caller.get(&by_address).unwrap().status, 200);
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new();
    let (trusting, doubting) = (trusting(&authority), Caller::new());
    for (caller, issued, problem) in [
        (&trusting, authority.issue_expired("expired"), "has expired"),
        (
            &trusting,
            authority.issue_for_another_host("other"),
            "is for another host",
        ),
        (
            &doubting,
            authority.issue("good"),
            "was issued by an unknown authority",
        ),
        (
            &doubting,
            authority.issue_self_signed("self"),
            "is self-signed",
        ),
    ] {
        let server = serving(&issued, "");
        let expected = format!("the certificate of localhost {problem}");
        assert_eq!(caller.get(&url(&server)).unwrap_err(), expected);
    }
}

#[test]
fn connections_of_other_tls_settings_are_not_used() {
    let authority = Authority::new();
    let server = serving(&authority.issue("server"), "");
    let mut caller = trusting(&authority);
    caller.get(&url(&server)).unwrap();
    caller.options.tls = Rc::default();
    let problem = caller.get(&url(&server)).unwrap_err();
    assert!(
        problem.ends_with("was issued by an unknown authority"),
        "{problem}"
    );
    caller.options.tls = Rc::new(ClientTlsOptions {
        insecure: true,
        ..ClientTlsOptions::default()
    });
    assert_eq!(caller.get(&url(&server)).unwrap().status, 200);
    assert_eq!(caller.client.pool().len(), 2);
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let authority = Authority::new();
    let ca = authority.certificate();
    let server = serving(&authority.issue("server"), &format!("cafilename = {ca:?}"));
    let client = authority.issue("client");
    let mut caller = trusting(&authority);
    let problem = caller.get(&url(&server)).unwrap_err();
    assert!(problem.contains("certificate required"), "{problem}");
    caller.options.tls = Rc::new(ClientTlsOptions {
        cafilename: Some(ca),
        certfilename: Some(client.certificate),
        keyfilename: Some(client.key),
        ..ClientTlsOptions::default()
    });
    assert_eq!(caller.get(&url(&server)).unwrap().status, 200);
}

#[test]
fn a_script_gives_its_tls_options() {
    let authority = Authority::new();
    let ca = authority.certificate();
    let server = serving(&authority.issue("server"), &format!("cafilename = {ca:?}"));
    let client = authority.issue("client");
    let encrypted = authority.path("encrypted.key");
    authority.openssl(&format!(
        "pkcs8 -topk8 -in client.key -passout pass:secret -out {}",
        encrypted.display()
    ));
    let script = Script::new(
        r#"
local client = require("@lute/net/client")
local url, ca, certificate, key = ...
local tls = { cafilename = ca, certfilename = certificate, keyfilename = key, passphrase = "secret" }
print(client.request(url, { tls = tls }).body)
print(client.stream(url, { tls = tls }):read())
tls.cafilename, tls.insecure = nil, true
print(client.request(url, { tls = tls }).body)
"#,
    );
    let certificate = client.certificate.display().to_string();
    let (ca, key) = (ca.display().to_string(), encrypted.display().to_string());
    let output = script.run(&[&url(&server), &ca, &certificate, &key]);
    let expected = format!("true localhost:{}\n", server.port).repeat(3);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        expected,
        "{output:?}"
    );
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let mut caller = Caller::new();
    caller.options.tls = Rc::new(ClientTlsOptions {
        cafilename: Some("/no/such/file".into()),
        ..ClientTlsOptions::default()
    });
    let server = Server::with_handler("return ''");
    let problem = caller.get(&url(&server)).unwrap_err();
    assert!(problem.contains("/no/such/file"), "{problem}");
}

#[test]
fn a_server_that_speaks_no_tls_is_named_so() {
    let server = Server::with_handler("return ''");
    let problem = Caller::new().get(&url(&server)).unwrap_err();
    assert_eq!(problem, "localhost does not speak TLS on this port");
}

#[test]
fn a_server_that_never_shakes_hands_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let held = thread::spawn(move || listener.accept());
    let mut caller = Caller::new();
    caller.options.timeouts.connect = Duration::from_millis(100);
    let problem = caller
        .get(&format!("https://localhost:{port}/"))
        .unwrap_err();
    let expected = format!("connecting to localhost:{port} timed out after 0.1 s");
    assert_eq!(problem, expected);
    drop(held);
}

/// A server that sends so many session tickets behind the handshake, and then answers.
fn server_of_tickets(issued: &Issued, count: usize) -> String {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_num_tickets(count).unwrap();
    acceptor
        .set_certificate_chain_file(&issued.certificate)
        .unwrap();
    acceptor
        .set_private_key_file(&issued.key, SslFiletype::PEM)
        .unwrap();
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut client = acceptor.accept(listener.accept().unwrap().0).unwrap();
        let _ = client.read(&mut [0; 4096]);
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let _ = client.read(&mut [0; 4096]);
    });
    format!("https://localhost:{port}/")
}

#[test]
fn a_server_may_send_some_tickets_but_not_messages_of_tls_without_end() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    let caller = trusting(&authority);
    let answer = caller.get(&server_of_tickets(&issued, 16)).unwrap();
    assert_eq!(answer.body, b"hello");
    let problem = caller.get(&server_of_tickets(&issued, 1000)).unwrap_err();
    let expected = "sends messages of tls without end, and no data";
    assert!(problem.ends_with(expected), "{problem}");
}
