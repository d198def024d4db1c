//! Through tinyproxy.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    rc::Rc,
};

use lute_net::engine::{client::ProxyChoice, dialer::Proxy, tls::ClientTlsOptions};

use super::peer::*;
use crate::{
    certificates::Authority,
    support::{Script, Server, command, wait_until},
};

struct TinyProxy {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl TinyProxy {
    fn start(more: &str) -> Self {
        let port = free_port();
        let folder =
            std::env::temp_dir().join(format!("lute-net-proxy-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let settings = folder.join("tinyproxy.conf");
        fs::write(
            &settings,
            format!("Port {port}\nListen 127.0.0.1\nTimeout 20\nMaxClients 50\nLogFile \"{}\"\n{more}\n", folder.join("log").display()),
        )
        .unwrap();
        let child = Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = ("127.0.0.1", port);
        wait_until("tinyproxy listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            port,
            folder,
        }
    }

    fn choice(&self, credentials: &str) -> ProxyChoice {
        let proxy = Proxy::parse(&format!("http://{credentials}127.0.0.1:{}", self.port));
        ProxyChoice::Through(Rc::new(proxy.unwrap()))
    }
}

impl Drop for TinyProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const HANDLER: &str = "return `{request.path} {request.headers.via} {request.secure}`";

#[test]
fn http_goes_through_a_proxy_that_is_asked_with_the_absolute_form() {
    let (server, proxy) = (Server::with_handler(HANDLER), TinyProxy::start(""));
    let mut caller = Caller::new();
    caller.options.proxy = proxy.choice("");
    let answer = caller.get(&format!("http://127.0.0.1:{}/there?a", server.port));
    let body = String::from_utf8(answer.unwrap().body).unwrap();
    assert!(
        body.starts_with("/there 1.1 ") && body.contains("tinyproxy"),
        "{body}"
    );
    let peer = Peer::new(vec![hello()]);
    caller.options.proxy = ProxyChoice::Through(Rc::new(Proxy::parse(&peer.url()).unwrap()));
    caller.get("http://a.example:81/b?c#d").unwrap();
    let request = &peer.requests()[0];
    assert!(
        request.starts_with("GET http://a.example:81/b?c HTTP/1.1\r\nHost: a.example:81\r\n"),
        "{request}"
    );
}

#[test]
fn https_goes_through_a_tunnel() {
    let authority = Authority::new();
    let issued = authority.issue("server");
    let options = format!(
        "tls = {{ certfilename = {:?}, keyfilename = {:?} }},",
        issued.certificate, issued.key
    );
    let (server, proxy) = (
        Server::with_options(&options, HANDLER),
        TinyProxy::start(""),
    );
    let mut caller = Caller::new();
    caller.options.proxy = proxy.choice("");
    caller.options.tls = Rc::new(ClientTlsOptions {
        cafilename: Some(authority.certificate()),
        ..ClientTlsOptions::default()
    });
    let answer = caller.get(&format!("https://localhost:{}/there", server.port));
    assert_eq!(answer.unwrap().body, b"/there nil true");
}

#[test]
fn credentials_are_shown_to_the_proxy_and_to_nobody_else() {
    let server = Server::with_handler("return tostring(request.headers['proxy-authorization'])");
    let proxy = TinyProxy::start("BasicAuth me secret");
    let url = format!("http://127.0.0.1:{}/", server.port);
    let mut caller = Caller::new();
    caller.options.proxy = proxy.choice("me:secret@");
    assert_eq!(caller.get(&url).unwrap().body, b"nil");
    caller.options.proxy = proxy.choice("me:wrong@");
    assert_eq!(caller.get(&url).unwrap().status, 401);
    let secure = format!("https://localhost:{}/", server.port);
    let problem = caller.get(&secure).unwrap_err();
    assert!(
        problem.contains("did not connect to localhost"),
        "{problem}"
    );
}

#[test]
fn the_environment_names_proxies_and_their_exceptions() {
    let (server, proxy) = (Server::with_handler(HANDLER), TinyProxy::start(""));
    let script = Script::new(
        r#"
local client = require("@lute/net/client")
local url, option = ...
local response = client.request(url, { proxy = if option == "none" then false else nil })
print(response.body)
"#,
    );
    let url = format!("http://127.0.0.1:{}/x", server.port);
    let address = format!("127.0.0.1:{}", proxy.port);
    let run = |variables: &[(&str, &str)], option: &str| {
        let mut command = command();
        command.arg(&script.0).args([&url, option]);
        for name in [
            "http_proxy",
            "HTTP_PROXY",
            "all_proxy",
            "ALL_PROXY",
            "no_proxy",
            "NO_PROXY",
        ] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("tinyproxy")
    };
    assert!(run(&[("http_proxy", &address)], ""));
    assert!(run(&[("ALL_PROXY", &address)], ""));
    assert!(!run(
        &[("HTTP_PROXY", &address), ("NO_PROXY", "127.0.0.0/8")],
        ""
    ));
    assert!(!run(&[("HTTP_PROXY", &address)], "none"));
    assert!(!run(&[("HTTPS_PROXY", &address)], ""));
}
