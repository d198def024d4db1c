//! The scheduler's Rust half: the operations that coroutines wait for, each named by a number that is used once.
//!
//! Its Luau half, `luau/scheduler.luau`, knows which coroutine waits for which number and resumes them in rounds
//! (spec of `run`: a round resumes what was ready when it began; timers and sockets are looked at in between).

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::VecDeque,
    future::Future,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use mlua::prelude::{Lua, LuaError, LuaFunction, LuaMultiValue, LuaResult, LuaTable, LuaValue};
use smol::Task;

use super::{GONE, Script, describe, interrupt::Interrupt, number_map::NumberMap, plain_message};
use crate::engine::{Engine, timers::TimerKey, timers::deadline_after};

/// Rounds in a row in which the VM may fail: each time some coroutine may have gone on.
const MOST_FAILURES: u32 = 100;

/// Makes the Luau values of an operation's result, once it is delivered.
pub type Delivery = Box<dyn FnOnce(&Lua) -> LuaResult<LuaMultiValue>>;

/// Ends the wait of this number itself, by `finish` of `luau/scheduler.luau`: for what is too frequent for handles of values.
pub type Handover = Box<dyn FnOnce(&Lua, u64) -> LuaResult<()>>;

/// What coroutines wait for, and what has come for them.
pub struct Scheduler {
    engine: Rc<Engine>,
    interrupt: Rc<Interrupt>,
    counter: Cell<u64>,
    operations: RefCell<NumberMap<Operation>>,
    ended: RefCell<VecDeque<(u64, Outcome)>>,
    /// Coroutines are queued in Luau.
    queued: Cell<bool>,
    /// Rounds in a row that the VM has failed in.
    failures: Cell<u32>,
    /// Who drives the scheduler and waits until there is something to do.
    driver: Cell<Option<Waker>>,
    luau: OnceCell<LuauHalf>,
}

/// What a coroutine waits for. Dropping it ends it.
enum Operation {
    Timer { key: TimerKey, since: Instant },
    Task { _task: Task<()> },
}

enum Outcome {
    Elapsed(f64),
    Values(Delivery),
    Direct(Handover),
    Failed(String),
}

/// What Rust calls in `luau/scheduler.luau`.
struct LuauHalf {
    finish: LuaFunction,
    round: LuaFunction,
    done: LuaValue,
    failed: LuaValue,
}

impl Scheduler {
    /// A scheduler whose operations run on `engine` and whose turns `interrupt` knows.
    pub fn new(engine: Rc<Engine>, interrupt: Rc<Interrupt>) -> Rc<Self> {
        Rc::new(Self {
            engine,
            interrupt,
            counter: Cell::new(0),
            operations: RefCell::default(),
            ended: RefCell::default(),
            queued: Cell::new(false),
            failures: Cell::new(0),
            driver: Cell::default(),
            luau: OnceCell::new(),
        })
    }

    /// Takes what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn connect(&self, half: &LuaTable) -> LuaResult<()> {
        let half = LuauHalf {
            finish: half.get("finish")?,
            round: half.get("round")?,
            done: half.get("DONE")?,
            failed: half.get("FAILED")?,
        };
        let _ = self.luau.set(half);
        Ok(())
    }

    /// Starts an operation for the coroutine that calls; the number is for its shim to wait on. The operation's error is
    /// raised to the script.
    pub fn start(
        self: &Rc<Self>,
        operation: impl Future<Output = Result<Delivery, String>> + 'static,
    ) -> u64 {
        self.spawn(operation, Outcome::Values)
    }

    /// As [`Self::start`].
    pub fn start_direct(
        self: &Rc<Self>,
        operation: impl Future<Output = Result<Handover, String>> + 'static,
    ) -> u64 {
        self.spawn(operation, Outcome::Direct)
    }

    fn spawn<T: 'static>(
        self: &Rc<Self>,
        operation: impl Future<Output = Result<T, String>> + 'static,
        outcome: fn(T) -> Outcome,
    ) -> u64 {
        let wait = self.next_number();
        let scheduler = Rc::downgrade(self);
        // Boxed: it would be copied five times on its way into the executor, and some are large.
        let mut operation = Box::pin(operation);
        let task = self.engine.spawn(async move {
            let ended = operation.as_mut().await;
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.end(wait, ended.map_or_else(Outcome::Failed, outcome));
            }
        });
        self.operations
            .borrow_mut()
            .insert(wait, Operation::Task { _task: task });
        wait
    }

    /// Starts a timer; its value is the time that really passed, in seconds.
    pub fn sleep(&self, seconds: f64) -> u64 {
        let since = Instant::now();
        let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let wait = self.next_number();
        let key = self
            .engine
            .timers()
            .set(deadline_after(since, duration), wait);
        self.operations
            .borrow_mut()
            .insert(wait, Operation::Timer { key, since });
        self.ring();
        wait
    }

    /// Ends an operation that nobody waits for any more.
    pub fn abandon(&self, wait: u64) {
        let operation = self.operations.borrow_mut().remove(&wait);
        if let Some(Operation::Timer { key, .. }) = operation {
            self.engine.timers().cancel(key);
        }
    }

    /// Coroutines were queued in Luau: a round is needed.
    pub fn wake(&self) {
        self.queued.set(true);
        self.ring();
    }

    /// Calls `waker` once when a coroutine becomes ready or a timer is set.
    pub fn ring_with(&self, waker: Option<Waker>) {
        self.driver.set(waker);
    }

    fn ring(&self) {
        self.driver.take().into_iter().for_each(Waker::wake);
    }

    /// Ends all operations.
    pub fn clear(&self) {
        let operations = self.operations.take();
        for operation in operations.values() {
            if let Operation::Timer { key, .. } = operation {
                self.engine.timers().cancel(*key);
            }
        }
        drop(operations);
        self.ended.take();
    }

    /// Takes note of the timers that are due.
    pub fn fire_timers(&self) {
        let now = Instant::now();
        self.engine.fire_timers(|wait| {
            if let Some(Operation::Timer { since, .. }) = self.operations.borrow().get(&wait) {
                self.ended
                    .borrow_mut()
                    .push_back((wait, Outcome::Elapsed((now - *since).as_secs_f64())));
            }
        });
    }

    /// Whether a coroutine can be resumed now.
    pub fn is_ready(&self) -> bool {
        self.queued.get() || !self.ended.borrow().is_empty()
    }

    /// Whether a coroutine waits for an operation or for a round.
    pub fn is_busy(&self) -> bool {
        self.is_ready() || !self.operations.borrow().is_empty()
    }

    /// Coroutines that wait for an operation.
    pub fn waiting(&self) -> usize {
        self.operations.borrow().len()
    }

    /// One round: resumes what is ready now, until `limit` if there is one. A failure of the VM itself (it has no memory
    /// left) costs a coroutine and is told to `failed`; errors of scripts go to the error hook. `collect` is called before
    /// each coroutine.
    ///
    /// # Errors
    /// When the VM has failed so often that nothing can go on.
    pub fn round(
        &self,
        lua: &Lua,
        limit: Option<Instant>,
        failed: impl Fn(&LuaError),
        collect: impl Fn() -> LuaResult<()>,
    ) -> LuaResult<()> {
        let Some(luau) = self.luau.get() else {
            return Ok(());
        };
        let ended = self.ended.borrow().len();
        // Before those whose timer is due: `defer` and then `wait()` run in this order.
        if self.queued.replace(false) {
            let _turn = self.interrupt.turn();
            let round = self.expiry(lua, limit);
            match round.and_then(|expired| luau.round.call(expired)) {
                Ok(left) => {
                    self.failures.set(0);
                    self.queued.set(left || self.queued.get());
                }
                Err(error) if self.failures.get() < MOST_FAILURES => {
                    self.failures.set(self.failures.get() + 1);
                    self.queued.set(true);
                    failed(&error);
                    // What fails for want of memory may have left some behind.
                    lua.gc_collect()?;
                }
                Err(error) => return Err(error),
            }
        }
        for _ in 0..ended {
            let Some((wait, outcome)) = self.ended.borrow_mut().pop_front() else {
                break;
            };
            if self.operations.borrow_mut().remove(&wait).is_some() {
                // One that has just failed for want of memory leaves it as garbage: the next one needs it.
                collect()?;
                let _turn = self.interrupt.turn();
                if let Err(error) = luau.finish(lua, wait, outcome) {
                    failed(&error);
                }
            }
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What a round asks after each coroutine it has resumed: whether its time is up. None when nobody need be asked.
    fn expiry(&self, lua: &Lua, limit: Option<Instant>) -> LuaResult<Option<LuaFunction>> {
        if limit.is_none() && !self.interrupt.limits_turns() {
            return Ok(None);
        }
        let interrupt = self.interrupt.clone();
        let expired = lua.create_function(move |_, ()| {
            interrupt.next_turn();
            Ok(limit.is_some_and(|limit| Instant::now() >= limit))
        })?;
        Ok(Some(expired))
    }

    fn end(&self, wait: u64, outcome: Outcome) {
        self.ended.borrow_mut().push_back((wait, outcome));
    }

    fn next_number(&self) -> u64 {
        let number = self.counter.get() + 1;
        self.counter.set(number);
        number
    }
}

impl LuauHalf {
    fn finish(&self, lua: &Lua, wait: u64, outcome: Outcome) -> LuaResult<()> {
        match outcome {
            Outcome::Elapsed(seconds) => self.finish.call((wait, &self.done, seconds)),
            Outcome::Failed(message) => self.finish.call((wait, &self.failed, message)),
            Outcome::Values(make) => match make(lua) {
                Ok(values) => self.finish.call((wait, &self.done, values)),
                Err(error) => self.fail(wait, &error),
            },
            // When the coroutine has been resumed all the same, nobody waits any more.
            Outcome::Direct(hand_over) => {
                hand_over(lua, wait).or_else(|error| self.fail(wait, &error))
            }
        }
    }

    fn fail(&self, wait: u64, error: &LuaError) -> LuaResult<()> {
        self.finish.call((wait, &self.failed, plain_message(error)))
    }
}

/// The natives behind `luau/scheduler.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "abandon",
        lua.create_function(move |_, wait: u64| {
            scheduler
                .upgrade()
                .into_iter()
                .for_each(|scheduler| scheduler.abandon(wait));
            Ok(())
        })?,
    )?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "sleep",
        lua.create_function(move |_, seconds: f64| {
            scheduler
                .upgrade()
                .map(|scheduler| scheduler.sleep(seconds))
                .ok_or_else(|| LuaError::runtime(GONE))
        })?,
    )?;
    let scheduler = Rc::downgrade(&script.scheduler);
    native.set(
        "wake",
        lua.create_function(move |_, ()| {
            scheduler
                .upgrade()
                .into_iter()
                .for_each(|scheduler| scheduler.wake());
            Ok(())
        })?,
    )?;
    native.set(
        "describe",
        lua.create_function(|_, problem: LuaValue| Ok(describe(&problem)))?,
    )?;
    let weak = Rc::downgrade(script);
    native.set(
        "report",
        lua.create_function(
            move |_, (message, traceback): (mlua::LuaString, mlua::LuaString)| {
                weak.upgrade().into_iter().for_each(|script| {
                    script.report(&message.to_string_lossy(), &traceback.to_string_lossy())
                });
                Ok(())
            },
        )?,
    )?;
    Ok(native)
}
