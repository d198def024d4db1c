//! The documents: what they name exists, and what they tell to do works. Their scripts are run by `.ci/snippets`.

use std::{
    collections::HashSet,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use crate::support::{PATIENCE, Server, read_response, wait_until};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let pages = fs::read_dir(root().join("docs")).unwrap();
    found.extend(pages.map(|page| page.unwrap().path()));
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found
}

/// What stands between `open` and the next `close`, everywhere in `text`.
fn all_between<'t>(text: &'t str, open: &str, close: &str) -> Vec<&'t str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(open) {
        let Some((inner, behind)) = after.split_once(close) else {
            break;
        };
        found.push(inner);
        rest = behind;
    }
    found
}

#[test]
fn every_link_of_the_documents_leads_to_a_file() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in all_between(&text, "](", ")") {
            let path = target.split('#').next().unwrap_or_default();
            // Addresses of elsewhere, and rustdoc's links to items.
            if path.is_empty() || target.contains("://") || target.contains("::") {
                continue;
            }
            let linked = document.parent().unwrap().join(path);
            assert!(linked.exists(), "{}: {target}", document.display());
        }
    }
}

#[test]
fn the_architecture_names_files_that_exist() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut files = 0;
    for name in all_between(&text, "`", "`") {
        if !name.starts_with("src/") {
            continue;
        }
        files += 1;
        assert!(root().join(name).exists(), "{name}");
    }
    assert!(files > 20, "only {files} files are named");
}

#[test]
fn each_floor_says_what_each_of_its_files_is_for() {
    for floor in ["src/script/mod.rs", "src/engine/mod.rs"] {
        let text = fs::read_to_string(root().join(floor)).unwrap();
        let (map, code): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with("//!"));
        let map = map.join("\n");
        for line in code {
            let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
            let Some(file) = declared.and_then(|name| name.strip_suffix(';')) else {
                continue;
            };
            assert!(map.contains(&format!("`{file}`")), "{floor}: {file}");
        }
    }
}

#[test]
fn the_readme_names_every_function_and_option_that_the_definitions_have() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let named: HashSet<&str> = words(&readme).collect();
    let mut names = 0;
    for file in [
        "lute/net/client",
        "lute/net/server",
        "lute/task",
        "lute/time",
        "std/json",
        "std/task",
        "std/test",
    ] {
        let path = root().join("definitions").join(file).with_extension("luau");
        for line in fs::read_to_string(path).unwrap().lines() {
            let field = line
                .strip_prefix('\t')
                .and_then(|line| line.split_once(": "));
            let function = line.strip_prefix("function ").map(|line| {
                let name = line.split('(').next().unwrap_or_default();
                name.rsplit('.').next().unwrap_or_default()
            });
            let Some(name) = function.or(field.map(|(name, _)| name)) else {
                continue;
            };
            // Not the fields of what is inside.
            if !name.starts_with(char::is_whitespace) && words(name).count() == 1 {
                names += 1;
                assert!(named.contains(name), "{file}: {name}");
            }
        }
    }
    assert!(names > 150, "only {names} names");
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

/// nginx with the deployment page's fragment in front of a server; its port is a socket in a folder of its own.
struct Nginx {
    process: Child,
    folder: PathBuf,
}

impl Nginx {
    fn before(server: &Server) -> Self {
        let page = fs::read_to_string(root().join("docs/deployment.md")).unwrap();
        let fragments = all_between(&page, "```nginx\n", "```");
        assert_eq!(fragments.len(), 1);
        let folder = std::env::temp_dir().join(format!(
            "lute-net-deployment-{}-{}",
            std::process::id(),
            server.port
        ));
        fs::create_dir_all(&folder).unwrap();
        let place = folder.display();
        let fragment = fragments[0]
            .replace("127.0.0.1:3000", &format!("127.0.0.1:{}", server.port))
            .replace("listen 80;", &format!("listen unix:{place}/socket;"));
        // Workers of root would become `nobody`, who may not enter the folder.
        let user = if rustix::process::getuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let configuration = format!(
            "daemon off; {user} worker_processes 1; pid {place}/pid; error_log {place}/errors;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;\n\
             fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;\n\
             {fragment} }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new("nginx")
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.join("errors"))
            .spawn()
            .unwrap();
        let socket = folder.join("socket");
        wait_until("nginx", || UnixStream::connect(&socket).is_ok());
        Self { process, folder }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.folder.join("socket")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker goes with it: a signal it can't catch would leave that behind.
        let _ = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn the_deployment_pages_nginx_serves_what_the_server_answers() {
    let server = Server::with_handler(
        "return `{request.method} {request.path} {request.headers['x-forwarded-proto']} {request.headers.host} {#request.body}`",
    );
    let nginx = Nginx::before(&server);
    let mut stream = nginx.connect();
    for _ in 0..3 {
        stream
            .write_all(b"POST /a HTTP/1.1\r\nHost: site.example\r\nContent-Length: 3\r\n\r\nabc")
            .unwrap();
        let (_, body) = read_response(&mut stream);
        assert_eq!(body, "POST /a http site.example 3");
    }
    // nginx keeps one and uses it again.
    assert_eq!(server.activity(), (1, 0));
}

#[test]
fn the_deployment_pages_nginx_lets_websockets_through() {
    let server = Server::with_options(
        "websocket = { message = function(ws, message) ws:send(message) end },",
        "if running:upgrade(request) then return nil end return 'no WebSocket'",
    );
    let nginx = Nginx::before(&server);
    let mut stream = nginx.connect();
    let handshake = "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    let (head, _) = read_response(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // A masked text frame, by a key of zeros, and its echo.
    stream.write_all(b"\x81\x85\0\0\0\0hello").unwrap();
    let mut echo = [0; 7];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x05hello");
}
