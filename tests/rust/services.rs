//! Services of a Rust program's own, without Luau: what the engine asks them, and when.

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::yield_now;
use lute_net::engine::{
    Engine,
    answer::{AnswerWriter, Shape},
    intake::Bodies,
    limits::Limits,
    listener::ListenAt,
    server::{Server, ServerOptions},
    service::{Answer, BodyPart, Reply, Request, Rest, Service},
};

use crate::support::PATIENCE;

/// A service that always wants more of a body, also behind its end, and answers when it is told to.
#[derive(Default)]
struct Greedy {
    shape: Cell<Option<Shape>>,
    parts: Cell<usize>,
    ends: Cell<usize>,
    asked_behind_the_end: Cell<usize>,
    answers: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Greedy {
    fn answer(&self) {
        self.answers.set(true);
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Service for Greedy {
    fn respond(&self, request: &Request<'_>, _: &mut Vec<u8>) -> Reply {
        self.shape.set(Some(request.shape_once_read));
        Reply::Later(1)
    }

    fn poll_answer(&self, _: u64, context: &mut Context<'_>) -> Poll<Answer> {
        if !self.answers.get() {
            *self.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut bytes = Vec::new();
        let writer = AnswerWriter::begin(&mut bytes, self.shape.get().unwrap(), 200).unwrap();
        writer.finish("", b"done").unwrap();
        let rest = Rest::Close;
        Poll::Ready(Answer { bytes, rest })
    }

    fn gone(&self, _: u64) {}

    fn sent(&self, _: u64) {}

    fn client_ended(&self, _: u64) {}

    fn poll_body_wanted(&self, _: u64, _: &mut Context<'_>) -> Poll<()> {
        if self.ends.get() > 0 {
            let asked = self.asked_behind_the_end.get() + 1;
            self.asked_behind_the_end.set(asked);
            assert!(asked < 1000, "it is asked without end");
        }
        Poll::Ready(())
    }

    fn body_part(&self, _: u64, part: BodyPart<'_>) {
        self.parts.set(self.parts.get() + 1);
        if !matches!(part, BodyPart::Bytes(_)) {
            self.ends.set(self.ends.get() + 1);
        }
    }
}

/// A server with that service, and a client of it.
fn greedy(limits: Limits) -> (Rc<Engine>, Rc<Greedy>, Server, TcpStream) {
    let engine = Engine::new(Rc::default()).unwrap();
    let at = ListenAt::Internet {
        addresses: vec!["127.0.0.1:0".parse().unwrap()],
        reuse_port: false,
    };
    let options = ServerOptions {
        limits,
        bodies: Bodies::Streamed,
        tls: None,
    };
    let service = Rc::<Greedy>::default();
    let server = Server::listen(&engine, &at, options, service.clone()).unwrap();
    let client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    (engine, service, server, client)
}

/// Lets the engine work until `done`.
fn work_until(engine: &Engine, done: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    engine
        .block_on(async {
            while !done() {
                assert!(Instant::now() < deadline, "it takes too long");
                let soon = Instant::now() + Duration::from_millis(2);
                engine.timers().sleep_until(soon).await;
            }
        })
        .unwrap();
}

#[test]
fn a_service_is_not_asked_whether_it_wants_more_behind_the_end_of_a_body() {
    for end in [
        &b"5\r\nhello\r\n0\r\n\r\n"[..],
        b"5\r\nhello\r\n0\r\n\r\nGET /next",
        b"what?",
    ] {
        let (engine, service, _server, mut client) = greedy(Limits::default());
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write_all(head).unwrap();
        client.write_all(end).unwrap();
        work_until(&engine, || service.ends.get() > 0);
        service.answer();
        let asking = thread::spawn(move || {
            let mut received = String::new();
            client.read_to_string(&mut received).unwrap();
            received
        });
        work_until(&engine, || asking.is_finished());
        assert!(asking.join().unwrap().starts_with("HTTP/1.1 200"));
        assert_eq!(
            (service.ends.get(), service.asked_behind_the_end.get()),
            (1, 0)
        );
    }
}

#[test]
fn a_body_of_many_small_parts_leaves_the_thread_to_others_in_between() {
    let (engine, service, _server, mut client) = greedy(Limits::default());
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head).unwrap();
    client.write_all(&b"1\r\nx\r\n".repeat(5000)).unwrap();
    client.write_all(b"0\r\n\r\n").unwrap();
    let (most, last) = (Rc::new(Cell::new(0)), Cell::new(0));
    let (found, asked) = (most.clone(), service.clone());
    let _other = engine.spawn(async move {
        loop {
            let parts = asked.parts.get();
            found.set(found.get().max(parts - last.replace(parts)));
            yield_now().await;
        }
    });
    work_until(&engine, || service.ends.get() > 0);
    assert_eq!(service.parts.get(), 5001);
    assert!(most.get() <= 16, "{} parts in a row", most.get());
}
