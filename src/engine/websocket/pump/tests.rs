//! The pump against another end on a Unix socket that reads when the test says so.

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use smol::{LocalExecutor, Task};
use socket2::{Domain, Socket as RawSocket, Type};

use super::{super::arrivals::FRAMES_PER_TURN, *};
use crate::engine::{
    limits::WebSocketLimits,
    socket::Socket,
    websocket::{Data, Incoming, Sent, WebSocket, topics::Topics},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// What the system takes before somebody reads.
const SYSTEM_BUFFER: usize = 256 * 1024;

/// Takes note of what happens.
#[derive(Default)]
struct Recorder {
    socket: RefCell<Option<Rc<WebSocket>>>,
    messages: RefCell<Vec<Vec<u8>>>,
    /// How many messages it takes of those that come at once.
    takes: Cell<Option<usize>>,
    /// Whether it holds on to each.
    holds: Cell<bool>,
    drains: Cell<usize>,
    ending: RefCell<Option<Ending>>,
}

impl WebSocketService for Recorder {
    fn opened(&self, socket: &Rc<WebSocket>) {
        self.socket.replace(Some(socket.clone()));
    }

    fn received(&self, _: u64, messages: &mut dyn Incoming) {
        let most = self.takes.get().unwrap_or(usize::MAX);
        for _ in 0..most {
            let Some(message) = messages.next() else {
                return;
            };
            self.messages.borrow_mut().push(message.bytes().to_vec());
            if self.holds.get() {
                messages.hold();
            }
        }
    }

    fn drained(&self, _: u64) {
        self.drains.set(self.drains.get() + 1);
    }

    fn closed(&self, _: u64, ending: &Ending) {
        assert_eq!(self.ending.replace(Some(ending.clone())), None);
    }

    fn abandoned(&self, _: u64) {
        unreachable!("it was opened");
    }
}

/// A server's WebSocket that is open, and the client's end of its connection.
struct Subject {
    engine: Rc<Engine>,
    service: Rc<Recorder>,
    socket: Rc<WebSocket>,
    pump: Task<()>,
    other: UnixStream,
}

impl Subject {
    fn open(limits: WebSocketLimits, system_buffer: usize) -> Self {
        let engine = Engine::new(Rc::new(LocalExecutor::new())).unwrap();
        let (ours, other) = RawSocket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        ours.set_nonblocking(true).unwrap();
        ours.set_send_buffer_size(system_buffer).unwrap();
        let service = Rc::new(Recorder::default());
        let upgrade = Upgrade::new(1, Rc::new(limits), service.clone());
        let options = PumpOptions {
            transport: Transport::Plain(Socket::new(engine.reactor(), ours).unwrap()),
            role: Role::Server,
            remote: Remote::Local,
            input: Vec::new(),
            counters: None,
        };
        let pump = Pump::new(&engine, upgrade, options).unwrap();
        let socket = pump.socket().clone();
        let subject = Self {
            pump: engine.spawn(pump.run()),
            engine,
            service,
            socket,
            other: other.into(),
        };
        subject.run_until("it is open", |subject| {
            subject.service.socket.borrow().is_some()
        });
        subject
    }

    fn run_until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let (timers, begun) = (self.engine.timers(), Instant::now());
        let waited = self.engine.block_on(async {
            while !happened(self) {
                assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
                let soon = Instant::now() + Duration::from_millis(1);
                timers.sleep_until(soon).await;
            }
        });
        waited.unwrap();
    }

    /// Sends until the system takes no more, as a timer's callback would: the pump does not run meanwhile.
    fn fill(&self) {
        let piece = [7; 1000];
        while self.socket.send(Data::Binary(&piece)) != Sent::Queued {}
    }

    /// Reads what has come, as long as that is something.
    fn read(&mut self) -> usize {
        self.other.set_nonblocking(true).unwrap();
        let (mut buffer, mut all) = (vec![0; SYSTEM_BUFFER], 0);
        while let Ok(count @ 1..) = self.other.read(&mut buffer) {
            all += count;
        }
        all
    }

    fn ended_for(&self) -> Option<String> {
        self.service.ending.borrow().as_ref()?.problem.clone()
    }
}

#[test]
fn drain_follows_what_was_queued_outside_of_the_pump_though_one_write_is_enough_for_the_rest() {
    let mut subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    subject.fill();
    assert!(subject.socket.unsent() < SYSTEM_BUFFER / 2);
    subject.read();
    subject.run_until("drain", |subject| subject.service.drains.get() == 1);
    assert_eq!(subject.socket.unsent(), 0);
}

#[test]
fn an_end_that_takes_nothing_of_what_was_queued_outside_of_the_pump_is_left_in_time() {
    let limits = WebSocketLimits {
        write: Duration::from_millis(50),
        ..WebSocketLimits::default()
    };
    let subject = Subject::open(limits, SYSTEM_BUFFER);
    // In one piece: nothing but that the system does not take all of it can have woken the pump.
    let sent = subject.socket.send(Data::Binary(&[7; 1_000_000]));
    assert_eq!(sent, Sent::Queued);
    subject.run_until("its end", |subject| subject.ended_for().is_some());
    assert_eq!(subject.ended_for().unwrap(), "the other end reads nothing");
}

/// A WebSocket closed behind 300,000 bytes, whose other end takes 2,000 of them at a time, with a pause after each; how many it
/// got.
fn closed_to_a_trickle(limits: WebSocketLimits) -> usize {
    let subject = Subject::open(limits, 4096);
    subject.socket.send(Data::Binary(&[7; 300_000]));
    subject.socket.close(4001, "enough");
    let mut other = subject.other.try_clone().unwrap();
    let reading = thread::spawn(move || {
        let (mut buffer, mut all) = ([0; 2000], 0);
        while let Ok(count @ 1..) = other.read(&mut buffer) {
            all += count;
            // The close frame is the last: it is not answered.
            thread::sleep(Duration::from_millis(10));
        }
        all
    });
    subject.run_until("its end", |subject| subject.pump.is_finished());
    let ending = subject.service.ending.borrow().clone().unwrap();
    assert_eq!((ending.code, ending.reason.as_str()), (4001, "enough"));
    drop(subject);
    reading.join().unwrap()
}

/// The message with its head, and the close frame with its code and text.
const EVERYTHING: usize = 10 + 300_000 + 2 + 2 + 6;

#[test]
fn a_trickle_does_not_postpone_the_end_of_a_websocket_that_was_closed() {
    let limits = WebSocketLimits {
        close: Duration::from_millis(200),
        slowest: 10_000_000,
        ..WebSocketLimits::default()
    };
    let got = closed_to_a_trickle(limits);
    assert!(got < EVERYTHING, "it got all {got} bytes");
}

#[test]
fn what_waits_before_the_close_frame_may_take_longer_than_the_answer_to_it() {
    let limits = WebSocketLimits {
        close: Duration::from_secs(1),
        ..WebSocketLimits::default()
    };
    let got = closed_to_a_trickle(limits);
    assert_eq!(got, EVERYTHING);
}

#[test]
fn messages_that_the_receiver_leaves_are_lost_and_the_next_ones_come() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    let frames = b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x81\x81\0\0\0\0c";
    subject.service.takes.set(Some(1));
    (&subject.other).write_all(frames).unwrap();
    let count = |subject: &Subject| subject.service.messages.borrow().len();
    subject.run_until("the first", |subject| count(subject) == 1);
    subject.service.takes.set(None);
    (&subject.other).write_all(frames).unwrap();
    subject.run_until("all", |subject| count(subject) == 4);
    let messages = subject.service.messages.borrow();
    assert_eq!(*messages, [b"a", b"a", b"b", b"c"]);
}

/// A client's ping, and what answers it.
const PING: &[u8] = b"\x89\x81\0\0\0\0p";
const PONG: &[u8] = b"\x8a\x01p";

/// A client's message, and its close frame with code 1000.
const MESSAGE: &[u8] = b"\x82\x81\0\0\0\0m";
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

impl Subject {
    /// What has come so far and comes until it ends with `end`.
    fn read_to(&self, end: &[u8]) -> Vec<u8> {
        self.other.set_nonblocking(true).unwrap();
        let all = RefCell::new(Vec::new());
        self.run_until("what is to come", |subject| {
            let _ = (&subject.other).read_to_end(&mut all.borrow_mut());
            all.borrow().ends_with(end)
        });
        all.into_inner()
    }

    fn messages(&self) -> usize {
        self.service.messages.borrow().len()
    }

    fn code(&self) -> Option<u16> {
        Some(self.service.ending.borrow().as_ref()?.code)
    }
}

#[test]
fn a_ping_is_answered_though_nothing_follows_and_the_time_of_the_turn_is_up() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    (&subject.other).write_all(PING).unwrap();
    for _ in 0..10 {
        subject.engine.poll_sockets().unwrap();
        subject.engine.run_tasks(Some(Instant::now()));
    }
    assert_eq!(subject.read_to(PONG), PONG);
}

#[test]
fn each_ping_of_a_whole_turn_is_answered() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    let pings = PING.repeat(FRAMES_PER_TURN);
    (&subject.other).write_all(&pings).unwrap();
    subject.other.set_nonblocking(true).unwrap();
    let pongs = RefCell::new(Vec::new());
    subject.run_until("all pongs", |subject| {
        let _ = (&subject.other).read_to_end(&mut pongs.borrow_mut());
        pongs.borrow().len() == FRAMES_PER_TURN * PONG.len()
    });
    assert_eq!(pongs.take(), PONG.repeat(FRAMES_PER_TURN));
}

#[test]
fn a_ping_that_comes_while_nothing_can_be_sent_is_answered_when_it_can() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    subject.fill();
    (&subject.other)
        .write_all(&[MESSAGE, PING].concat())
        .unwrap();
    subject.run_until("the message", |subject| subject.messages() == 1);
    assert!(subject.read_to(PONG).len() > 1000);
}

#[test]
fn what_came_before_the_connection_broke_is_handed_on_though_that_shows_in_a_write_first() {
    let mut subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    (&subject.other)
        .write_all(&[MESSAGE, MESSAGE, CLOSE].concat())
        .unwrap();
    subject.other = UnixStream::pair().unwrap().0;
    assert_eq!(subject.socket.send(Data::Binary(b"unread")), Sent::Taken);
    subject.run_until("its end", |subject| subject.code().is_some());
    assert_eq!((subject.messages(), subject.code()), (2, Some(1000)));
}

#[test]
fn a_receiver_that_has_enough_gets_the_rest_of_a_connection_that_has_ended_meanwhile() {
    let limits = WebSocketLimits {
        held: 1,
        ..WebSocketLimits::default()
    };
    let mut subject = Subject::open(limits, SYSTEM_BUFFER);
    subject.service.holds.set(true);
    let all = [&MESSAGE.repeat(5), CLOSE].concat();
    (&subject.other).write_all(&all).unwrap();
    subject.other = UnixStream::pair().unwrap().0;
    for count in 2..=5 {
        subject.run_until("a message", |subject| subject.messages() == count);
        assert_eq!(subject.code(), None);
        subject.socket.release();
    }
    subject.run_until("its end", |subject| subject.code().is_some());
    assert_eq!(subject.code(), Some(1000));
}

#[test]
fn an_end_that_leaves_messages_behind_that_nobody_takes_is_left_in_time() {
    let limits = WebSocketLimits {
        held: 1,
        ping: Duration::from_millis(100),
        ..WebSocketLimits::default()
    };
    let mut subject = Subject::open(limits, SYSTEM_BUFFER);
    subject.service.holds.set(true);
    (&subject.other).write_all(&MESSAGE.repeat(5)).unwrap();
    subject.run_until("two messages", |subject| subject.messages() == 2);
    // Whoever is still there is not left, and whoever takes messages is in no hurry.
    assert_eq!(subject.read_to(b"\x89\0\x89\0").len(), 4);
    for count in 3..=5 {
        subject.socket.release();
        subject.run_until("a message", |subject| subject.messages() == count);
    }
    (&subject.other).write_all(&MESSAGE.repeat(5)).unwrap();
    subject.other = UnixStream::pair().unwrap().0;
    subject.run_until("its end", |subject| subject.code().is_some());
    assert_eq!((subject.messages(), subject.code()), (5, Some(1006)));
}

#[test]
fn subscriptions_to_a_topic_of_the_same_name_elsewhere_are_others() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    let (here, elsewhere) = (Rc::new(Topics::default()), Rc::new(Topics::default()));
    assert!(here.subscribe(b"news", &subject.socket));
    assert!(elsewhere.subscribe(b"news", &subject.socket));
    assert!(here.unsubscribe(b"news", &subject.socket));
    subject.socket.end();
    assert!(!elsewhere.unsubscribe(b"news", &subject.socket), "ended");
}

#[test]
fn who_waits_for_room_learns_at_once_that_it_was_closed() {
    let subject = Subject::open(WebSocketLimits::default(), SYSTEM_BUFFER);
    subject.fill();
    let waits = Rc::new(Cell::new(false));
    let waiting = subject.engine.spawn({
        let (socket, waits) = (subject.socket.clone(), waits.clone());
        async move {
            waits.set(true);
            socket.shrunk(0).await;
        }
    });
    subject.run_until("it waits", |_| waits.get());
    let begun = Instant::now();
    subject.socket.close(1000, "");
    subject.run_until("it knows", |_| waiting.is_finished());
    // The other end's close frame has 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5));
}
