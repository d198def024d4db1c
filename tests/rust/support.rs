//! Starts the built command and talks to it.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The command with the project's root as its working directory.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lute-net"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// As [`command`], in a process that may have so many descriptors.
pub fn command_with_descriptors(count: usize) -> Command {
    let mut shell = Command::new("sh");
    shell.current_dir(env!("CARGO_MANIFEST_DIR"));
    shell.args(["-c", r#"ulimit -n "$1" && exec "$2" "$3""#, "sh"]);
    shell.args([&count.to_string(), env!("CARGO_BIN_EXE_lute-net")]);
    shell
}

/// A script in a file of its own, which is removed afterwards.
pub struct Script(pub PathBuf);

impl Script {
    pub fn new(source: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lute-net-test-{}-{number}.luau", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, source).unwrap();
        Self(path)
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command().arg(&self.0).args(arguments).output().unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Answers [`Server::activity`]; on one line, so that a handler's own lines keep their numbers.
const ACTIVITY: &str = r#"if request.path == "/activity" then local stats = running:stats() return `{stats.connections - 1} {stats.inflight}` end"#;

/// A server script that runs; it is killed when dropped.
pub struct Server {
    pub child: Child,
    pub port: u16,
    pub output: BufReader<ChildStdout>,
    _script: Script,
}

impl Server {
    /// Serves with `handler`, the body of a Luau function of `request`.
    pub fn with_handler(handler: &str) -> Self {
        Self::with_options("", handler)
    }

    /// As [`Self::with_handler`], with more fields in the config table. [`Self::activity`] is answered beside the handler.
    pub fn with_options(options: &str, handler: &str) -> Self {
        Self::start(&format!(
            r#"
local server = require("@lute/net/server")
local client = require("@lute/net/client")
local task = require("@lute/task")
local running = server.serve({{ port = 0, {options} handler = function(request, running) {ACTIVITY}
{handler}
end }})
print(running.port)
"#
        ))
    }

    /// Runs a script whose first line of output is its port.
    pub fn start(source: &str) -> Self {
        Self::run(command(), source)
    }

    /// As [`Self::start`], with a command that takes the script's path.
    pub fn run(mut command: Command, source: &str) -> Self {
        let script = Script::new(source);
        let mut child = command
            .arg(&script.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut problem = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut problem)
                .unwrap();
            panic!("the server did not start: {problem}");
        }
        Self {
            child,
            port: line.trim().parse().unwrap(),
            output,
            _script: script,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// As [`Self::connect`], with a system that holds little of what is not read.
    pub fn connect_with_small_buffer(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        socket.connect(&address.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.into()
    }

    /// Sends `request` on a connection of its own and reads until the server closes it.
    pub fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_to_end(&mut stream)
    }

    /// The connections, besides the one that asks, and the requests in flight, as the script's `stats()` has them.
    pub fn activity(&self) -> (usize, usize) {
        let answer =
            self.exchange(b"GET /activity HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let (connections, in_flight) = body.split_once(' ').unwrap();
        (connections.parse().unwrap(), in_flight.parse().unwrap())
    }

    /// Descriptors the process has open.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.child.id());
        fs::read_dir(path).unwrap().count()
    }

    /// The script's next line of output.
    pub fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends the process a signal (`-TERM`).
    pub fn signal(&self, signal: &str) {
        kill(signal, &self.child.id().to_string());
    }

    /// Bytes of memory the process has of its own.
    pub fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    /// CPU time the process has used, user and system.
    pub fn cpu_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// Everything the process has written to stderr; ends it.
    pub fn stop_and_read_stderr(mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does `harm`, and then nothing of it is left: no descriptor, no connection, no request, no work.
pub fn leaves_nothing<T>(server: &mut Server, harm: impl FnOnce(&mut Server) -> T) -> T {
    let before = server.descriptors();
    let result = harm(server);
    wait_until("the descriptors as before", || {
        server.descriptors() == before
    });
    assert_eq!(server.activity(), (0, 0));
    wait_until("the descriptors as before", || {
        server.descriptors() == before
    });
    let cpu_time = server.cpu_time();
    thread::sleep(Duration::from_millis(100));
    let used = server.cpu_time() - cpu_time;
    assert!(used < Duration::from_millis(5), "{used:?}");
    result
}

/// Whether nothing comes for a while.
pub fn stays_silent(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let silent =
        matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

/// Lets this process, and those that it starts, have so many descriptors: more than a process may have by default.
pub fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|most| most >= count), "{limit:?}");
    if limit.current.is_some_and(|now| now < count) {
        let limit = Rlimit {
            current: Some(count),
            ..limit
        };
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

/// Only this status comes, and the connection ends.
pub fn assert_refused(answer: &str, status: u16) {
    let begins = format!("HTTP/1.1 {status} ");
    assert!(answer.starts_with(&begins), "{status}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}

/// A request for `path`, after whose answer the connection ends.
pub fn get_once(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

/// Runs the test of this name in a process of its own, since it counts what a process has open.
pub fn in_a_process_of_its_own(name: &str, test: impl FnOnce()) {
    const MARK: &str = "LUTE_NET_TEST_IN_A_PROCESS_OF_ITS_OWN";
    if std::env::var_os(MARK).is_some() {
        return test();
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", name, "--nocapture"]).env(MARK, "");
    let output = alone.output().unwrap();
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(ran.contains("1 passed"), "no test {name}: {ran}");
}

/// Sends a signal to `process`, or to a process group when it begins with `-`.
pub fn kill(signal: &str, process: &str) {
    let status = Command::new("kill").args([signal, "--", process]).status();
    assert!(status.unwrap().success());
}

pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

pub fn read_to_end(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one response with a Content-Length: head and body.
pub fn read_response(stream: &mut impl Read) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        })
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, String::from_utf8(body).unwrap())
}
