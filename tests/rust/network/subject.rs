//! A process with both ends of connections, `subject.luau`, and what it has open: for tests that do harm to it.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use super::proxy::{Network, Passage, Proxy};
use crate::{
    certificates::Authority,
    support::{Server, command, wait_until},
};

/// What the network stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Server,
    Client,
    Tls,
}

/// The process with both ends, and what it had open when it was new.
pub struct Subject {
    process: Server,
    plain: u16,
    secure: u16,
    _authority: Authority,
}

/// What a subject has that could be left behind.
#[derive(Clone, Debug, PartialEq)]
struct State {
    connections: f64,
    in_flight: f64,
    coroutines: f64,
    memory: f64,
}

impl Subject {
    fn start() -> Self {
        let authority = Authority::new();
        let issued = authority.issue("server");
        let source = include_str!("subject.luau")
            .replace("CERTIFICATE", &format!("{:?}", issued.certificate))
            .replace("KEY", &format!("{:?}", issued.key))
            .replace("AUTHORITY", &format!("{:?}", authority.certificate()));
        let mut process = Server::run(command(), &source);
        let mut port = || process.next_line().parse().unwrap();
        let (plain, secure) = (port(), port());
        Self {
            process,
            plain,
            secure,
            _authority: authority,
        }
    }

    /// The answer of its control server.
    pub fn asked(&self, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = self.process.exchange(request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        body.to_owned()
    }

    fn state(&self) -> State {
        let text = self.asked("/state");
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        State {
            connections: next(),
            in_flight: next(),
            coroutines: next(),
            memory: next(),
        }
    }

    /// The state once nothing is going on.
    fn settled(&self) -> State {
        let mut state = self.state();
        wait_until("the end of all connections", || {
            state = self.state();
            (state.connections, state.in_flight) == (0.0, 0.0)
        });
        state
    }

    /// The connection of whoever has asked last may still be there.
    fn descriptors_at_rest(&self) -> usize {
        let counts = (0..10).map(|_| {
            thread::sleep(Duration::from_millis(5));
            self.process.descriptors()
        });
        counts.min().unwrap()
    }

    /// One exchange at `layer` through `network`: what came of it, and the bytes that passed, there and back.
    fn exchange(&self, layer: Layer, network: Network) -> (String, (usize, usize)) {
        let target = if layer == Layer::Tls {
            self.secure
        } else {
            self.plain
        };
        let proxy = Proxy::start(target, network);
        let outcome = match layer {
            Layer::Server => raw_exchange(proxy.port),
            Layer::Client => self.asked(&format!(
                "/request?url=http://127.0.0.1:{}/path",
                proxy.port
            )),
            Layer::Tls => self.asked(&format!(
                "/request?url=https://localhost:{}/path",
                proxy.port
            )),
        };
        (outcome, proxy.passed())
    }

    /// As [`Self::exchange`]; whether the answer came, which is then the right one.
    pub fn is_answered(&self, layer: Layer, network: Network) -> bool {
        let (outcome, _) = self.exchange(layer, network);
        let answered = outcome == WHOLE;
        let refused = outcome.starts_with("error: ") || outcome.starts_with("40");
        assert!(answered || refused, "{layer:?} {network:?}: {outcome}");
        answered
    }

    /// The bytes of an undisturbed exchange, there and back.
    pub fn length(&self, layer: Layer) -> (usize, usize) {
        self.exchange(layer, FREE).1
    }
}

/// The outcome when all goes well.
const WHOLE: &str = "200 end POST /path the request's body";

pub const FREE: Network = Network {
    there: Passage::Free,
    back: Passage::Free,
};

/// Sends a request as Luau's client would, ends its side, and reads to the end: the outcome in the words of the script.
fn raw_exchange(port: u16) -> String {
    const REQUEST: &[u8] = b"POST /path HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
Content-Length: 18\r\n\r\nthe request's body";
    let answer = match exchange_bytes(port, REQUEST) {
        Err(error) => return format!("error: {error}"),
        Ok(answer) => String::from_utf8(answer).unwrap(),
    };
    match answer.split_once("\r\n\r\n") {
        Some((head, body))
            if head.starts_with("HTTP/1.1 200 ")
                && head.contains("\r\nX-End: end")
                && body.len() == length_of(head) =>
        {
            format!("200 end {body}")
        }
        _ => format!("error: not whole: {answer}"),
    }
}

/// Sends all, ends its side, and reads to the end.
fn exchange_bytes(port: u16, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_millis(800)))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn length_of(head: &str) -> usize {
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    value.map_or(usize::MAX, |value| value.parse().unwrap())
}

/// Does `harm` to a subject that has worked before; then it has what it had, and still works.
pub fn survives(layer: Layer, harm: impl Fn(&Subject)) {
    let subject = Subject::start();
    for _ in 0..3 {
        let (outcome, _) = subject.exchange(layer, FREE);
        assert_eq!(outcome, WHOLE);
    }
    // What is made once and kept is not what is left behind.
    harm(&subject);
    let before = subject.settled();
    let descriptors = subject.descriptors_at_rest();
    harm(&subject);
    let after = subject.settled();
    wait_until("the descriptors as before", || {
        subject.process.descriptors() <= descriptors
    });
    assert!(
        after.coroutines <= before.coroutines,
        "{before:?} {after:?}"
    );
    assert!(
        after.memory < before.memory + 100_000.0,
        "{before:?} {after:?}"
    );
    assert!(subject.is_answered(layer, FREE));
}
