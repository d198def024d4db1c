//! `lute-net run --workers N`: processes that share a port, and who starts and stops them.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{PATIENCE, Script, command, kill, read_response, read_to_end, wait_until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Workers that serve; their supervisor is killed when dropped.
struct Workers {
    supervisor: Child,
    port: u16,
    output: BufReader<ChildStdout>,
    /// Keeps the port from others: bound, but nobody listens on it.
    _reservation: Socket,
    _script: Script,
}

impl Workers {
    /// Starts `count` workers with `handler`, the body of a function of `request` that also knows `name`, a number which
    /// every worker process draws when it starts; waits until all listen.
    fn with_handler(count: usize, handler: &str) -> Self {
        let reservation = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        reservation.set_reuse_port(true).unwrap();
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        reservation.bind(&SockAddr::from(any_port)).unwrap();
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let script = Script::new(&format!(
            r#"
local server = require("@lute/net/server")
local task = require("@lute/task")
local name = math.random(2 ^ 31 - 1)
server.serve({{ port = {}, reuseport = false, handler = function(request)
{handler}
end }})
print("listens")
"#,
            address.port()
        ));
        let mut supervisor = command()
            .args(["run", "--workers", &count.to_string()])
            .arg(&script.0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = BufReader::new(supervisor.stdout.take().unwrap());
        let mut workers = Self {
            supervisor,
            port: address.port(),
            output,
            _reservation: reservation,
            _script: script,
        };
        (0..count).for_each(|_| workers.expect_line("listens"));
        workers
    }

    fn expect_line(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), expected);
    }

    fn processes(&self) -> HashSet<u32> {
        let id = self.supervisor.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    }

    fn send_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(REQUEST).unwrap();
        stream
    }

    fn ask(&self) -> String {
        read_response(&mut self.send_request()).1
    }

    /// Asks until `count` different answers have come.
    fn different_answers(&self, count: usize) -> HashSet<String> {
        let mut answers = HashSet::new();
        wait_until("the different answers", || {
            answers.insert(self.ask());
            answers.len() == count
        });
        answers
    }

    fn signal(&self, signal: &str) {
        kill(signal, &self.supervisor.id().to_string());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Its workers then end by themselves.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

fn is_alive(process: u32) -> bool {
    // Who adopts a dead orphan may be slow to take notice: a zombie is as good as gone.
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn run_workers(count: &str, script: &Script, arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(["run", "--workers", count]).arg(&script.0);
    command.args(arguments).output().unwrap()
}

#[test]
fn every_worker_answers_on_the_port_they_share() {
    let workers = Workers::with_handler(3, "return tostring(name)");
    workers.different_answers(3);
    assert_eq!(workers.processes().len(), 3);
}

#[test]
fn a_killed_worker_is_replaced_while_the_others_serve() {
    let mut workers = Workers::with_handler(2, "return tostring(name)");
    let before = workers.different_answers(2);
    let processes = workers.processes();
    let killed = *processes.iter().next().unwrap();
    kill("-KILL", &killed.to_string());
    wait_until("the end of the killed worker", || {
        !workers.processes().contains(&killed)
    });
    assert!(before.contains(&workers.ask()));
    workers.expect_line("listens");
    let after = workers.different_answers(2);
    assert_eq!(before.intersection(&after).count(), 1);
    assert_eq!(workers.processes().intersection(&processes).count(), 1);
    workers.signal("-TERM");
    assert_eq!(workers.supervisor.wait().unwrap().code(), Some(0));
    let stderr = std::io::read_to_string(workers.supervisor.stderr.take().unwrap()).unwrap();
    let told = format!("(process {killed}) ended with signal: 9 (SIGKILL); it is started again");
    assert!(stderr.contains(&told), "{stderr}");
}

/// Signals `target` ("" or "-" before the supervisor's id) once while handlers wait; they answer, and all end with 0.
fn handlers_answer_after_one_signal(signal: &str, target: &str) {
    let mut workers = Workers::with_handler(2, "print('asked') task.wait(0.5) return 'late'");
    let mut streams: Vec<_> = (0..8).map(|_| workers.send_request()).collect();
    (0..8).for_each(|_| workers.expect_line("asked"));
    let processes = workers.processes();
    kill(signal, &format!("{target}{}", workers.supervisor.id()));
    for stream in &mut streams {
        let answer = read_to_end(stream);
        assert!(answer.ends_with("late"), "{answer}");
    }
    assert_eq!(workers.supervisor.wait().unwrap().code(), Some(0));
    assert!(!processes.iter().any(|process| is_alive(*process)));
}

#[test]
fn one_sigterm_lets_waiting_handlers_answer_and_then_ends_all_with_0() {
    handlers_answer_after_one_signal("-TERM", "");
}

#[test]
fn ctrl_c_at_a_terminal_counts_as_one_signal() {
    handlers_answer_after_one_signal("-INT", "-");
}

#[test]
fn a_second_signal_ends_all_at_once() {
    let mut workers = Workers::with_handler(2, "print('asked') task.wait(60) return 'late'");
    let _streams: Vec<_> = (0..8).map(|_| workers.send_request()).collect();
    (0..8).for_each(|_| workers.expect_line("asked"));
    let processes = workers.processes();
    workers.signal("-INT");
    thread::sleep(Duration::from_millis(200));
    assert!(workers.supervisor.try_wait().unwrap().is_none());
    workers.signal("-TERM");
    assert_eq!(workers.supervisor.wait().unwrap().code(), Some(128 + 15));
    assert!(!processes.iter().any(|process| is_alive(*process)));
}

#[test]
fn workers_end_when_their_supervisor_is_killed() {
    let mut workers = Workers::with_handler(2, "return ''");
    let processes = workers.processes();
    workers.signal("-KILL");
    workers.supervisor.wait().unwrap();
    wait_until("the end of the workers", || {
        !processes.iter().any(|process| is_alive(*process))
    });
}

#[test]
fn an_idle_supervisor_costs_nothing() {
    let workers = Workers::with_handler(1, "return ''");
    let cpu_time = || {
        let path = format!("/proc/{}/schedstat", workers.supervisor.id());
        let text = fs::read_to_string(path).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let before = cpu_time();
    thread::sleep(Duration::from_secs(1));
    assert!(cpu_time() - before < Duration::from_millis(1));
}

#[test]
fn a_script_that_always_fails_is_given_up() {
    let script = Script::new("error('never')");
    let began = Instant::now();
    let output = run_workers("2", &script, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(began.elapsed() > Duration::from_secs(1), "without pauses");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("exit status: 1; it is started again in 0.8 s"),
        "{stderr}"
    );
    assert!(stderr.contains("giving up"), "{stderr}");
    let runs = stderr.matches("never").count();
    assert!((10..=12).contains(&runs), "{stderr}");
}

#[test]
fn workers_that_end_by_themselves_are_not_started_again() {
    let script = Script::new("print(...)");
    let output = run_workers("3", &script, &["one", "--two", "--", "-3"]);
    assert_eq!(output.status.code(), Some(0));
    let line = "one\t--two\t--\t-3\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), line.repeat(3));
}

#[test]
fn a_worker_cannot_listen_on_port_0() {
    let script = Script::new(
        r#"
local server = require("@lute/net/server")
print(pcall(server.serve, { port = 0, handler = function() return "" end }))
"#,
    );
    let output = run_workers("1", &script, &[]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "false\tport 0 cannot be shared by workers: name a port\n"
    );
}

#[test]
fn a_count_that_is_none_is_refused() {
    for count in ["0", "-1", "many", "100000"] {
        let output = run_workers(count, &Script::new(""), &[]);
        assert_eq!(output.status.code(), Some(2), "{count}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("--workers"), "{stderr}");
    }
}
