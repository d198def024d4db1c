//! Other people's servers: Python's `http.server` (HTTP/1.0), Node, nginx, async-h1.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use lute_net::engine::client::RequestBody;

use super::peer::*;
use crate::support::wait_until;

/// A program that serves; killed when dropped.
struct Program {
    child: Child,
    port: u16,
}

impl Program {
    /// Starts a program whose first line of output is its port.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(answer: Answer) -> String {
    String::from_utf8(answer.body).unwrap()
}

const PYTHON: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/close":
            self.send_response(200); self.end_headers()
            self.wfile.write(b"until the end")
            return
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_HEAD = do_GET
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201); self.end_headers()
        self.wfile.write(body.upper())
    def log_message(self, *arguments): pass
Handler.protocol_version = sys.argv[1]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[test]
fn pythons_http_server_in_both_versions() {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let server = Program::start(Command::new("python3").args(["-c", PYTHON, version]));
        let caller = Caller::new();
        for path in ["/a", "/b"] {
            assert_eq!(text(caller.get(&server.url(path)).unwrap()), path);
        }
        assert_eq!(
            caller.client.pool().len(),
            usize::from(version == "HTTP/1.1")
        );
        let head = caller.request("HEAD", &server.url("/long"));
        assert_eq!(caller.send(head, RequestBody::Empty).unwrap().body, b"");
        if version == "HTTP/1.0" {
            let closed = caller.get(&server.url("/close")).unwrap();
            assert_eq!(text(closed), "until the end");
            let post = caller.request("POST", &server.url("/"));
            let answer = caller
                .send(post, RequestBody::bytes(b"body".to_vec()))
                .unwrap();
            assert_eq!((answer.status, text(answer).as_str()), (201, "BODY"));
        }
    }
}

const NODE: &str = r#"
const http = require("http"), zlib = require("zlib");
const server = http.createServer((request, response) => {
  const text = "text ".repeat(20000);
  if (request.url === "/slow") { setTimeout(() => response.end("slow"), 100); return; }
  if (request.url === "/early") { response.writeHead(403); response.end("no"); return; }
  if (request.url === "/gzip" || request.url === "/br" || request.url === "/deflate") {
    const pack = { "/gzip": zlib.gzipSync, "/br": zlib.brotliCompressSync, "/deflate": zlib.deflateSync }[request.url];
    if (!request.headers["accept-encoding"]?.includes(request.url.slice(1))) { response.end("not asked"); return; }
    response.writeHead(200, { "Content-Encoding": request.url.slice(1) });
    response.end(pack(text));
    return;
  }
  let length = 0;
  request.on("data", (piece) => { length += piece.length; response.write(`${piece.length > 0}`[0]); });
  request.on("end", () => response.end(` ${request.method} ${length}`));
});
server.keepAliveTimeout = 3000;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"#;

#[test]
fn node_keeps_connections_compresses_and_answers_while_it_reads() {
    let server = Program::start(Command::new("node").args(["-e", NODE]));
    let caller = Caller::new();
    for path in ["/gzip", "/br", "/deflate"] {
        let answer = caller.get(&server.url(path)).unwrap();
        assert!(!answer.fields.has("content-encoding"));
        assert_eq!(text(answer), "text ".repeat(20_000), "{path}");
    }
    assert_eq!(caller.client.pool().len(), 1);
    assert_eq!(text(caller.get(&server.url("/slow")).unwrap()), "slow");
    let post = caller.request("POST", &server.url("/"));
    let answer = caller.send(post, super::expectation::streamed()).unwrap();
    assert!(text(answer).ends_with(" POST 6"));
    let large = RequestBody::bytes(vec![b'x'; 5_000_000]);
    let answer = caller.send(caller.request("POST", &server.url("/")), large);
    assert!(text(answer.unwrap()).ends_with(" POST 5000000"));
    let large = RequestBody::bytes(vec![b'x'; 5_000_000]);
    let answer = caller.send(caller.request("POST", &server.url("/early")), large);
    assert_eq!(answer.unwrap().status, 403);
}

/// nginx in front of a folder, in the foreground and with files of its own.
struct Nginx {
    child: Child,
    port: u16,
    folder: PathBuf,
}

impl Nginx {
    fn start(settings: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = std::env::temp_dir().join(format!(
            "lute-net-client-nginx-{}-{port}",
            std::process::id()
        ));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("page.txt"), "nginx ".repeat(20_000)).unwrap();
        let place = folder.display();
        let text = format!(
            "daemon off; pid {place}/pid; error_log stderr crit; worker_processes 1;
             events {{ worker_connections 64; }}
             http {{
               access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
               fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
               server {{ listen 127.0.0.1:{port}; root {place}; {settings} }}
             }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = ("127.0.0.1", port);
        wait_until("nginx listens", || {
            std::net::TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            port,
            folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM: the master takes its worker along.
        crate::support::kill("-TERM", &self.child.id().to_string());
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn nginx_compresses_and_ends_connections_after_so_many_requests() {
    let nginx = Nginx::start(
        "gzip on; gzip_types text/plain; gzip_min_length 1; keepalive_requests 3; keepalive_timeout 60;
         types { text/plain txt; }
         location /old { return 301 /page.txt; }
         location /slow.txt { limit_rate 200k; alias page.txt; }",
    );
    let caller = Caller::new();
    let page = "nginx ".repeat(20_000);
    for _ in 0..10 {
        let answer = caller.get(&nginx.url("/page.txt")).unwrap();
        assert!(!answer.fields.has("content-encoding"));
        assert_eq!(text(answer), page);
    }
    let moved = caller.get(&nginx.url("/old")).unwrap();
    assert_eq!(moved.url, nginx.url("/page.txt"));
    assert_eq!(text(moved), page);
    let mut plain = Caller::new();
    plain.options.decompress = false;
    let answer = plain.get(&nginx.url("/page.txt")).unwrap();
    assert_eq!(answer.fields.get("content-length"), Some(&b"120000"[..]));
    assert_eq!(caller.get(&nginx.url("/none")).unwrap().status, 404);
}

#[test]
fn nginx_that_ends_idle_connections_does_no_harm() {
    let nginx = Nginx::start("keepalive_timeout 1;");
    let caller = Caller::new();
    for _ in 0..3 {
        assert_eq!(caller.get(&nginx.url("/page.txt")).unwrap().status, 200);
        thread::sleep(Duration::from_millis(1100));
    }
}

#[test]
fn async_h1_answers_one_after_the_other() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        smol::block_on(async {
            let listener = smol::net::TcpListener::try_from(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                smol::spawn(async move { async_h1::accept(stream, echo).await }).detach();
            }
        });
    });
    let caller = Caller::new();
    for _ in 0..3 {
        let post = caller.request("POST", &url);
        let answer = caller
            .send(post, RequestBody::bytes(b"body".to_vec()))
            .unwrap();
        assert_eq!((answer.status, text(answer).as_str()), (201, "POST body"));
    }
    assert_eq!(caller.client.pool().len(), 1);
}

async fn echo(mut request: http_types::Request) -> http_types::Result<http_types::Response> {
    let body = request.body_string().await?;
    let mut response = http_types::Response::new(http_types::StatusCode::Created);
    response.set_body(format!("{} {body}", request.method()));
    Ok(response)
}
