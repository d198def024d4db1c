//! `lute-net run --watch`: runs the script, and starts it again when its code changes.

use std::{
    env, fs, io, mem,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    log::Log,
    signals::{Alarm, Signals},
};

/// Editors write a file in several steps, and several files at once.
const SETTLING: Duration = Duration::from_millis(50);

/// How long handlers may still answer before the script is started again.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the script until a signal comes. Exit code 0; 128 + N after a second signal N.
pub fn watch(script: &Path, arguments: &[String], log: Log) -> ExitCode {
    let watched = Watch::new(script, arguments, log).and_then(Watch::run);
    watched.unwrap_or_else(|error| {
        eprintln!("lute-net: cannot watch the script: {error}");
        ExitCode::FAILURE
    })
}

struct Watch {
    command: Command,
    signals: Signals,
    changes: Changes,
    child: Option<Child>,
}

impl Watch {
    fn new(script: &Path, arguments: &[String], log: Log) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        // As a worker: in a process group of its own, and tied to this process by its stdin.
        command
            .args(["run", "--watched", "--log", log.name(), "--"])
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .process_group(0);
        let signals = Signals::catch()?;
        let changes = Changes::of(&root(script)?, signals.alarm()?)?;
        Ok(Self {
            command,
            signals,
            changes,
            child: None,
        })
    }

    fn run(mut self) -> io::Result<ExitCode> {
        self.child = Some(self.command.spawn()?);
        loop {
            self.signals.wait(None)?;
            if self.signals.take_stops().next().is_some() {
                return self.stop();
            }
            if let Some(path) = self.changes.take() {
                eprintln!("lute-net: {} changed: starting again", path.display());
                thread::sleep(SETTLING);
                self.changes.take();
                self.end_child()?;
                self.child = Some(self.command.spawn()?);
            }
            self.take_notice_of_end();
        }
    }

    fn take_notice_of_end(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        if let Ok(Some(status)) = child.try_wait() {
            self.child = None;
            eprintln!(
                "lute-net: the script ended with {status}; it is started again when it changes"
            );
        }
    }

    /// Lets the script answer and end, and ends it when that takes too long.
    fn end_child(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        terminate(&child);
        let deadline = Instant::now() + GRACE;
        while child.try_wait()?.is_none() {
            if Instant::now() >= deadline {
                // Fails only when it has just ended.
                let _ = child.kill();
                child.wait()?;
                return Ok(());
            }
            self.signals.wait(Some(deadline))?;
        }
        Ok(())
    }

    /// Lets the script answer and end; at a second signal ends it at once.
    fn stop(mut self) -> io::Result<ExitCode> {
        let Some(mut child) = self.child.take() else {
            return Ok(ExitCode::SUCCESS);
        };
        terminate(&child);
        while child.try_wait()?.is_none() {
            self.signals.wait(None)?;
            if let Some(signal) = self.signals.take_stops().next() {
                let _ = child.kill();
                child.wait()?;
                let code = u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from);
                return Ok(code);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Fails when the process has just ended, which is what is wanted.
fn terminate(child: &Child) {
    let _ = kill_process(Pid::from_child(child), Signal::TERM);
}

/// The nearest folder above the script that has a `.luaurc`, since its aliases start there; else the script's own.
fn root(script: &Path) -> io::Result<PathBuf> {
    let script = fs::canonicalize(script)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", script.display())))?;
    let own = script.parent().unwrap_or(&script);
    let configured = own
        .ancestors()
        .find(|folder| folder.join(".luaurc").is_file());
    Ok(configured.unwrap_or(own).to_owned())
}

/// Luau files below a folder that were written, made or removed.
struct Changes {
    root: PathBuf,
    watcher: RecommendedWatcher,
    seen: Arc<Mutex<Vec<PathBuf>>>,
}

impl Changes {
    /// Watches from now on; the alarm wakes whoever takes the changes.
    fn of(root: &Path, alarm: Alarm) -> io::Result<Self> {
        let seen = Arc::<Mutex<Vec<PathBuf>>>::default();
        let noted = seen.clone();
        let note = move |event: notify::Result<Event>| {
            let Ok(event) = event else {
                return;
            };
            if matches!(event.kind, EventKind::Access(_)) {
                return;
            }
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.extend(event.paths);
            alarm.ring();
        };
        let mut changes = Self {
            root: root.to_owned(),
            watcher: notify::recommended_watcher(note).map_err(io::Error::other)?,
            seen,
        };
        changes
            .watcher
            .watch(root, RecursiveMode::NonRecursive)
            .map_err(io::Error::other)?;
        changes.watch_inside(root);
        Ok(changes)
    }

    /// One of the files that changed since the last call.
    fn take(&mut self) -> Option<PathBuf> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let paths = mem::take(&mut *seen);
        drop(seen);
        let mut changed = None;
        for path in paths {
            if is_code(&path) || path.is_dir() && self.watch_folder(&path) {
                changed = Some(path);
            }
        }
        changed.map(|path| match path.strip_prefix(&self.root) {
            Ok(inner) => inner.to_owned(),
            Err(_) => path,
        })
    }

    /// Watches a folder and those in it; whether there is code in them. One by one, so that folders which are full of other
    /// things cost nothing. What can't be read, or is gone by now, can't be required either.
    fn watch_folder(&mut self, folder: &Path) -> bool {
        if is_skipped(folder) {
            return false;
        }
        let watched = self.watcher.watch(folder, RecursiveMode::NonRecursive);
        watched.is_ok() && self.watch_inside(folder)
    }

    fn watch_inside(&mut self, folder: &Path) -> bool {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut has_code = false;
        for entry in entries {
            // A link to a folder is not followed: it may lead back here.
            has_code |= if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.watch_folder(&entry.path())
            } else {
                is_code(&entry.path())
            };
        }
        has_code
    }
}

fn is_code(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("luau" | "lua"))
        || path.file_name().is_some_and(|name| name == ".luaurc")
}

fn is_skipped(folder: &Path) -> bool {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.starts_with('.') || matches!(name, "target" | "node_modules")
}
