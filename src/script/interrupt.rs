//! Stops scripts that run for too long. Luau asks at its safepoints (each call, return and turn of a loop); from the
//! deadline on every safepoint of the script's code raises, so that no `pcall` around a loop saves it, until its
//! coroutine has unwound. Our own code between the scripts' is left alone: it takes note of the error and goes on.
//!
//! While no deadline can come there is no interrupt: it costs about 30 ns a safepoint.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use mlua::{
    VmState,
    prelude::{Lua, LuaError, LuaResult},
};

use super::luau;

/// Safepoints for each look at the clock.
const STRIDE: u8 = 16;

/// The deadlines of a VM's scripts.
pub struct Interrupt {
    lua: mlua::WeakLua,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// How long a script may run between two waits.
    limit: Cell<Option<Duration>>,
    /// When the turn that runs has to be over.
    turn: Cell<Option<Instant>>,
    /// When all script code has to stop, whatever turn it is in.
    stop: Cell<Option<Stop>>,
    /// Whether a deadline has come: the clock need not be asked again.
    late: Cell<bool>,
    safepoints: Cell<u8>,
}

#[derive(Clone, Copy)]
struct Stop {
    at: Instant,
    after: Duration,
}

/// While Rust lets a script run: from one wait of its coroutine to the next.
pub struct Turn<'i> {
    state: &'i State,
    outer: Option<Instant>,
}

impl Interrupt {
    /// No deadlines yet.
    pub fn new(lua: &Lua) -> Self {
        Self {
            lua: lua.weak(),
            state: Rc::default(),
        }
    }

    /// How long a script may run between two waits; none for as long as it likes.
    pub fn limit_turns(&self, limit: Option<Duration>) {
        self.state.limit.set(limit);
        self.install_or_remove();
    }

    /// Whether turns have a limit.
    pub fn limits_turns(&self) -> bool {
        self.state.limit.get().is_some()
    }

    /// Whether what runs now has to stop: for our own functions that may take long. The script that called is stopped then.
    pub fn is_overdue(&self) -> bool {
        let overdue = self.state.overdue().is_some();
        if overdue {
            self.state.late.set(true);
        }
        overdue
    }

    /// A turn begins; inside of another one it is part of that.
    pub fn turn(&self) -> Turn<'_> {
        let state = &*self.state;
        let outer = state.turn.get();
        if let (None, Some(limit)) = (outer, state.limit.get()) {
            state.late.set(false);
            state.turn.set(Instant::now().checked_add(limit));
        }
        Turn { state, outer }
    }

    /// The next turn begins, for a loop of turns inside of one call.
    pub fn next_turn(&self) {
        if let Some(limit) = self.state.limit.get() {
            self.state.late.set(false);
            self.state.turn.set(Instant::now().checked_add(limit));
        }
    }

    /// All script code has to stop `after` this time from now, until [`Self::go_on`].
    pub fn stop_after(&self, after: Duration) {
        let at = Instant::now().checked_add(after);
        self.state.stop.set(at.map(|at| Stop { at, after }));
        self.state.late.set(false);
        self.install_or_remove();
    }

    /// Takes the last [`Self::stop_after`] back.
    pub fn go_on(&self) {
        self.state.stop.set(None);
        self.state.late.set(false);
        self.install_or_remove();
    }

    fn install_or_remove(&self) {
        let Some(lua) = self.lua.try_upgrade() else {
            return;
        };
        if self.state.limit.get().is_none() && self.state.stop.get().is_none() {
            lua.remove_interrupt();
            return;
        }
        let state = self.state.clone();
        lua.set_interrupt(move |lua| state.check(lua));
    }
}

impl State {
    fn check(&self, lua: &Lua) -> LuaResult<VmState> {
        if !self.late.get() {
            let count = self.safepoints.get().wrapping_add(1);
            self.safepoints.set(count);
            if !count.is_multiple_of(STRIDE) || self.overdue().is_none() {
                return Ok(VmState::Continue);
            }
            self.late.set(true);
        }
        let Some(reason) = self.overdue() else {
            return Ok(VmState::Continue);
        };
        match script_position(lua) {
            Some(position) => Err(LuaError::runtime(format!("{position}{reason}"))),
            None => Ok(VmState::Continue),
        }
    }

    /// Why the script has to stop, if it has to.
    fn overdue(&self) -> Option<String> {
        if self.stop.get().is_none() && self.turn.get().is_none() {
            return None;
        }
        let now = Instant::now();
        if let Some(stop) = self.stop.get().filter(|stop| stop.at <= now) {
            return Some(timed_out(stop.after));
        }
        let limit = self.limit.get()?;
        self.turn.get().filter(|turn| *turn <= now)?;
        let seconds = limit.as_secs_f64();
        Some(format!(
            "the script ran for longer than {seconds} s without waiting"
        ))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.outer.is_none() {
            self.state.turn.set(None);
            self.state.late.set(false);
        }
    }
}

/// What a script is told that was stopped `after` this time.
pub fn timed_out(after: Duration) -> String {
    format!("timed out after {} s", after.as_secs_f64())
}

/// `file:line: ` of the innermost Luau function; none when it is ours.
fn script_position(lua: &Lua) -> Option<String> {
    let at = |level| {
        lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.filter(|_| source.what != "C")?;
            Some((name.into_owned(), debug.current_line()))
        })
    };
    let (name, line) = (0..).map_while(at).flatten().next()?;
    let name = name.trim_start_matches(['@', '=']);
    if name.starts_with(luau::CHUNK_PREFIX) {
        return None;
    }
    Some(match line {
        Some(line) => format!("{name}:{line}: "),
        None => format!("{name}: "),
    })
}
