//! Other people's clients and proxies in front of a server: curl, Python's `http.client`, Node's `fetch`, nginx.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::{
    certificates::Authority,
    support::{Script, Server, wait_until},
};

/// Says what came; `/stream` answers in pieces, `/large` with a megabyte, `/STATUS` with that status.
const HANDLER: &str = r#"
if request.path == "/secure" then return tostring(request.secure) end
if request.path == "/large" then return string.rep("0123456789", 100000) end
if request.path == "/stream" then
	local left = 3
	return { body = function(why)
		if why then return nil end
		left -= 1
		task.wait(0.01)
		return if left >= 0 then `piece {left}\n` else nil
	end } :: any
end
local status = tonumber(string.match(request.path, "^/(%d+)$"))
if status then return { status = status, headers = { ETag = '"tag"' } } end
if request.path == "/slow" then task.wait(0.2) end
return {
	headers = { ["X-Method"] = request.method, ["Set-Cookie"] = { "a=1", "b=2" } },
	body = `{request.method} {request.url} {#request.body} {request.headers["x-forwarded-for"] or ""}`,
}
"#;

/// Runs a program to its end: what it printed.
fn output_of(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {problem}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn curl(arguments: &[&str]) -> String {
    output_of(
        Command::new("curl")
            .args(["-sS", "--max-time", "20"])
            .args(arguments),
    )
}

#[test]
fn curl_in_all_its_ways() {
    let server = Server::with_handler(HANDLER);
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port);
    assert_eq!(curl(&[&url("/a?b=c")]), "GET /a?b=c 0 ");
    assert_eq!(curl(&["--http1.0", &url("/a")]), "GET /a 0 ");
    assert_eq!(curl(&[&url("/secure")]), "false");
    assert_eq!(
        curl(&["--http1.0", &url("/stream")]),
        "piece 2\npiece 1\npiece 0\n"
    );
    assert_eq!(curl(&[&url("/stream")]), "piece 2\npiece 1\npiece 0\n");
    assert!(curl(&["-I", &url("/a")]).contains("\r\nX-Method: HEAD\r\n"));
    assert!(curl(&["-i", &url("/204")]).starts_with("HTTP/1.1 204 No Content\r\n"));
    assert_eq!(
        curl(&["-X", "OPTIONS", "--request-target", "*", &url("/")]),
        "OPTIONS * 0 "
    );
    assert_eq!(
        curl(&["-x", &url(""), "http://elsewhere.example/absolute"]),
        "GET http://elsewhere.example/absolute 0 "
    );
    let kept = curl(&[
        "-w",
        "%{num_connects}\n",
        &url("/a"),
        &url("/204"),
        &url("/b"),
    ]);
    let opened: i32 = kept
        .lines()
        .filter_map(|line| line.split(' ').next_back()?.parse::<i32>().ok())
        .sum();
    assert_eq!(opened, 1, "{kept}");
    // Large enough for curl to ask first; and chunked.
    let large = Script::new(&"x".repeat(2_000_000));
    let file = format!("@{}", large.0.display());
    for options in [
        &["-H", "Expect: 100-continue"][..],
        &["-H", "Transfer-Encoding: chunked"],
        &[],
    ] {
        let posted = curl(&[options, &["--data-binary", &file, &url("/up")]].concat());
        assert_eq!(posted, "POST /up 2000000 ");
    }
}

#[test]
fn curl_over_tls_on_one_connection() {
    let authority = Authority::new();
    let issued = authority.issue("localhost");
    let tls = format!(
        "tls = {{ certfilename = '{}', keyfilename = '{}' }},",
        issued.certificate.display(),
        issued.key.display()
    );
    let server = Server::with_options(&tls, HANDLER);
    let url = |path: &str| format!("https://localhost:{}{path}", server.port);
    let authority = authority.certificate();
    let authority = authority.to_str().unwrap();
    let large = Script::new(&"x".repeat(2_000_000));
    let file = format!("@{}", large.0.display());
    let answers = curl(&[
        "--cacert",
        authority,
        "-w",
        "|%{num_connects}\n",
        &url("/a"),
        &url("/stream"),
    ]);
    assert_eq!(answers, "GET /a 0 |1\npiece 2\npiece 1\npiece 0\n|0\n");
    assert_eq!(curl(&["--cacert", authority, &url("/secure")]), "true");
    let posted = curl(&["--cacert", authority, "--data-binary", &file, &url("/up")]);
    assert_eq!(posted, "POST /up 2000000 ");
    assert_eq!(
        curl(&["--cacert", authority, &url("/large")]).len(),
        1_000_000
    );
}

#[test]
fn pythons_http_client() {
    let server = Server::with_handler(HANDLER);
    let program = r#"
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
def ask(method, path, **more):
    connection.request(method, path, **more)
    response = connection.getresponse()
    return response.status, response.read().decode(), response
assert ask("GET", "/a?b")[:2] == (200, "GET /a?b 0 ")
socket = connection.sock
assert ask("HEAD", "/a")[:2] == (200, "")
assert ask("POST", "/a", body=b"x" * 100000)[1] == "POST /a 100000 "
assert ask("PUT", "/a", body=(b"piece" for _ in range(3)), encode_chunked=True)[1] == "PUT /a 15 "
assert ask("GET", "/204")[:2] == (204, "")
assert ask("GET", "/304")[:2] == (304, "")
status, body, response = ask("GET", "/stream")
assert body == "piece 2\npiece 1\npiece 0\n" and response.getheader("Transfer-Encoding") == "chunked"
assert len(ask("GET", "/large")[1]) == 1000000
assert ask("GET", "/a")[2].headers.get_all("Set-Cookie") == ["a=1", "b=2"]
assert connection.sock is socket, "one connection for all of it"
assert ask("GET", "/a", headers={"Connection": "close"})[0] == 200
assert connection.sock is None
print("fine")
"#;
    let port = server.port.to_string();
    let said = output_of(Command::new("python3").args(["-c", program, &port]));
    assert_eq!(said, "fine\n");
}

#[test]
fn nodes_fetch() {
    let mut server = Server::with_handler(HANDLER);
    let program = r#"
const assert = require("node:assert");
const base = `http://127.0.0.1:${process.argv[1]}`;
const text = async (path, options) => (await fetch(base + path, options)).text();
(async () => {
	assert.equal(await text("/a?b=c"), "GET /a?b=c 0 ");
	assert.equal(await text("/a", { method: "POST", body: "x".repeat(100000) }), "POST /a 100000 ");
	const pieces = new ReadableStream({
		async pull(controller) {
			this.left = (this.left ?? 3) - 1;
			if (this.left < 0) return controller.close();
			controller.enqueue(new TextEncoder().encode("piece"));
		},
	});
	assert.equal(await text("/a", { method: "PUT", body: pieces, duplex: "half" }), "PUT /a 15 ");
	const head = await fetch(base + "/a", { method: "HEAD" });
	assert.deepEqual([head.headers.get("x-method"), await head.text()], ["HEAD", ""]);
	assert.equal((await fetch(base + "/204")).status, 204);
	assert.equal(await text("/stream"), "piece 2\npiece 1\npiece 0\n");
	assert.equal((await text("/large")).length, 1000000);
	const cookies = (await fetch(base + "/a")).headers.getSetCookie();
	assert.deepEqual(cookies, ["a=1", "b=2"]);
	const many = await Promise.all(Array.from({ length: 100 }, (_, i) => text(`/${i % 2 ? "slow" : "now"}?${i}`)));
	many.forEach((body, i) => assert.equal(body, `GET /${i % 2 ? "slow" : "now"}?${i} 0 `));
	const gone = new AbortController();
	const aborted = fetch(base + "/slow", { signal: gone.signal });
	setTimeout(() => gone.abort(), 50);
	await assert.rejects(aborted, { name: "AbortError" });
	console.log("fine");
})();
"#;
    let port = server.port.to_string();
    let said = output_of(Command::new("node").args(["-e", program, &port]));
    assert_eq!(said, "fine\n");
    wait_until("the end of all", || server.activity() == (0, 0));
    assert!(server.child.try_wait().unwrap().is_none());
}

/// nginx on a Unix socket, as a proxy in front of a server.
struct Nginx {
    process: Child,
    folder: PathBuf,
}

impl Nginx {
    fn before(server: &Server) -> Self {
        let folder = std::env::temp_dir().join(format!("lute-net-nginx-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (place, port) = (folder.display(), server.port);
        // Workers of root would become `nobody`, who may not enter the folder.
        let user = if rustix::process::getuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let configuration = format!(
            r#"
daemon off; {user} worker_processes 1; pid {place}/pid; error_log {place}/errors;
events {{ worker_connections 512; }}
http {{
	access_log off; client_max_body_size 0; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
	fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
	upstream ours {{ server 127.0.0.1:{port}; keepalive 4; }}
	server {{
		listen unix:{place}/socket;
		location / {{
			proxy_pass http://ours; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_set_header X-Forwarded-For "client";
		}}
		location /old/ {{ proxy_pass http://ours/; }}
		location /unbuffered/ {{
			proxy_pass http://ours/; proxy_http_version 1.1; proxy_set_header Connection "";
			proxy_request_buffering off; proxy_buffering off;
		}}
	}}
}}
"#
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let mut nginx = Command::new("nginx");
        nginx
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.join("errors"));
        let process = nginx.spawn().unwrap();
        let socket = folder.join("socket");
        wait_until("nginx", || socket.exists());
        Self { process, folder }
    }

    fn ask(&self, arguments: &[&str], path: &str) -> String {
        let socket = self.folder.join("socket");
        let url = format!("http://proxy.example{path}");
        let through = ["--unix-socket", socket.to_str().unwrap()];
        curl(&[&through, arguments, &[&url]].concat())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker goes with it: a signal it can't catch would leave that behind.
        let _ = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn nginx_as_a_proxy_in_front() {
    let server = Server::with_handler(HANDLER);
    let nginx = Nginx::before(&server);
    for _ in 0..20 {
        assert_eq!(nginx.ask(&[], "/a?b=c"), "GET /a?b=c 0 client");
    }
    // nginx keeps one and uses it again.
    assert_eq!(server.activity(), (1, 0));
    assert_eq!(nginx.ask(&[], "/stream"), "piece 2\npiece 1\npiece 0\n");
    assert_eq!(nginx.ask(&[], "/old/stream"), "piece 2\npiece 1\npiece 0\n");
    assert_eq!(
        nginx.ask(&[], "/unbuffered/stream"),
        "piece 2\npiece 1\npiece 0\n"
    );
    assert_eq!(nginx.ask(&[], "/large").len(), 1_000_000);
    assert!(nginx.ask(&["-I"], "/a").contains("\r\nX-Method: HEAD\r\n"));
    for status in [204, 304, 404, 503] {
        let head = nginx.ask(&["-i"], &format!("/{status}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    let large = Script::new(&"x".repeat(2_000_000));
    let file = format!("@{}", large.0.display());
    for (path, chunked) in [
        ("/up", ""),
        ("/old/up", ""),
        ("/unbuffered/up", "Transfer-Encoding: chunked"),
    ] {
        let answer = nginx.ask(&["-H", chunked, "--data-binary", &file], path);
        assert!(answer.starts_with("POST /up 2000000"), "{path}: {answer}");
    }
    let problems = fs::read_to_string(nginx.folder.join("errors")).unwrap_or_default();
    assert!(!problems.contains("upstream"), "{problems}");
}
