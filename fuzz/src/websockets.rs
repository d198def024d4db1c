//! One end of a WebSocket, and over a pair of sockets the other one, both on this thread: what the first makes of some bytes.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use lute_net::engine::Engine;
use lute_net::engine::counters::Counters;
use lute_net::engine::limits::WebSocketLimits;
use lute_net::engine::service::Remote;
use lute_net::engine::socket::Socket;
use lute_net::engine::transport::Transport;
use lute_net::engine::websocket::{
    Data, Ending, Incoming, Pump, PumpOptions, Role, Upgrade, WebSocket, WebSocketService,
};
use smol::{LocalExecutor, Task};

/// Small, so that inputs reach them.
const LONGEST_MESSAGE: usize = 300;
const MOST_HELD: usize = 2;
/// What waits to be sent at the most: no input makes so much.
const LONGEST_QUEUE: usize = 64 * 1024;
/// What turns of the loop that bring nothing new are waited for.
const IDLE_TURNS: usize = 1;
/// A WebSocket that has not ended after so many is one that hangs.
const MOST_TURNS: usize = 10_000;

thread_local! {
    static ENGINE: OnceCell<Rc<Engine>> = const { OnceCell::new() };
}

/// How the other end leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It ends its side.
    End,
    /// It stays, and the WebSocket's task is dropped.
    Dropped,
}

/// What a WebSocket has made of the other end's bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What its receiver was told.
    pub events: Vec<Event>,
    /// What it has sent: each frame's first byte and payload.
    pub sent: Vec<(u8, Vec<u8>)>,
}

/// What a receiver is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Opened,
    Text(String),
    Binary(Vec<u8>),
    Closed(Ending),
}

/// A WebSocket of this `role` gets `early` with the handshake, then `slices` one after the other.
pub fn outcome(role: Role, leave: Leave, early: &[u8], slices: &[&[u8]]) -> Outcome {
    let new = || Engine::new(Rc::new(LocalExecutor::new())).expect("an engine");
    let engine = ENGINE.with(|engine| engine.get_or_init(new).clone());
    let mut exchange = Exchange::begin(engine, role, early);
    for slice in slices {
        exchange.settle();
        // One that has had enough may have ended already.
        if !exchange.send(slice) {
            break;
        }
    }
    exchange.settle();
    exchange.finish(leave)
}

struct Exchange {
    engine: Rc<Engine>,
    role: Role,
    receiver: Rc<Receiver>,
    counters: Rc<Counters>,
    task: Option<Task<()>>,
    peer: UnixStream,
    received: Vec<u8>,
}

impl Exchange {
    fn begin(engine: Rc<Engine>, role: Role, early: &[u8]) -> Self {
        let (near, peer) = UnixStream::pair().expect("two sockets");
        for end in [&near, &peer] {
            end.set_nonblocking(true).expect("a socket");
        }
        let socket = Socket::new(engine.reactor(), near.into()).expect("a place in the poller");
        let receiver = Rc::new(Receiver::default());
        let limits = WebSocketLimits {
            message: LONGEST_MESSAGE,
            held: MOST_HELD,
            ..WebSocketLimits::default()
        };
        let upgrade = Upgrade::new(7, Rc::new(limits), receiver.clone());
        let counters = Rc::<Counters>::default();
        let options = PumpOptions {
            transport: Transport::Plain(socket),
            role,
            remote: Remote::Local,
            input: early.to_vec(),
            counters: Some(counters.clone()),
        };
        let pump = Pump::new(&engine, upgrade, options).expect("a new upgrade");
        let task = engine.spawn(pump.run());
        Self {
            engine,
            role,
            receiver,
            counters,
            task: Some(task),
            peer,
            received: Vec::new(),
        }
    }

    fn send(&mut self, slice: &[u8]) -> bool {
        match self.peer.write_all(slice) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::BrokenPipe => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Lets it work until nothing more comes of it.
    fn settle(&mut self) {
        let mut idle = 0;
        while idle < IDLE_TURNS {
            let before = self.progress();
            self.turn();
            idle = if self.progress() == before {
                idle + 1
            } else {
                0
            };
        }
    }

    /// Grows with what is done.
    fn progress(&self) -> (usize, usize, u64, usize) {
        (
            self.received.len(),
            self.receiver.events.borrow().len(),
            self.counters.bytes_received(),
            self.receiver.released.get(),
        )
    }

    fn turn(&mut self) {
        self.engine.poll_sockets().expect("the poller");
        while self.engine.run_tasks(None) {}
        self.receiver.release();
        match self.peer.read_to_end(&mut self.received) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }

    fn finish(mut self, leave: Leave) -> Outcome {
        if leave == Leave::End {
            let _ = self.peer.shutdown(Shutdown::Write);
            let mut turns = 0;
            while !self.task.as_ref().is_some_and(Task::is_finished) {
                assert!(turns < MOST_TURNS, "the WebSocket does not end");
                turns += 1;
                self.turn();
            }
        }
        drop(self.task.take());
        // The executor drops what the task held.
        self.turn();
        let socket = self.receiver.socket.take().expect("it was opened");
        assert!(!socket.is_open(), "it is over");
        assert_eq!(Rc::strong_count(&socket), 1, "nobody holds on to it");
        drop(socket);
        let events = self.receiver.events.take();
        let ends = events
            .iter()
            .filter(|event| matches!(event, Event::Closed(_)));
        assert_eq!(ends.count(), 1, "{events:?}");
        let last = self.peer.read_to_end(&mut self.received);
        last.expect("the end of the connection");
        Outcome {
            events,
            sent: frames(self.role, &self.received),
        }
    }
}

/// Whether a receiver has done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    Done,
    Held,
}

/// Does with a message what its first byte says.
#[derive(Default)]
struct Receiver {
    socket: RefCell<Option<Rc<WebSocket>>>,
    events: RefCell<Vec<Event>>,
    held: Cell<usize>,
    released: Cell<usize>,
}

impl Receiver {
    fn told(&self, event: Event) {
        let mut events = self.events.borrow_mut();
        let over = matches!(events.last(), Some(Event::Closed(_)));
        assert!(!over, "{event:?} after the end");
        events.push(event);
    }

    fn message(&self, data: Data<'_>) -> Receipt {
        let bytes = data.bytes();
        assert!(bytes.len() <= LONGEST_MESSAGE);
        self.told(match data {
            Data::Text(text) => Event::Text(text.to_owned()),
            Data::Binary(bytes) => Event::Binary(bytes.to_vec()),
        });
        let socket = self.socket.borrow().clone().expect("it was opened");
        match bytes.first() {
            Some(b'c') => socket.close(4000, &String::from_utf8_lossy(&bytes[1..])),
            Some(b'h') => {
                assert!(self.held.get() <= MOST_HELD, "it holds too many");
                self.held.set(self.held.get() + 1);
                return Receipt::Held;
            }
            Some(b'p') => drop(socket.ping(&bytes[1..])),
            _ => drop(socket.send(data)),
        }
        assert!(socket.unsent() <= LONGEST_QUEUE);
        Receipt::Done
    }

    /// Has done with one of the messages that are held.
    fn release(&self) {
        if self.held.get() == 0 {
            return;
        }
        self.held.set(self.held.get() - 1);
        self.released.set(self.released.get() + 1);
        if let Some(socket) = &*self.socket.borrow() {
            socket.release();
        }
    }
}

impl WebSocketService for Receiver {
    fn opened(&self, socket: &Rc<WebSocket>) {
        self.told(Event::Opened);
        let before = self.socket.replace(Some(socket.clone()));
        assert!(before.is_none(), "opened twice");
    }

    fn received(&self, _: u64, messages: &mut dyn Incoming) {
        while let Some(data) = messages.next() {
            if self.message(data) == Receipt::Held {
                messages.hold();
            }
        }
    }

    fn drained(&self, _: u64) {
        panic!("nothing had to wait");
    }

    fn closed(&self, _: u64, ending: &Ending) {
        self.told(Event::Closed(ending.clone()));
    }

    fn abandoned(&self, _: u64) {
        panic!("it was opened");
    }
}

/// Takes apart what an end of this `role` has sent, which follows the rules.
fn frames(role: Role, mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        let masked = rest[0] & 0x80 != 0;
        assert_eq!(masked, role == Role::Client, "only clients mask");
        let (length, rest) = match rest[0] & 0x7f {
            126 => (
                usize::from(u16::from_be_bytes([rest[1], rest[2]])),
                &rest[3..],
            ),
            length => (usize::from(length), &rest[1..]),
        };
        let (mask, rest) = rest.split_at(if masked { 4 } else { 0 });
        let (payload, rest) = rest.split_at(length);
        let mask = mask.iter().chain(&[0; 4]).take(4).cycle();
        let payload: Vec<u8> = payload
            .iter()
            .zip(mask)
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        assert!(
            matches!(first, 0x81 | 0x82 | 0x88 | 0x89 | 0x8a),
            "{first:#x}"
        );
        assert!(first < 0x88 || length <= 125, "a control frame is short");
        if first == 0x88 {
            assert!(rest.is_empty(), "nothing follows the close frame");
            assert!(length != 1 && std::str::from_utf8(&payload[length.min(2)..]).is_ok());
        }
        frames.push((first, payload));
        bytes = rest;
    }
    frames
}
