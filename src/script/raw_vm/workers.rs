//! The coroutines in which scripts' functions run for Rust: one after the other in the same, for as long as no script knows that
//! coroutine's identity. A handle that a script kept must never reach what is somebody else's.
//!
//! A worker is a coroutine of a native function that yields when it has nothing to do, and whose continuation works when it is
//! resumed.

use std::{
    cell::{Cell, RefCell},
    ffi::{CStr, c_int, c_void},
    ptr,
    rc::Rc,
};

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaError, LuaFunction, LuaResult, LuaTable, LuaThread, LuaValue},
};

use super::super::memory::beyond_the_limit;
use super::{Function, buffer, owner, upvalues};
use crate::engine::numbered::Numbered;

/// Idle workers that are kept, of one kind.
const IDLE: usize = 64;

/// What a function returns to the VM whose call waits: the coroutine goes on with the function's continuation.
pub(super) const YIELDS: c_int = -1;

/// The first upvalues of a worker's function; the third keeps the buffer of `Workers::any_seen`.
const OWNED: c_int = ffi::lua_upvalueindex(1);
const KNOWN: c_int = ffi::lua_upvalueindex(2);
const FORGET: c_int = ffi::lua_upvalueindex(4);

/// The upvalue of a worker's function that [`Crew::new`] was given as this one, counted from 0.
pub(super) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(5 + index)
}

/// Where a worker's stack has its number.
pub(super) const NUMBER: c_int = 1;

/// A coroutine of ours. It lives as long as `workers` of `luau/scheduler.luau` has it, which is until it has come to its end.
#[derive(Clone, Copy)]
pub(super) struct Worker {
    state: *mut lua_State,
    /// Names it for good.
    number: u64,
}

/// The workers of one kind, and what Luau has for them.
pub(super) struct Crew {
    pub(super) workers: Rc<Workers>,
    /// Makes a worker of `work`.
    create: LuaFunction,
    work: LuaFunction,
    /// See [`waited_function`].
    waited: LuaFunction,
    /// Reports a script's function that has failed.
    failed: LuaFunction,
    /// Takes note of a worker that is over.
    forget: LuaFunction,
}

/// The workers of one kind, and the call for which one of them runs. It is dropped by the collector: nothing in it is a handle of
/// the VM's.
pub(super) struct Workers {
    /// A byte of a buffer: 1 once a script knows any worker. Before that none has to be looked for.
    any_seen: *const Cell<u8>,
    idle: RefCell<Vec<Worker>>,
    /// What those were called for that wait, by their number.
    waiting: RefCell<Numbered<u64>>,
    running: Cell<Option<Running>>,
    /// One is being made.
    creates: Cell<bool>,
    count: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Running {
    worker: Worker,
    call: *mut c_void,
}

impl Crew {
    /// No workers yet. `parts` has `create`, `failed`, `forget` and the values with these names, which are at [`upvalue`] of `work`,
    /// and after them the names of `fields`; `scheduler` is what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub(super) fn new(
        lua: &Lua,
        parts: &LuaTable,
        scheduler: &LuaTable,
        names: &[&str],
        fields: &[&CStr],
        work: Function,
    ) -> LuaResult<Self> {
        let seen: LuaValue = scheduler.get("seen")?;
        let workers = Rc::new(Workers::new(byte_of(lua, &seen)?));
        let forget: LuaFunction = parts.get("forget")?;
        let mut upvalues = upvalues(lua, parts, names, fields)?;
        upvalues.push_front(LuaValue::Function(forget.clone()));
        upvalues.push_front(seen);
        upvalues.push_front(scheduler.get("workers")?);
        Ok(Self {
            work: owner(lua, workers.clone(), upvalues, work)?,
            waited: waited_function(lua, &workers)?,
            workers,
            create: parts.get("create")?,
            failed: parts.get("failed")?,
            forget,
        })
    }

    /// An idle worker, or else a new one.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub(super) fn take(&self) -> LuaResult<Worker> {
        let create = |number| self.create.call((&self.work, &self.waited, number));
        self.workers.take(create)
    }

    /// Reports the error with which a script's function has failed in this worker.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub(super) fn report(&self, lua: &Lua, worker: Worker) -> LuaResult<()> {
        worker.tell(lua, &self.failed, 1)
    }

    /// This worker has had no memory for what comes before a script's function: the error for that.
    pub(super) fn out_of_memory(&self, lua: &Lua, worker: Worker) -> LuaError {
        let forgotten = beyond_the_limit(lua, || worker.tell(lua, &self.forget, 0));
        forgotten
            .err()
            .unwrap_or_else(|| LuaError::MemoryError("not enough memory".to_owned()))
    }
}

impl Workers {
    fn new(any_seen: *const Cell<u8>) -> Self {
        Self {
            any_seen,
            idle: RefCell::default(),
            waiting: RefCell::default(),
            running: Cell::new(None),
            creates: Cell::new(false),
            count: Cell::new(0),
        }
    }

    /// Those of the function that runs, which [`Crew::new`] made.
    pub(super) unsafe fn of<'f>(state: *mut lua_State) -> Option<&'f Self> {
        // SAFETY: as `raw_vm` says. The function owns them, and lives while it runs.
        unsafe {
            let owned = ffi::lua_touserdata(state, OWNED).cast::<Option<Rc<Self>>>();
            owned.as_ref()?.as_deref()
        }
    }

    /// What a worker, which runs, was resumed for; null for another coroutine, and once it has waited.
    pub(super) fn call_of(&self, state: *mut lua_State) -> *mut c_void {
        match self.running.get() {
            Some(running) if running.worker.state == state => running.call,
            _ => ptr::null_mut(),
        }
    }

    /// An idle one, or else the one that `create` makes and begins, of this number.
    ///
    /// # Errors
    /// Those of `create`.
    fn take(&self, create: impl FnOnce(u64) -> LuaResult<LuaThread>) -> LuaResult<Worker> {
        if let Some(worker) = self.idle.borrow_mut().pop() {
            return Ok(worker);
        }
        let number = self.count.get() + 1;
        self.count.set(number);
        self.creates.set(true);
        let thread = create(number);
        self.creates.set(false);
        let state = thread?.state();
        Ok(Worker { state, number })
    }

    /// Resumes a worker for a call, which has to live until that returns; what `lua_resume` returned.
    pub(super) fn resume(&self, worker: Worker, call: *mut c_void) -> c_int {
        let outer = self.running.replace(Some(Running { worker, call }));
        let from = outer.map_or(ptr::null_mut(), |outer| outer.worker.state);
        // SAFETY: the worker has yielded and rests: it is kept by `known`. What runs is protected by `lua_resume`.
        let status = unsafe { ffi::lua_resume_(worker.state, from, 0) };
        self.running.set(outer);
        status
    }

    /// The worker rests: it can be taken again.
    pub(super) fn put_back(&self, worker: Worker) {
        self.idle.borrow_mut().push(worker);
    }

    /// The worker has yielded in a script's function that it was resumed for, with this number.
    pub(super) fn waits(&self, worker: Worker, number: u64) {
        // SAFETY: as `raw_vm` says. What it has yielded is for nobody.
        unsafe { ffi::lua_settop(worker.state, 0) };
        self.waiting.borrow_mut().insert(worker.number, number);
    }

    /// What this worker was resumed for, if it waits, or has waited.
    pub(super) fn waited(&self, worker: u64) -> Option<u64> {
        self.waiting.borrow().get(&worker).copied()
    }

    /// This worker has waited, and that is over.
    pub(super) fn done(&self, worker: u64) {
        self.waiting.borrow_mut().remove(&worker);
    }

    /// The worker is not there any more: neither for what it was resumed for nor for later calls.
    fn dismiss(&self, worker: u64) {
        self.done(worker);
        let mut idle = self.idle.borrow_mut();
        idle.retain(|other| other.number != worker);
    }

    /// Whether this worker, which runs, was to rest: nobody has called for it. Only who has found it without our knowledge can
    /// have resumed it, as with a `coroutine.running` from before ours was installed.
    pub(super) fn was_disturbed(&self, worker: u64) -> bool {
        let is_idle = || self.idle.borrow().iter().any(|idle| idle.number == worker);
        self.waited(worker).is_none() && is_idle()
    }

    /// Keeps the coroutine that runs, the worker of this number, for later calls, if no script knows it and there is room; whether
    /// it is. It has to yield then.
    pub(super) unsafe fn keep(&self, state: *mut lua_State, number: u64) -> bool {
        // SAFETY: as `raw_vm` says; 1 place is used.
        let fine = unsafe { known(state) } == Some(false);
        let mut idle = self.idle.borrow_mut();
        let keeps = fine && idle.len() < IDLE;
        if keeps {
            idle.push(Worker { state, number });
        }
        keeps
    }

    /// Whether a script knows the worker that runs.
    pub(super) unsafe fn is_seen(&self, state: *mut lua_State) -> bool {
        // SAFETY: as `raw_vm` says; 1 place is used. The byte is the function's own.
        unsafe {
            self.any_seen.as_ref().is_none_or(|any| any.get() != 0) && known(state) != Some(false)
        }
    }
}

/// Whether the function that runs is the body of a worker that is being made, and not called by a script that has found it on its
/// stack.
pub(super) unsafe fn begins(state: *mut lua_State) -> bool {
    // SAFETY: as `raw_vm` says.
    unsafe { Workers::of(state).is_some_and(|workers| workers.creates.get()) }
}

/// The worker that runs comes to its end.
pub(super) unsafe fn end(state: *mut lua_State) -> c_int {
    // SAFETY: as `raw_vm` says. 2 places are used.
    unsafe {
        ffi::lua_pushvalue(state, FORGET);
        ffi::lua_pushvalue(state, NUMBER);
        ffi::lua_call(state, 1, 0);
        0
    }
}

/// The first byte of a buffer, which stays where it is for as long as the buffer is there; null for anything else.
fn byte_of(lua: &Lua, value: &LuaValue) -> LuaResult<*const Cell<u8>> {
    let mut byte = ptr::null();
    // SAFETY: as `raw_vm` says. The value is on the stack.
    unsafe {
        lua.exec_raw::<()>(value.clone(), |state| {
            if let Some(first) = buffer(state, -1).and_then(|bytes| bytes.first_mut()) {
                byte = ptr::from_ref(Cell::from_mut(first));
            }
            ffi::lua_pop(state, 1);
        })?;
    }
    Ok(byte)
}

/// What `workers` says of the coroutine that runs: nothing when it is none of them.
unsafe fn known(state: *mut lua_State) -> Option<bool> {
    // SAFETY: as `raw_vm` says. One place is used.
    unsafe {
        ffi::lua_pushthread(state);
        let kind = ffi::lua_rawget(state, KNOWN);
        let seen = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_pop(state, 1);
        (kind == ffi::LUA_TBOOLEAN).then_some(seen)
    }
}

impl Worker {
    /// Its number.
    pub(super) fn number(self) -> u64 {
        self.number
    }

    /// Calls `function` with the worker's number and so many values from the top of its stack.
    ///
    /// # Errors
    /// Those of the function; when the VM has no memory left.
    fn tell(self, lua: &Lua, function: &LuaFunction, values: c_int) -> LuaResult<()> {
        // SAFETY: as `raw_vm` says. The worker is kept by `known` until the function says otherwise, and has these values.
        unsafe {
            lua.exec_raw((function, self.number as f64), |state| {
                ffi::lua_xmove(self.state, state, values);
                ffi::lua_call(state, 1 + values, 0);
            })
        }
    }
}

/// The function that a worker's number is asked and told of: `waited(number, over)` is what it was resumed for, if it waits or has
/// waited. When the worker is `over` it is not resumed again.
///
/// # Errors
/// When the VM has no memory left.
fn waited_function(lua: &Lua, workers: &Rc<Workers>) -> LuaResult<LuaFunction> {
    let workers = workers.clone();
    lua.create_function(move |_, (number, over): (u64, Option<bool>)| {
        let waited = workers.waited(number);
        if over == Some(true) {
            workers.dismiss(number);
        }
        Ok(waited)
    })
}
