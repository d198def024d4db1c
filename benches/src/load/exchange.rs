//! The usual load: every connection keeps requests in flight, and sends the next ones when they are answered.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use super::answers::Answers;
use super::latency::Latency;
use super::stream::Stream;
use super::{Drive, Tally};

const READ_BUFFER: usize = 256 * 1024;

/// All connections silent for so long: the server hangs.
const SILENCE: Duration = Duration::from_secs(10);

/// How many requests of each connection are in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// So many in one write, and the next ones when all are answered.
    Together(usize),
    /// So many, each in a write of its own, and the next one when one is answered: programs send so what has nothing to do with
    /// each other.
    Apart(usize),
}

pub struct Exchange<A> {
    epoll: OwnedFd,
    events: Vec<Event>,
    lanes: Vec<Lane<A>>,
    /// What one write sends.
    batch: Vec<u8>,
    /// Requests in it.
    depth: usize,
    /// Batches in flight.
    batches: usize,
    buffer: Vec<u8>,
}

struct Lane<A> {
    stream: Stream,
    answers: A,
    /// How much of the last batches is still to be written.
    unsent: usize,
    /// The batches in flight: when each was sent, and how many answers to it are still to come.
    sent: VecDeque<(Instant, usize)>,
    wants_to_write: bool,
}

impl<A: Answers> Exchange<A> {
    /// Over `streams`, each with so many of `request`.
    pub fn new(streams: Vec<(Stream, A)>, request: &[u8], in_flight: InFlight) -> Result<Self> {
        let (batches, depth) = match in_flight {
            InFlight::Together(depth) => (1, depth),
            InFlight::Apart(batches) => (batches, 1),
        };
        let epoll = epoll::create(CreateFlags::CLOEXEC).context("epoll")?;
        let mut lanes = Vec::with_capacity(streams.len());
        for (index, (stream, answers)) in streams.into_iter().enumerate() {
            stream.stop_blocking()?;
            epoll::add(
                &epoll,
                &stream,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )
            .context("epoll")?;
            lanes.push(Lane {
                stream,
                answers,
                unsent: 0,
                sent: VecDeque::with_capacity(batches),
                wants_to_write: false,
            });
        }
        let events = Vec::with_capacity(lanes.len().min(1024));
        Ok(Self {
            epoll,
            events,
            lanes,
            batch: request.repeat(depth),
            depth,
            batches,
            buffer: vec![0; READ_BUFFER],
        })
    }

    /// Sends the batches that are not in flight.
    fn send_batches(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        while lane.sent.len() < self.batches {
            lane.unsent += self.batch.len();
            lane.sent.push_back((Instant::now(), self.depth));
        }
        self.write(index)
    }

    /// Writes what the socket takes, batch by batch, and asks to be told when it takes more.
    fn write(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        while lane.unsent > 0 {
            let rest = (lane.unsent - 1) % self.batch.len() + 1;
            match lane.stream.write(&self.batch[self.batch.len() - rest..]) {
                Ok(count) => lane.unsent -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("connection lost while sending"),
            }
        }
        let wants_to_write = lane.unsent > 0;
        if wants_to_write != lane.wants_to_write {
            lane.wants_to_write = wants_to_write;
            let flags = if wants_to_write {
                EventFlags::IN | EventFlags::OUT
            } else {
                EventFlags::IN
            };
            epoll::modify(
                &self.epoll,
                &lane.stream,
                EventData::new_u64(index as u64),
                flags,
            )
            .context("epoll")?;
        }
        Ok(())
    }

    /// Reads once, or from TLS until nothing is left, and sends the next batches for those that are answered.
    fn read(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        loop {
            let lane = &mut self.lanes[index];
            let count = match lane.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("connection lost"),
            };
            let mut answered = lane.answers.take(&self.buffer[..count])?;
            tally.answers += answered as u64;
            let before = lane.sent.len();
            while answered > 0 {
                let Some((sent_at, awaited)) = lane.sent.front_mut() else {
                    bail!("more answers than requests");
                };
                let of_batch = answered.min(*awaited);
                tally.latency.record(sent_at.elapsed(), of_batch as u64);
                answered -= of_batch;
                *awaited -= of_batch;
                if *awaited == 0 {
                    lane.sent.pop_front();
                }
            }
            if lane.sent.len() < before {
                self.send_batches(index)?;
            }
            if !self.lanes[index].stream.buffers() {
                return Ok(());
            }
        }
    }
}

impl<A: Answers> Drive for Exchange<A> {
    fn run(&mut self, duration: Duration) -> Result<Tally> {
        let begin = Instant::now();
        let mut tally = Tally {
            answers: 0,
            elapsed: Duration::ZERO,
            latency: Latency::new(),
        };
        for index in 0..self.lanes.len() {
            self.send_batches(index)?;
        }
        let mut last_event = begin;
        loop {
            let now = Instant::now();
            if now - begin >= duration {
                break;
            }
            self.events.clear();
            // It asks again at once instead of sleeping: a server would pay for waking it, the more the faster it answers
            // compared with the generator, and rows could not be compared.
            let timeout = rustix::event::Timespec::default();
            let waited = epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut self.events),
                Some(&timeout),
            );
            match waited {
                Ok(0) if last_event.elapsed() >= SILENCE => bail!("no answer for {SILENCE:?}"),
                Ok(0) => thread::yield_now(),
                Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => last_event = now,
                Err(error) => return Err(error).context("epoll"),
            }
            let events = std::mem::take(&mut self.events);
            for event in &events {
                let index = event.data.u64() as usize;
                let flags = event.flags;
                if flags.contains(EventFlags::OUT) {
                    self.write(index)?;
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.read(index, &mut tally)?;
                }
            }
            self.events = events;
        }
        tally.elapsed = begin.elapsed();
        if tally.answers == 0 {
            bail!("no answer within {duration:?}");
        }
        Ok(tally)
    }
}
