//! `lute-net run --workers N`: the supervisor, and what ties a worker to it.
//!
//! Workers are this program started anew, each in a process group of its own: Ctrl-C at a terminal signals the whole
//! group of the supervisor, and a worker that got it twice would take it for the second signal. Their stdin is a pipe in
//! which nothing comes: it ends when the supervisor does, even by SIGKILL.

use std::{
    env, io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use lute_net::Builder;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::SIGTERM, low_level};

use super::{log::Log, run, signals::Signals};

/// The pause before a worker is started again doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A worker that ran for this long could load its script: its failure is no longer in a row with those before.
const LASTING: Duration = Duration::from_secs(10);

/// Failures in a row of every worker that show that the script can't run at all.
const HOPELESS: u32 = 5;

/// How long handlers may still answer when the supervisor is gone: nobody is left to send a second signal.
const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// Keeps `count` workers running until all have ended with exit code 0 or a signal has stopped them. Exit code 0; 1 when
/// the script can't be kept running, or when a worker failed while it was stopped; 128 + N after a second signal N.
pub fn supervise(count: u16, script: &Path, arguments: &[String], log: Log) -> ExitCode {
    let supervised = Supervisor::new(count, script, arguments, log).and_then(Supervisor::run);
    supervised.unwrap_or_else(|error| {
        eprintln!("lute-net: cannot supervise workers: {error}");
        ExitCode::FAILURE
    })
}

/// Runs the script as a worker: not for long without a supervisor.
pub fn work(builder: Builder, script: &Path, arguments: &[String]) -> ExitCode {
    // A thread, because it also ends a script that never lets the runtime look at its sockets.
    let watching = thread::Builder::new().spawn(end_with_supervisor);
    if let Err(error) = watching {
        eprintln!("lute-net: cannot watch the supervisor: {error}");
        return ExitCode::FAILURE;
    }
    run::run(builder, script, arguments)
}

fn end_with_supervisor() {
    // Whether stdin ended or failed makes no difference: there is no supervisor behind it.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    // Fails for no signal that exists.
    let _ = low_level::raise(SIGTERM);
    thread::sleep(ORPHAN_GRACE);
    low_level::exit(1);
}

struct Supervisor {
    command: Command,
    signals: Signals,
    workers: Vec<Worker>,
    /// Whether a worker has ever been [`LASTING`].
    lasted: bool,
    /// The exit code, once no worker is started any more.
    stopping: Option<ExitCode>,
}

impl Supervisor {
    fn new(count: u16, script: &Path, arguments: &[String], log: Log) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["run", "--worker", "--log", log.name(), "--"])
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .process_group(0);
        Ok(Self {
            command,
            signals: Signals::catch()?,
            workers: (1..=count).map(Worker::new).collect(),
            lasted: false,
            stopping: None,
        })
    }

    fn run(mut self) -> io::Result<ExitCode> {
        loop {
            for signal in self.signals.take_stops() {
                if self.stopping.is_some() {
                    self.workers.iter_mut().for_each(Worker::kill);
                    let code = u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from);
                    return Ok(code);
                }
                self.stopping = Some(ExitCode::SUCCESS);
                self.workers.iter_mut().for_each(Worker::stop);
            }
            self.take_notice_of_ends();
            self.give_up_if_hopeless();
            self.start_due();
            if self.workers.iter().all(Worker::has_ended) {
                return Ok(self.stopping.unwrap_or(ExitCode::SUCCESS));
            }
            let next_start = self.workers.iter().filter_map(Worker::next_start).min();
            self.signals.wait(next_start)?;
        }
    }

    fn take_notice_of_ends(&mut self) {
        for worker in &mut self.workers {
            let Some(end) = worker.take_end() else {
                continue;
            };
            self.lasted |= end.ran >= LASTING;
            let stopped = self.stopping.is_some();
            // A worker that is stopped before it has caught SIGTERM dies of it.
            if end.status.success() || stopped && end.status.signal() == Some(SIGTERM) {
                continue;
            }
            let next = if stopped {
                self.stopping = Some(ExitCode::FAILURE);
                String::new()
            } else {
                let pause = worker.pause_after(end.ran).as_secs_f32();
                format!("; it is started again in {pause} s")
            };
            eprintln!(
                "lute-net: worker {} (process {}) ended with {}{next}",
                worker.number, end.process, end.status
            );
        }
    }

    fn give_up_if_hopeless(&mut self) {
        let mut left = self
            .workers
            .iter()
            .filter(|worker| !worker.has_ended())
            .peekable();
        if self.stopping.is_some() || self.lasted || left.peek().is_none() {
            return;
        }
        if left.any(|worker| worker.failures_in_a_row() < HOPELESS) {
            return;
        }
        eprintln!(
            "lute-net: giving up: every worker failed {HOPELESS} times in a row, before it had run for {} s",
            LASTING.as_secs()
        );
        self.stopping = Some(ExitCode::FAILURE);
        self.workers.iter_mut().for_each(Worker::stop);
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            if worker.next_start().is_none_or(|start| start > now) {
                continue;
            }
            match self.command.spawn() {
                Ok(child) => worker.state = State::Running { child, since: now },
                Err(error) => {
                    let pause = worker.pause_after(Duration::ZERO).as_secs_f32();
                    let number = worker.number;
                    eprintln!(
                        "lute-net: cannot start worker {number}: {error}; next try in {pause} s"
                    );
                }
            }
        }
    }
}

/// One of the N, through all the processes it is in turn.
struct Worker {
    /// From 1.
    number: u16,
    failures: u32,
    state: State,
}

enum State {
    Due(Instant),
    /// The child holds the pipe that ties it to this process.
    Running {
        child: Child,
        since: Instant,
    },
    Ended,
}

/// How a worker's process ended.
struct End {
    process: u32,
    status: ExitStatus,
    ran: Duration,
}

impl Worker {
    fn new(number: u16) -> Self {
        Self {
            number,
            failures: 0,
            state: State::Due(Instant::now()),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    fn next_start(&self) -> Option<Instant> {
        match self.state {
            State::Due(start) => Some(start),
            _ => None,
        }
    }

    fn failures_in_a_row(&self) -> u32 {
        match &self.state {
            State::Running { since, .. } if since.elapsed() >= LASTING => 0,
            _ => self.failures,
        }
    }

    /// How its process ended, when it just has; it is then not started again unless [`Self::pause_after`] says so.
    fn take_end(&mut self) -> Option<End> {
        let State::Running { child, since } = &mut self.state else {
            return None;
        };
        let end = End {
            process: child.id(),
            status: child.try_wait().ok().flatten()?,
            ran: since.elapsed(),
        };
        self.state = State::Ended;
        Some(end)
    }

    /// Has it started again after a failure of a process that `ran` so long; how long the pause is until then.
    fn pause_after(&mut self, ran: Duration) -> Duration {
        if ran >= LASTING {
            self.failures = 0;
        }
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
        let pause = doubled.min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Due(Instant::now() + pause);
        pause
    }

    /// Lets it answer and end; one that pauses is not started again.
    fn stop(&mut self) {
        match &self.state {
            // Fails when the process has just ended, which is what is wanted.
            State::Running { child, .. } => {
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
            }
            _ => self.state = State::Ended,
        }
    }

    /// Ends it at once, and waits until it is gone.
    fn kill(&mut self) {
        if let State::Running { child, .. } = &mut self.state {
            // Both fail only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_starts_anew_after_a_lasting_run() {
        let mut worker = Worker::new(1);
        let quick = Duration::from_millis(1);
        let pauses: Vec<_> = (0..8)
            .map(|_| worker.pause_after(quick).as_millis())
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(worker.failures_in_a_row(), 8);
        assert_eq!(worker.pause_after(LASTING), FIRST_PAUSE);
        assert_eq!(worker.failures_in_a_row(), 1);
        worker.failures = u32::MAX;
        assert_eq!(worker.pause_after(quick), LONGEST_PAUSE);
    }
}
