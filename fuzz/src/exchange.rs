//! A real server on a Unix socket, and a client of it, both on this thread: what comes back for some bytes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

use lute_net::engine::Engine;
use lute_net::engine::answer::AnswerWriter;
use lute_net::engine::intake::Bodies;
use lute_net::engine::limits::Limits;
use lute_net::engine::listener::ListenAt;
use lute_net::engine::server::{Server, ServerOptions};
use lute_net::engine::service::{
    Answer, BodyPart, BodySource, Reply, Request, RequestBody, Rest, Service, StreamFraming,
    Streamed,
};
use smol::LocalExecutor;

/// What turns of the loop that bring nothing new are waited for.
const IDLE_TURNS: usize = 2;
/// A connection that has not ended after so many is one that hangs.
const MOST_TURNS: usize = 10_000;

thread_local! {
    static WHOLE: OnceCell<World> = const { OnceCell::new() };
    static STREAMED: OnceCell<World> = const { OnceCell::new() };
}

/// How the server of an input takes bodies.
pub fn bodies(mode: u8) -> Bodies {
    if mode & 1 == 0 {
        Bodies::Whole
    } else {
        Bodies::Streamed
    }
}

/// All that a client gets that sends `slices` one after the other, then ends its side and reads to the end. Without `Date` and
/// `100 Continue`, which depend on time.
pub fn answers(bodies: Bodies, slices: &[&[u8]]) -> String {
    let world = match bodies {
        Bodies::Whole => &WHOLE,
        Bodies::Streamed => &STREAMED,
    };
    let raw = world.with(|world| world.get_or_init(|| World::new(bodies)).answers(slices));
    let text = raw
        .escape_ascii()
        .to_string()
        .replace("HTTP/1.1 100 Continue\\r\\n\\r\\n", "");
    let lines = text.split_inclusive("\\n");
    lines.filter(|line| !line.starts_with("Date: ")).collect()
}

struct World {
    engine: Rc<Engine>,
    server: Server,
    service: Rc<Echo>,
    path: PathBuf,
}

impl World {
    fn new(bodies: Bodies) -> Self {
        let path =
            std::env::temp_dir().join(format!("lute-net-fuzz-{}-{bodies:?}", std::process::id()));
        let engine = Engine::new(Rc::new(LocalExecutor::new())).expect("an engine");
        let service = Rc::new(Echo::default());
        // Small, so that inputs reach them.
        let limits = Limits {
            head: 512,
            body: 200,
            buffered: 200,
            ..Limits::default()
        };
        let options = ServerOptions {
            limits,
            bodies,
            tls: None,
        };
        let server = Server::listen(
            &engine,
            &ListenAt::Local(path.clone()),
            options,
            service.clone(),
        )
        .expect("a server");
        Self {
            engine,
            server,
            service,
            path,
        }
    }

    fn answers(&self, slices: &[&[u8]]) -> Vec<u8> {
        let mut client = UnixStream::connect(&self.path).expect("a connection");
        client.set_nonblocking(true).expect("a socket");
        let mut received = Vec::new();
        self.settle(&mut client, &mut received);
        for slice in slices {
            // A server that has refused a message may have ended already.
            if client.write_all(slice).is_err() {
                break;
            }
            self.settle(&mut client, &mut received);
        }
        let _ = client.shutdown(Shutdown::Write);
        self.until_its_end(&mut client, &mut received);
        drop(client);
        self.turn_until(|| self.server.connections() == 0);
        assert!(
            self.service.exchanges.borrow().is_empty(),
            "an exchange without a connection"
        );
        received
    }

    /// Lets the server work until nothing more comes of it.
    fn settle(&self, client: &mut UnixStream, received: &mut Vec<u8>) {
        let mut idle = 0;
        while idle < IDLE_TURNS {
            let before = (received.len(), self.server.counters().bytes_received());
            self.turn();
            let _ = client.read_to_end(received);
            let after = (received.len(), self.server.counters().bytes_received());
            idle = if before == after { idle + 1 } else { 0 };
        }
    }

    fn until_its_end(&self, client: &mut UnixStream, received: &mut Vec<u8>) {
        self.turn_until(|| match client.read_to_end(received) {
            Ok(_) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        });
    }

    fn turn_until(&self, mut done: impl FnMut() -> bool) {
        for _ in 0..MOST_TURNS {
            if done() {
                return;
            }
            self.turn();
        }
        panic!("the connection does not end");
    }

    fn turn(&self) {
        self.engine.poll_sockets().expect("the poller");
        while self.engine.run_tasks(None) {}
    }
}

/// Answers with what was asked, at once, later, or as a stream: the path says which.
#[derive(Default)]
struct Echo {
    last: Cell<u64>,
    exchanges: RefCell<BTreeMap<u64, Exchange>>,
}

/// A request whose answer comes later.
struct Exchange {
    shape: lute_net::engine::answer::Shape,
    text: Vec<u8>,
    /// Whether its body is still to come.
    receiving: bool,
    /// How often the answer is not there yet.
    delays: u8,
    broken: bool,
}

impl Echo {
    fn begin(&self, request: &Request<'_>, text: Vec<u8>, receiving: bool) -> u64 {
        let number = self.last.get() + 1;
        self.last.set(number);
        let exchange = Exchange {
            shape: request.shape,
            text,
            receiving,
            delays: 2,
            broken: false,
        };
        self.exchanges.borrow_mut().insert(number, exchange);
        number
    }

    fn write(shape: lute_net::engine::answer::Shape, text: &[u8], out: &mut Vec<u8>) -> bool {
        let writer = AnswerWriter::begin(out, shape, 200).expect("a status");
        writer.finish("now", text).expect("a length")
    }
}

impl Service for Echo {
    fn respond(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Reply {
        let mut text =
            format!("{} {}\n", request.head.method(), request.head.target()).into_bytes();
        for field in request.head.fields() {
            text.extend_from_slice(field.name.as_bytes());
            text.push(b'=');
            text.extend_from_slice(field.value);
            text.push(b'\n');
        }
        match request.body {
            RequestBody::Streamed => {
                let wanted = !request.head.path().starts_with("/ignore");
                Reply::Later(self.begin(request, text, wanted))
            }
            RequestBody::Whole(body) => {
                text.extend_from_slice(body);
                if request.head.path().starts_with("/later") {
                    return Reply::Later(self.begin(request, text, false));
                }
                if request.head.path().starts_with("/stream") {
                    return self.stream(request, text, out);
                }
                Reply::Written {
                    persistent: Self::write(request.shape, &text, out),
                }
            }
        }
    }

    fn poll_answer(&self, exchange: u64, context: &mut Context<'_>) -> Poll<Answer> {
        let mut exchanges = self.exchanges.borrow_mut();
        let waiting = exchanges
            .get_mut(&exchange)
            .expect("an exchange that is not over");
        if waiting.receiving {
            return Poll::Pending;
        }
        if waiting.delays > 0 {
            waiting.delays -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut answered = exchanges.remove(&exchange).expect("the exchange");
        if answered.broken {
            answered.shape = answered.shape.last();
        }
        let mut bytes = Vec::new();
        let persistent = Self::write(answered.shape, &answered.text, &mut bytes);
        Poll::Ready(Answer {
            bytes,
            rest: if persistent { Rest::Next } else { Rest::Close },
        })
    }

    fn gone(&self, exchange: u64) {
        self.exchanges.borrow_mut().remove(&exchange);
    }

    fn sent(&self, _: u64) {}

    fn client_ended(&self, _: u64) {}

    fn poll_body_wanted(&self, exchange: u64, _: &mut Context<'_>) -> Poll<()> {
        match self.exchanges.borrow().get(&exchange) {
            Some(waiting) if waiting.receiving => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    fn body_part(&self, exchange: u64, part: BodyPart<'_>) {
        let mut exchanges = self.exchanges.borrow_mut();
        let Some(waiting) = exchanges.get_mut(&exchange) else {
            return;
        };
        match part {
            BodyPart::Bytes(bytes) => waiting.text.extend_from_slice(bytes),
            BodyPart::End => waiting.receiving = false,
            BodyPart::Broken(refusal) => {
                waiting.text.extend_from_slice(refusal.reason.as_bytes());
                waiting.broken = true;
                waiting.receiving = false;
            }
        }
    }
}

impl Echo {
    fn stream(&self, request: &Request<'_>, text: Vec<u8>, out: &mut Vec<u8>) -> Reply {
        let writer = AnswerWriter::begin(out, request.shape, 200).expect("a status");
        let (framing, persistent) = writer.finish_streamed("now");
        let Some(framing) = framing else {
            return Reply::Written { persistent };
        };
        assert!(!matches!(framing, StreamFraming::Length(_)));
        self.last.set(self.last.get() + 1);
        let source = Box::new(Pieces(text.chunks(7).rev().map(<[u8]>::to_vec).collect()));
        Reply::Streamed(
            self.last.get(),
            Streamed {
                source,
                framing,
                persistent,
            },
        )
    }
}

/// Pieces, last one first.
struct Pieces(Vec<Vec<u8>>);

impl BodySource for Pieces {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        Poll::Ready(Ok(self.0.pop()))
    }
}
