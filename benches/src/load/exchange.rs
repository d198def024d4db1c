//! The usual load: every connection sends a batch, waits for all answers to it, and sends the next one.

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

pub struct Exchange<A> {
    epoll: OwnedFd,
    events: Vec<Event>,
    lanes: Vec<Lane<A>>,
    batch: Vec<u8>,
    depth: usize,
    buffer: Vec<u8>,
}

struct Lane<A> {
    stream: Stream,
    answers: A,
    /// How much of the batch is still to be written.
    unsent: usize,
    /// How many answers to the batch are still to come; 0 before the first batch.
    awaited: usize,
    sent_at: Instant,
    wants_to_write: bool,
}

impl<A: Answers> Exchange<A> {
    /// Over `streams`, `depth` times `request` at a time.
    pub fn new(streams: Vec<(Stream, A)>, request: &[u8], depth: usize) -> Result<Self> {
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
            let sent_at = Instant::now();
            lanes.push(Lane {
                stream,
                answers,
                unsent: 0,
                awaited: 0,
                sent_at,
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
            buffer: vec![0; READ_BUFFER],
        })
    }

    fn send_batch(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        lane.unsent = self.batch.len();
        lane.awaited = self.depth;
        lane.sent_at = Instant::now();
        self.write(index)
    }

    /// Writes what the socket takes, and asks to be told when it takes more.
    fn write(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        while lane.unsent > 0 {
            match lane
                .stream
                .write(&self.batch[self.batch.len() - lane.unsent..])
            {
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

    /// Reads once, or from TLS until nothing is left, and goes on with the next batch when this one is answered.
    fn read(&mut self, index: usize, tally: &mut Tally) -> Result<()> {
        loop {
            let lane = &mut self.lanes[index];
            let count = match lane.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("connection lost"),
            };
            let answered = lane.answers.take(&self.buffer[..count])?;
            if answered > lane.awaited {
                bail!("more answers than requests");
            }
            if answered > 0 {
                lane.awaited -= answered;
                tally.answers += answered as u64;
                tally
                    .latency
                    .record(lane.sent_at.elapsed(), answered as u64);
                if lane.awaited == 0 {
                    self.send_batch(index)?;
                }
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
        let idle: Vec<usize> = (0..self.lanes.len())
            .filter(|&index| self.lanes[index].awaited == 0)
            .collect();
        for index in idle {
            self.send_batch(index)?;
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
