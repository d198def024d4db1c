//! A tool that owns its thread: sixty frames a second, and between them a control page whose WebSocket shows and edits its
//! values while it runs.
//!
//! ```sh
//! cargo run --example frame_loop            # open the address that it prints
//! cargo run --example frame_loop -- --check # a client is busy for five seconds, then it tells what the frames took
//! ```

use std::{
    cell::{Cell, RefCell},
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use lute_net::Runtime;
use rustix::time::{ClockId, clock_gettime};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// What the network may have of a frame.
const BUDGET: Duration = Duration::from_millis(4);

/// What one resume or one task of the network's takes at the most, with much to spare: a step looks at its budget in between.
const CHUNK: Duration = Duration::from_millis(4);

/// What the page shows and edits.
#[derive(Default)]
struct Ball {
    speed: Cell<f64>,
    position: Cell<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let check = std::env::args().any(|argument| argument == "--check");
    let ball = Rc::new(Ball::default());
    ball.speed.set(1.0);
    let address = Rc::new(RefCell::new(String::new()));
    let runtime = Runtime::builder()
        .module("@tool/ball", {
            let (ball, address) = (ball.clone(), address.clone());
            move |module| {
                let (get, set, served) = (ball.clone(), ball.clone(), address.clone());
                module.function("get", move |_, ()| {
                    Ok::<_, String>((get.speed.get(), get.position.get()))
                })?;
                module.function("setSpeed", move |_, speed: f64| {
                    if !(0.0..=10.0).contains(&speed) {
                        return Err(format!("the speed is from 0 to 10, not {speed}"));
                    }
                    set.speed.set(speed);
                    Ok(())
                })?;
                module.function("serves", move |_, address: String| {
                    *served.borrow_mut() = address;
                    Ok::<_, String>(())
                })
            }
        })
        .build()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tool/control.luau");
    runtime.load_file(script.as_ref(), &[])?;
    let address = address.borrow().clone();
    println!("control page on http://{address}/");

    let clients = check.then(|| Clients::start(&address));
    let page = check.then(|| Page::open(&address));
    let mut frames = Frames::default();
    while !check || frames.count < 300 {
        let began = Instant::now();
        ball.position
            .set((ball.position.get() + ball.speed.get() / 60.0) % 10.0);
        let (step, processor) = (Instant::now(), processor_time());
        runtime.step(BUDGET)?;
        frames.note(step.elapsed(), processor_time() - processor);
        // Here the tool would draw.
        thread::sleep(FRAME.saturating_sub(began.elapsed()));
    }
    let (Some(clients), Some(page)) = (clients, page) else {
        return Ok(());
    };
    let shown = page.shown()?;
    let answers = clients.stop();
    println!("{frames}; {answers} requests answered meanwhile");
    println!("the page showed {shown}");
    if frames.longest_on_processor > BUDGET + CHUNK {
        return Err("a step did not keep its budget".into());
    }
    if !shown.starts_with("7.5 ") {
        return Err("the page did not edit the speed".into());
    }
    if answers == 0 || runtime.uncaught_errors() > 0 {
        return Err("the page did not answer".into());
    }
    Ok(())
}

/// The time that this thread has had of the processor: on a busy machine a step may have to wait for its turn.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What the steps took of the frames.
#[derive(Default)]
struct Frames {
    count: u32,
    longest: Duration,
    longest_on_processor: Duration,
    missed: u32,
}

impl Frames {
    fn note(&mut self, step: Duration, on_processor: Duration) {
        self.count += 1;
        self.longest = self.longest.max(step);
        self.longest_on_processor = self.longest_on_processor.max(on_processor);
        self.missed += u32::from(step > FRAME);
    }
}

impl std::fmt::Display for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            count,
            longest,
            longest_on_processor,
            missed,
        } = self;
        write!(
            f,
            "{count} frames, {missed} missed; the longest step took {longest:?}, {longest_on_processor:?} of the processor at the most"
        )
    }
}

/// Clients that keep the page busy from threads of their own.
struct Clients {
    threads: Vec<thread::JoinHandle<()>>,
    answers: Arc<AtomicU32>,
    over: Arc<AtomicBool>,
}

impl Clients {
    fn start(address: &str) -> Self {
        let (answers, over) = (
            Arc::new(AtomicU32::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let threads = (0..8).map(|_| {
            let (answers, over, address) = (answers.clone(), over.clone(), address.to_owned());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if ask(&address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        Self {
            threads: threads.collect(),
            answers,
            over,
        }
    }

    fn stop(self) -> u32 {
        self.over.store(true, Ordering::Relaxed);
        // Those that wait for an answer now get none: their threads end with the program.
        drop(self.threads);
        self.answers.load(Ordering::Relaxed)
    }
}

/// What the page does in a browser: sets the speed by its WebSocket until it sees that.
struct Page(thread::JoinHandle<std::io::Result<String>>);

impl Page {
    fn open(address: &str) -> Self {
        let address = address.to_owned();
        Self(thread::spawn(move || {
            let mut socket = TcpStream::connect(&address)?;
            let handshake = format!(
                "GET /control HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            );
            socket.write_all(handshake.as_bytes())?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(read::<1>(&mut socket)?[0]);
            }
            // The text `7.5`, masked with zeros.
            socket.write_all(b"\x81\x83\0\0\0\x007.5")?;
            loop {
                let [_, length] = read(&mut socket)?;
                let mut values = vec![0; length.into()];
                socket.read_exact(&mut values)?;
                let values = String::from_utf8_lossy(&values).into_owned();
                if values.starts_with("7.5 ") {
                    return Ok(values);
                }
            }
        }))
    }

    fn shown(self) -> Result<String, Box<dyn Error>> {
        if !self.0.is_finished() {
            return Err("the page shows nothing".into());
        }
        Ok(self.0.join().map_err(|_| "the page panicked")??)
    }
}

fn read<const N: usize>(socket: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
