//! The scheduler's Rust half: the operations that coroutines wait for, each named by a number of its own.
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

use mlua::prelude::{
    Lua, LuaBuffer, LuaError, LuaFunction, LuaMultiValue, LuaResult, LuaString, LuaTable, LuaValue,
};
use smol::Task;

use super::{
    GONE, Script, describe,
    interrupt::Interrupt,
    memory::{beyond_the_limit, collect},
    natives::Natives,
    places::{PLACES, Places},
    plain_message,
};
use crate::engine::{Engine, timers::TimerKey, timers::deadline_after};

/// Makes the Luau values of an operation's result, once it is delivered.
pub type Delivery = Box<dyn FnOnce(&Lua) -> LuaResult<LuaMultiValue>>;

/// Ends the wait of this number itself, by `finish` of `luau/scheduler.luau`: for what is too frequent for handles of values.
/// Its error is one of resuming the coroutine.
pub type Handover = Box<dyn FnOnce(&Lua, u64) -> LuaResult<HandedOver>>;

/// What has come of a [`Handover`].
pub enum HandedOver {
    /// The wait has ended.
    Ended,
    /// It has not, since what it waits for could not be made in the VM.
    Unmade(LuaError),
}

/// What coroutines wait for, and what has come for them.
pub struct Scheduler {
    engine: Rc<Engine>,
    interrupt: Rc<Interrupt>,
    operations: RefCell<Places<Operation>>,
    ended: RefCell<VecDeque<(u64, Outcome)>>,
    /// Coroutines are queued in Luau.
    queued: Cell<bool>,
    /// A call from Rust has failed: somebody may wait in vain.
    unsettled: Cell<bool>,
    /// When the round that runs has to stop.
    limit: Rc<Cell<Option<Instant>>>,
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
    settle: LuaFunction,
    /// What `round` asks after each coroutine it has resumed: whether its time is up.
    expired: LuaFunction,
    /// Whether `settle` has something to do: then its byte is not 0.
    unsettled: LuaBuffer,
    done: LuaValue,
    failed: LuaValue,
}

impl Scheduler {
    /// A scheduler whose operations run on `engine` and whose turns `interrupt` knows.
    pub fn new(engine: Rc<Engine>, interrupt: Rc<Interrupt>) -> Rc<Self> {
        Rc::new(Self {
            engine,
            interrupt,
            operations: RefCell::default(),
            ended: RefCell::default(),
            queued: Cell::new(false),
            unsettled: Cell::new(false),
            limit: Rc::default(),
            driver: Cell::default(),
            luau: OnceCell::new(),
        })
    }

    /// Takes what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When a part is missing.
    pub fn connect(&self, lua: &Lua, half: &LuaTable) -> LuaResult<()> {
        let (interrupt, limit) = (self.interrupt.clone(), self.limit.clone());
        let expired = lua.create_function(move |_, ()| {
            interrupt.next_turn();
            Ok(limit.get().is_some_and(|limit| Instant::now() >= limit))
        })?;
        let half = LuauHalf {
            finish: half.get("finish")?,
            round: half.get("round")?,
            settle: half.get("settle")?,
            expired,
            unsettled: half.get("unsettled")?,
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
        let scheduler = Rc::downgrade(self);
        // Boxed: it would be copied five times on its way into the executor, and some are large.
        let mut operation = Box::pin(operation);
        let spawn = |wait| {
            let task = self.engine.spawn(async move {
                let ended = operation.as_mut().await;
                if let Some(scheduler) = scheduler.upgrade() {
                    scheduler.end(wait, ended.map_or_else(Outcome::Failed, outcome));
                }
            });
            Operation::Task { _task: task }
        };
        self.operations.borrow_mut().insert(spawn)
    }

    /// Starts a timer; its value is the time that really passed, in seconds.
    pub fn sleep(&self, seconds: f64) -> u64 {
        let since = Instant::now();
        let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        let due = deadline_after(since, duration);
        let wait = self.operations.borrow_mut().insert(|wait| {
            let key = self.engine.timers().set(due, wait);
            Operation::Timer { key, since }
        });
        self.ring();
        wait
    }

    /// Ends an operation that nobody waits for any more.
    pub fn abandon(&self, wait: u64) {
        let operation = self.operations.borrow_mut().remove(wait);
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
        let operations = self.operations.borrow_mut().drain();
        for operation in &operations {
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
            if let Some(Operation::Timer { since, .. }) = self.operations.borrow().get(wait) {
                self.ended
                    .borrow_mut()
                    .push_back((wait, Outcome::Elapsed((now - *since).as_secs_f64())));
            }
        });
    }

    /// Whether a coroutine can be resumed now, or [`Self::settle`] has something to do.
    pub fn is_ready(&self) -> bool {
        self.queued.get() || !self.ended.borrow().is_empty() || self.is_unsettled()
    }

    /// The VM has failed, for want of memory: whoever may wait in vain since then is told in the next round.
    pub fn unsettle(&self) {
        self.unsettled.set(true);
        self.ring();
    }

    fn is_unsettled(&self) -> bool {
        let is_set = |luau: &LuauHalf| luau.unsettled.read_bytes(0) != [0];
        self.unsettled.get() || self.luau.get().is_some_and(is_set)
    }

    /// Whether a coroutine waits for an operation or for a round.
    pub fn is_busy(&self) -> bool {
        self.operations.borrow().len() > 0 || self.is_ready()
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
    /// When the VM can't go on.
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
        if self.is_unsettled() {
            self.settle(lua, luau, None)?;
        }
        let ended = self.ended.borrow().len();
        // Before those whose timer is due: `defer` and then `wait()` run in this order.
        if self.queued.replace(false) {
            let _turn = self.interrupt.turn();
            self.limit.set(limit);
            // None when nobody need be asked.
            let asks = limit.is_some() || self.interrupt.limits_turns();
            match luau.round.call(asks.then_some(&luau.expired)) {
                Ok(left) => self.queued.set(left || self.queued.get()),
                Err(error) => {
                    self.queued.set(true);
                    failed(&error);
                    self.settle(lua, luau, None)?;
                }
            }
        }
        for _ in 0..ended {
            let Some((wait, outcome)) = self.ended.borrow_mut().pop_front() else {
                break;
            };
            if self.operations.borrow_mut().remove(wait).is_some() {
                // One that has just failed for want of memory leaves it as garbage: the next one needs it.
                collect()?;
                let _turn = self.interrupt.turn();
                if let Err(error) = luau.finish(lua, wait, outcome) {
                    failed(&error);
                    self.settle(lua, luau, Some(wait))?;
                }
            }
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// After a failure of the VM's: nobody waits for a coroutine that will not go on. `wait` is the operation that ended
    /// for one which could not be resumed.
    fn settle(&self, lua: &Lua, luau: &LuauHalf, wait: Option<u64>) -> LuaResult<()> {
        self.unsettled.set(false);
        collect(lua)?;
        beyond_the_limit(lua, || luau.settle.call(wait))
    }

    fn end(&self, wait: u64, outcome: Outcome) {
        self.ended.borrow_mut().push_back((wait, outcome));
    }
}

impl LuauHalf {
    fn finish(&self, lua: &Lua, wait: u64, outcome: Outcome) -> LuaResult<()> {
        match outcome {
            Outcome::Elapsed(seconds) => self.finish.call((wait, &self.done, seconds)),
            Outcome::Failed(message) => self.finish.call((wait, &self.failed, message)),
            Outcome::Values(make) => match make(lua) {
                Ok(values) => self.finish.call((wait, &self.done, values)),
                Err(error) => self.fail(lua, wait, &error),
            },
            Outcome::Direct(hand_over) => match hand_over(lua, wait)? {
                HandedOver::Ended => Ok(()),
                HandedOver::Unmade(error) => self.fail(lua, wait, &error),
            },
        }
    }

    fn fail(&self, lua: &Lua, wait: u64, error: &LuaError) -> LuaResult<()> {
        // For want of memory: what was made of the result is garbage now.
        collect(lua)?;
        self.finish.call((wait, &self.failed, plain_message(error)))
    }
}

/// The natives behind `luau/scheduler.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let natives = Natives::new(lua, script)?;
    natives.set("abandon", |script, wait: u64| {
        script.scheduler.abandon(wait);
        Ok(())
    })?;
    natives.set("wake", |script, ()| {
        script.scheduler.wake();
        Ok(())
    })?;
    natives.set(
        "report",
        |script, (message, traceback): (LuaString, LuaString)| {
            script.report(&message.to_string_lossy(), &traceback.to_string_lossy());
            Ok(())
        },
    )?;
    let scheduler = Rc::downgrade(&script.scheduler);
    let sleep = move |_: &Lua, seconds: f64| {
        let scheduler = scheduler.upgrade();
        let slept = scheduler.map(|scheduler| scheduler.sleep(seconds));
        slept.ok_or_else(|| LuaError::runtime(GONE))
    };
    natives.table().set("sleep", lua.create_function(sleep)?)?;
    let describe = |_: &Lua, problem: LuaValue| Ok(describe(&problem));
    natives
        .table()
        .set("describe", lua.create_function(describe)?)?;
    natives.table().set("PLACES", PLACES as f64)?;
    Ok(natives.into_table())
}
