//! A network that does what networks do: it stands between the two ends of a connection.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::support::PATIENCE;

/// What happens to the bytes of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// They pass.
    Free,
    /// Each read of them is passed on so much later.
    Delayed(Duration),
    /// They pass one at a time.
    Trickle,
    /// After so many nothing passes any more, not even an end; the connection stays as it is.
    Lost(usize),
    /// After so many both ends see the connection end.
    Cut(usize),
    /// They pass with the end that follows them, all at once.
    HeldUntilTheEnd,
    /// After so many both ends see a reset, which may overtake what is still on its way.
    Reset(usize),
}

/// The way of a connection: from who connected, and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub there: Passage,
    pub back: Passage,
}

/// Listens, and connects each client with `target` through a network.
pub struct Proxy {
    pub port: u16,
    passed: Arc<[AtomicUsize; 2]>,
}

impl Proxy {
    /// The thread that listens ends with the process: it is a test's.
    pub fn start(target: u16, network: Network) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let passed = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counts = passed.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else {
                    return;
                };
                connect(client.unwrap(), server, network, &counts);
            }
        });
        Self { port, passed }
    }

    /// Bytes that have come, there and back.
    pub fn passed(&self) -> (usize, usize) {
        let [there, back] = &*self.passed;
        (there.load(Ordering::Relaxed), back.load(Ordering::Relaxed))
    }
}

fn connect(client: TcpStream, server: TcpStream, network: Network, counts: &Arc<[AtomicUsize; 2]>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let ended = Arc::new(AtomicBool::new(false));
    for (direction, passage) in [network.there, network.back].into_iter().enumerate() {
        let ends = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let (from, to) = if direction == 0 {
            ends
        } else {
            (ends.1, ends.0)
        };
        let (counts, ended) = (counts.clone(), ended.clone());
        // An error is an end that has left: nothing else is to be done.
        thread::spawn(move || {
            let _ = pass(from, to, passage, &counts[direction], &ended);
        });
    }
}

fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    passage: Passage,
    count: &AtomicUsize,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut held, mut passed) = (Vec::new(), 0);
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        if ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        count.fetch_add(read, Ordering::Relaxed);
        let bytes = &buffer[..read];
        let left = |limit: usize| limit.saturating_sub(passed).min(read);
        match passage {
            Passage::Free => to.write_all(bytes)?,
            Passage::Delayed(time) => {
                thread::sleep(time);
                to.write_all(bytes)?;
            }
            Passage::Trickle => {
                for byte in bytes {
                    to.write_all(&[*byte])?;
                }
            }
            Passage::HeldUntilTheEnd => {
                held.extend_from_slice(bytes);
                if read == 0 {
                    to.write_all(&held)?;
                }
            }
            Passage::Lost(limit) => to.write_all(&bytes[..left(limit)])?,
            Passage::Cut(limit) | Passage::Reset(limit) => {
                to.write_all(&bytes[..left(limit)])?;
                if passed + read >= limit {
                    ended.store(true, Ordering::Relaxed);
                    return end(&from, &to, passage);
                }
            }
        }
        passed += read;
        if read == 0 {
            if !matches!(passage, Passage::Lost(_)) {
                to.shutdown(Shutdown::Write)?;
            }
            return Ok(());
        }
    }
}

/// Ends the connection. The other direction's thread wakes and lets go of the sockets too, which closes them.
fn end(from: &TcpStream, to: &TcpStream, passage: Passage) -> std::io::Result<()> {
    for stream in [from, to] {
        if matches!(passage, Passage::Reset(_)) {
            SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            stream.shutdown(Shutdown::Read)?;
        } else {
            stream.shutdown(Shutdown::Both)?;
        }
    }
    Ok(())
}
