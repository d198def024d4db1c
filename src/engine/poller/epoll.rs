//! epoll by way of rustix, which needs no `unsafe`: a descriptor that is closed leaves an epoll by itself.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::{Errno, read, write},
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create,
        timerfd_settime,
    },
};

use super::{Event, Interest, OWN_KEY};

/// What a read can tell of. HUP and ERR come in any case; urgent data (PRI) is nothing that anybody here reads, so it would be told
/// of for ever.
const READ: epoll::EventFlags = epoll::EventFlags::IN;

/// Shorter waits are timed exactly; longer ones end within the millisecond before their time, so the next is a shorter one.
const COARSE: Duration = Duration::from_millis(1);

/// An epoll, and what ends its waits.
pub struct Poller {
    epoll: OwnedFd,
    alarm: OwnedFd,
    timer: OwnedFd,
}

/// Room for events.
pub struct Events(Vec<epoll::Event>);

impl Events {
    /// Room for so many at once.
    pub fn with_capacity(most: NonZeroUsize) -> Self {
        Self(Vec::with_capacity(most.get()))
    }

    /// Those of the last wait.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        let events = self.0.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            let hung_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            Event {
                key: data.u64() as usize,
                readable: hung_up || flags.intersects(READ),
                writable: hung_up || flags.contains(epoll::EventFlags::OUT),
                hung_up,
            }
        });
        events.filter(|event| event.key != OWN_KEY)
    }
}

impl Poller {
    /// A poller without descriptors.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let poller = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            alarm: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            timer: timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
        };
        for own in [&poller.alarm, &poller.timer] {
            let interest = Interest {
                read: true,
                write: false,
            };
            poller.add(own.as_fd(), OWN_KEY, interest)?;
        }
        Ok(poller)
    }

    /// Adds a descriptor; its events come with `key`, which is not [`OWN_KEY`].
    ///
    /// # Errors
    /// When the system refuses (no memory, too many watches).
    pub fn add(
        &self,
        descriptor: BorrowedFd<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            descriptor,
            data(key),
            flags(interest),
        )?)
    }

    /// Changes what a descriptor is waited for.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn modify(
        &self,
        descriptor: BorrowedFd<'_>,
        key: usize,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            descriptor,
            data(key),
            flags(interest),
        )?)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// When it is not in.
    pub fn delete(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, descriptor)?)
    }

    /// Fills `events` with what there is, and waits until there is something: at most `timeout` (for ever with `None`), and
    /// maybe a little less.
    ///
    /// # Errors
    /// When the system's poller fails.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = match timeout {
            Some(exact) if !exact.is_zero() && exact < COARSE => {
                self.set_timer(exact)?;
                None
            }
            Some(time) => Some(whole_milliseconds(time)),
            None => None,
        };
        events.0.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if events
            .0
            .iter()
            .any(|event| { event.data }.u64() == OWN_KEY as u64)
        {
            self.quiet()?;
        }
        Ok(())
    }

    /// Ends a wait, this one or else the next. From any thread.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn notify(&self) -> io::Result<()> {
        match write(&self.alarm, &1_u64.to_ne_bytes()) {
            // So many notifications that the counter is full are one.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_timer(&self, time: Duration) -> io::Result<()> {
        let value = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: time.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// Takes note of an alarm and of the timer.
    fn quiet(&self) -> io::Result<()> {
        for own in [&self.alarm, &self.timer] {
            match read(own, &mut [0_u8; 8]) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn data(key: usize) -> epoll::EventData {
    epoll::EventData::new_u64(key as u64)
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    if interest.read {
        flags |= READ;
    }
    if interest.write {
        flags |= epoll::EventFlags::OUT;
    }
    flags
}

/// Rounded down, and never beyond what the system's call can take, a day being plenty.
fn whole_milliseconds(time: Duration) -> Timespec {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let time = time.min(LONGEST);
    Timespec {
        tv_sec: time.as_secs() as _,
        tv_nsec: (time.subsec_millis() * 1_000_000).into(),
    }
}
