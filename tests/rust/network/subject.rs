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
    support::{PATIENCE, Server, command, wait_until},
    websocket::raw::{CLOSE, HANDSHAKE, TEXT, frame},
};

/// What the network stands in front of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Server,
    Client,
    WebSocket,
    WebSocketClient,
    Tls,
}

impl Layer {
    /// How many of `there` bytes, those that the connecting end sends, must come for the exchange to be whole: not the answer
    /// to a server's close frame, which is the end of it already.
    pub fn needed(self, there: usize) -> usize {
        match self {
            Self::WebSocketClient => there - frame(CLOSE, b"go").len(),
            _ => there,
        }
    }
}

/// The process with both ends, and what it had open when it was new.
pub struct Subject {
    process: Server,
    /// Plain and over TLS.
    patient: [u16; 2],
    /// As those, for networks on which they would wait in vain.
    hasty: [u16; 2],
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
        let (patient, hasty) = ([port(), port()], [port(), port()]);
        Self {
            process,
            patient,
            hasty,
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

    /// What a request of the script's comes to.
    pub fn requested(&self, scheme: &str, port: u16, patience: Duration) -> String {
        let seconds = patience.as_secs_f64();
        self.asked(&format!(
            "/request?timeout={seconds}&url={scheme}://localhost:{port}/path"
        ))
    }

    /// What a WebSocket of the script's to `port` comes to; with a `detail` of what it does.
    pub fn conversed(&self, port: u16, patience: Duration, detail: &str) -> String {
        let seconds = patience.as_secs_f64();
        self.asked(&format!(
            "/converse?timeout={seconds}&{detail}&url=ws://localhost:{port}/path"
        ))
    }

    /// Bytes of memory that the process has of its own.
    pub fn resident(&self) -> u64 {
        self.process.memory()
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
        let loses = [network.there, network.back]
            .iter()
            .any(|passage| matches!(passage, Passage::Lost(_)));
        let servers = if loses { self.hasty } else { self.patient };
        // An end that is held back until the other side's, which waits for what is held back with it.
        let held = Passage::HeldUntilTheEnd;
        let stuck = match layer {
            Layer::Server | Layer::WebSocket => false,
            Layer::Client => network.there == held,
            Layer::WebSocketClient | Layer::Tls => network.there == held || network.back == held,
        };
        let patience = if loses || stuck { HASTE } else { PATIENCE };
        let target = servers[usize::from(layer == Layer::Tls)];
        let proxy = Proxy::start(target, network);
        let outcome = match layer {
            Layer::Server => raw_exchange(proxy.port, patience),
            Layer::WebSocket => raw_websocket(proxy.port, patience),
            Layer::WebSocketClient => match self.conversed(proxy.port, patience, "") {
                outcome if outcome == CONVERSED => WHOLE.to_owned(),
                outcome => outcome,
            },
            Layer::Client => self.requested("http", proxy.port, patience),
            Layer::Tls => self.requested("https", proxy.port, patience),
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

/// How long is waited for what can't come.
pub const HASTE: Duration = Duration::from_millis(800);

/// The outcome when all goes well.
const WHOLE: &str = "200 end POST /path the request's body";

/// The outcome of a WebSocket of the script's when all goes well.
pub const CONVERSED: &str = "one two 4000 end after 1 end";

pub const FREE: Network = Network {
    there: Passage::Free,
    back: Passage::Free,
};

/// Sends a request as Luau's client would, ends its side, and reads to the end: the outcome in the words of the script.
fn raw_exchange(port: u16, patience: Duration) -> String {
    const REQUEST: &[u8] = b"POST /path HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
Content-Length: 18\r\n\r\nthe request's body";
    let answer = match exchange_bytes(port, patience, REQUEST) {
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
fn exchange_bytes(port: u16, patience: Duration, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Opens a WebSocket, sends two messages and the end without waiting, and reads to the end: the outcome in the script's words.
fn raw_websocket(port: u16, patience: Duration) -> String {
    let result = exchange_bytes(
        port,
        patience,
        &[
            HANDSHAKE.as_bytes(),
            &frame(TEXT, b"one"),
            &frame(TEXT, b"two"),
            &frame(CLOSE, &1000_u16.to_be_bytes()),
        ]
        .concat(),
    );
    let answer = match result {
        Err(error) => return format!("error: {error}"),
        Ok(answer) => answer,
    };
    let frames = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let frames = frames.map(|end| &answer[end + 4..]);
    if answer.starts_with(b"HTTP/1.1 101 ")
        && frames == Some(b"\x81\x03one\x81\x03two\x88\x02\x03\xe8")
    {
        return WHOLE.to_owned();
    }
    format!("error: not whole: {}", answer.escape_ascii())
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
