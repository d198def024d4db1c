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
    prelude::{Lua, LuaFunction, LuaResult, LuaTable, LuaThread, LuaValue},
};

use super::{Function, buffer, owner, upvalues};
use crate::engine::numbered::Numbered;

/// Idle workers that are kept, of one kind.
const IDLE: usize = 64;

/// What a function returns to the VM whose call waits: the coroutine goes on with the function's continuation.
pub(super) const YIELDS: c_int = -1;

/// The first upvalues of a worker's function.
const OWNED: c_int = ffi::lua_upvalueindex(1);
const KNOWN: c_int = ffi::lua_upvalueindex(2);

/// The upvalue of a worker's function that [`Workers::function`] was given as this one, counted from 0.
pub(super) const fn upvalue(index: c_int) -> c_int {
    ffi::lua_upvalueindex(3 + index)
}

/// A coroutine of ours. It lives as long as `workers` of `luau/scheduler.luau` has it, which is until it has come to its end.
#[derive(Clone, Copy)]
pub(super) struct Worker {
    state: *mut lua_State,
    /// Names it for good.
    number: u64,
}

/// The workers of one kind, and the call for which one of them runs.
pub(super) struct Workers {
    known: LuaTable,
    /// A buffer, and where its byte is: 1 once a script knows any worker. Before that none has to be looked for.
    _seen: LuaValue,
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

impl Workers {
    /// None yet. `scheduler` is what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub(super) fn new(lua: &Lua, scheduler: &LuaTable) -> LuaResult<Rc<Self>> {
        let seen: LuaValue = scheduler.get("seen")?;
        let mut any_seen = ptr::null();
        // SAFETY: a buffer's bytes stay where they are, and `_seen` keeps it.
        unsafe {
            lua.exec_raw::<()>(seen.clone(), |state| {
                if let Some(byte) = buffer(state, -1).and_then(|bytes| bytes.first_mut()) {
                    any_seen = ptr::from_ref(Cell::from_mut(byte));
                }
                ffi::lua_pop(state, 1);
            })?;
        }
        Ok(Rc::new(Self {
            known: scheduler.get("workers")?,
            _seen: seen,
            any_seen,
            idle: RefCell::default(),
            waiting: RefCell::default(),
            running: Cell::new(None),
            creates: Cell::new(false),
            count: Cell::new(0),
        }))
    }

    /// A function for these workers: it finds them with [`Self::of`], and has the values of `parts` with these names, and then the
    /// names of `fields`, at [`upvalue`].
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub(super) fn function(
        self: &Rc<Self>,
        lua: &Lua,
        parts: &LuaTable,
        names: &[&str],
        fields: &[&CStr],
        function: Function,
    ) -> LuaResult<LuaFunction> {
        let mut upvalues = upvalues(lua, parts, names, fields)?;
        upvalues.push_front(LuaValue::Table(self.known.clone()));
        owner(lua, self.clone(), upvalues, function)
    }

    /// Those of the function that runs, which [`Self::function`] made.
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
    pub(super) fn take(
        &self,
        create: impl FnOnce(u64) -> LuaResult<LuaThread>,
    ) -> LuaResult<Worker> {
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

    /// Whether the function that runs is what [`Self::take`] begins, and not called by a script that has found it on its stack.
    pub(super) fn creates(&self) -> bool {
        self.creates.get()
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
        // SAFETY: as `raw_vm` says; 1 place is used. The byte is valid as long as `_seen` is there.
        unsafe {
            self.any_seen.as_ref().is_none_or(|any| any.get() != 0) && known(state) != Some(false)
        }
    }
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
    pub(super) fn tell(self, lua: &Lua, function: &LuaFunction, values: c_int) -> LuaResult<()> {
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
pub(super) fn waited_function(lua: &Lua, workers: &Rc<Workers>) -> LuaResult<LuaFunction> {
    let workers = workers.clone();
    lua.create_function(move |_, (number, over): (u64, Option<bool>)| {
        let waited = workers.waited(number);
        if over == Some(true) {
            workers.dismiss(number);
        }
        Ok(waited)
    })
}
