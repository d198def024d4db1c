//! SIGINT and SIGTERM: the first one stops gracefully, the second one at once.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use lute_net::{Runtime, engine::reactor::Direction};
use signal_hook::{
    consts::{SIGCHLD, SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};
use smol::Task;

/// Stops `runtime` when a signal comes; a second one ends the process. Watches until the returned task is dropped.
pub fn stop_on_signal(runtime: &Rc<Runtime>) -> io::Result<Task<()>> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    let came = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal writes, finds the flag unset and sets it; the second one ends the process. One
        // that comes between these lines is not lost, as the write stands first.
        pipe::register(signal, writer.try_clone()?)?;
        flag::register_conditional_shutdown(signal, 128 + signal, came.clone())?;
        flag::register(signal, came.clone())?;
    }
    let reader = runtime.engine().reactor().watch(reader)?;
    let weak = Rc::downgrade(runtime);
    Ok(runtime.engine().spawn(async move {
        while reader.ready(Direction::Read).await.is_ok() {
            let came = matches!(reader.get().read(&mut [0; 16]), Ok(count) if count > 0);
            if let Some(runtime) = weak.upgrade().filter(|_| came) {
                runtime.stop();
            }
        }
    }))
}

/// SIGINT, SIGTERM and the end of child processes, for a process that has no runtime.
pub struct Signals {
    reader: UnixStream,
    writer: UnixStream,
    stops: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// Catches the signals from here on.
    pub fn catch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        let mut stops = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            let came = Arc::new(AtomicBool::new(false));
            // The flag stands first: who is woken by the write finds it set.
            flag::register(signal, came.clone())?;
            pipe::register(signal, writer.try_clone()?)?;
            stops.push((signal, came));
        }
        pipe::register(SIGCHLD, writer.try_clone()?)?;
        Ok(Self {
            reader,
            writer,
            stops,
        })
    }

    /// What another thread wakes [`Self::wait`] with.
    pub fn alarm(&self) -> io::Result<Alarm> {
        Ok(Alarm(self.writer.try_clone()?))
    }

    /// Sleeps until a signal has come since the last call, or until `deadline`; may return early.
    pub fn wait(&self, deadline: Option<Instant>) -> io::Result<()> {
        // The system takes no timeout of zero.
        let timeout = deadline.map(|deadline| {
            deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1))
        });
        self.reader.set_read_timeout(timeout)?;
        // A timeout or an interruption is as good a reason to look as a byte is.
        let _ = (&self.reader).read(&mut [0; 64]);
        Ok(())
    }

    /// Those of SIGINT and SIGTERM that came since the last call.
    pub fn take_stops(&self) -> impl Iterator<Item = i32> {
        self.stops
            .iter()
            .filter(|(_, came)| came.swap(false, Ordering::SeqCst))
            .map(|(signal, _)| *signal)
    }
}

/// Ends a [`Signals::wait`].
pub struct Alarm(UnixStream);

impl Alarm {
    /// Wakes whoever waits, now or next.
    pub fn ring(&self) {
        // When it is full, there is enough in it to wake somebody.
        let _ = (&self.0).write(&[1]);
    }
}
