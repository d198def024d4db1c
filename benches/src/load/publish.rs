//! One WebSocket sends a message, all the others get it; then the next one.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

use super::answers::Answers;
use super::frames::{self, Echoes};
use super::latency::Latency;
use super::stream::{Stream, Target};
use super::{Drive, Tally};

/// A message that has not reached everybody by then never will.
const DELIVERY_TIMEOUT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

pub struct Publication {
    epoll: OwnedFd,
    events: Vec<Event>,
    publisher: Stream,
    subscribers: Vec<(Stream, Echoes)>,
    frame: Vec<u8>,
}

impl Publication {
    /// Opens a publisher and `subscribers` more WebSockets.
    pub fn open(target: &Target, subscribers: usize, message_bytes: usize) -> Result<Self> {
        let payload = frames::message(message_bytes);
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
        let websocket = || -> Result<Stream> {
            let mut stream = target.connect()?;
            frames::handshake(&mut stream)?;
            Ok(stream)
        };
        let mut streams = Vec::with_capacity(subscribers);
        for index in 0..subscribers {
            let stream = websocket()?;
            stream.stop_blocking()?;
            epoll::add(
                &epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )
            .context("epoll")?;
            streams.push((stream, Echoes::new(&payload)));
        }
        Ok(Self {
            epoll,
            events: Vec::with_capacity(1024),
            publisher: websocket()?,
            subscribers: streams,
            frame: frames::masked(&payload),
        })
    }

    /// Waits for some deliveries, and returns how many there were.
    fn deliveries(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.events.clear();
        let events = rustix::buffer::spare_capacity(&mut self.events);
        if epoll::wait(&self.epoll, events, Some(&DELIVERY_TIMEOUT)).context("epoll")? == 0 {
            bail!("a message did not reach every subscriber");
        }
        let mut delivered = 0;
        for event in &self.events {
            let (stream, echoes) = &mut self.subscribers[event.data.u64() as usize];
            match stream.read(buffer) {
                Ok(0) => bail!("the server closed a WebSocket"),
                Ok(count) => delivered += echoes.take(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("connection lost"),
            }
        }
        Ok(delivered)
    }
}

impl Drive for Publication {
    fn run(&mut self, duration: Duration) -> Result<Tally> {
        let begin = Instant::now();
        let mut tally = Tally {
            answers: 0,
            elapsed: Duration::ZERO,
            latency: Latency::new(),
        };
        let mut buffer = vec![0; 16 * 1024];
        while begin.elapsed() < duration {
            let sent_at = Instant::now();
            self.publisher
                .write_all(&self.frame)
                .context("connection lost")?;
            let mut missing = self.subscribers.len();
            while missing > 0 {
                let delivered = self.deliveries(&mut buffer)?;
                missing = missing
                    .checked_sub(delivered)
                    .context("more deliveries than subscribers")?;
                tally.answers += delivered as u64;
                tally.latency.record(sent_at.elapsed(), delivered as u64);
            }
        }
        tally.elapsed = begin.elapsed();
        Ok(tally)
    }
}
