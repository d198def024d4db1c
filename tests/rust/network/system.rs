//! Systems that do what they should not.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Server, command, command_with_descriptors, read_to_end, wait_until};

/// Looks up `blocked.example` for longer than anybody waits, and everything else as ever.
const SLOW_RESOLVER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
	if (name && strcmp(name, "blocked.example") == 0) {
		sleep(5);
		return EAI_AGAIN;
	}
	return ((lookup *)dlsym(RTLD_NEXT, "getaddrinfo"))(name, service, hints, found);
}
"#;

/// A folder that is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lute-net-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_name_whose_lookup_hangs_holds_up_nobody_else() {
    let folder = Folder::new("resolver");
    let (source, library) = (folder.0.join("resolver.c"), folder.0.join("resolver.so"));
    fs::write(&source, SLOW_RESOLVER).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(compiled.unwrap().success());
    let mut process = command();
    process.env("LD_PRELOAD", &library);
    let server = Server::run(
        process,
        r#"
local client = require("@lute/net/client")
local server = require("@lute/net/server")
local function handler(request)
	if request.path ~= "/blocked" then return "prompt" end
	local _, problem = pcall(client.request, "http://blocked.example/", { timeout = 0.3 })
	return problem
end
print(server.serve({ port = 0, handler = handler }).port)
"#,
    );
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(get("/blocked").as_bytes()).unwrap();
            stream
        })
        .collect();
    let began = Instant::now();
    for _ in 0..20 {
        assert!(server.exchange(get("/").as_bytes()).ends_with("prompt"));
    }
    for stream in &mut waiting {
        let answer = read_to_end(stream);
        assert!(answer.contains("timed out"), "{answer}");
    }
    // None of them has waited for the lookup.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_client_without_descriptors_waits_for_some() {
    let answering = Server::with_handler(
        "task.wait(0.02) return { body = 'answer', headers = { Connection = 'close' } }",
    );
    let server = Server::run(
        command_with_descriptors(48),
        &r#"
local client = require("@lute/net/client")
local server = require("@lute/net/server")
local task = require("@lute/task")
local function handler()
	local answers, left = 0, 100
	for _ = 1, left do
		task.spawn(function()
			local fine, result = pcall(client.request, "http://127.0.0.1:PORT/")
			if fine and result.body == "answer" then answers += 1 else print(result) end
			left -= 1
		end)
	end
	while left > 0 do task.wait(0.01) end
	return tostring(answers)
end
print(server.serve({ port = 0, handler = handler }).port)
"#
        .replace("PORT", &answering.port.to_string()),
    );
    let before = server.descriptors();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let answer = server.exchange(request);
        assert!(answer.ends_with("\r\n\r\n100"), "{answer}");
    }
    wait_until("the descriptors as before", || {
        server.descriptors() <= before
    });
}

#[test]
fn a_file_that_becomes_shorter_while_it_is_sent_ends_the_connection() {
    const LENGTH: u64 = 64 << 20;
    let folder = Folder::new("shorter");
    let path = folder.0.join("file");
    let server = Server::with_handler(&format!("return {{ file = {path:?} }}"));
    let before = server.descriptors();
    for shorter in [LENGTH / 2, 0] {
        fs::File::create(&path).unwrap().set_len(LENGTH).unwrap();
        let mut stream = server.connect_with_small_buffer();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(shorter).unwrap();
        let mut received = 1000;
        let mut buffer = vec![0; 1 << 20];
        // The end may come as a reset.
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            received += count as u64;
        }
        assert!(received < LENGTH, "all of it came");
        drop(stream);
        wait_until("no connection and no file", || {
            server.activity() == (0, 0) && server.descriptors() <= before + 1
        });
    }
    assert!(
        server
            .exchange(b"GET /activity HTTP/1.0\r\n\r\n")
            .starts_with("HTTP/1.1 200 ")
    );
}
