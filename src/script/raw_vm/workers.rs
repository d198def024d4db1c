//! The coroutines in which scripts' functions run for Rust: one after the other in the same, for as long as none waits and no
//! script knows that coroutine's identity. A handle that a script kept must never reach what is somebody else's.
//!
//! A coroutine that has come to its end begins anew when a function is pushed on its empty stack and it is resumed.

use std::{cell::Cell, ffi::c_int, ptr};

use mlua::ffi::{self, lua_State};

use super::buffer;

/// What a function returns to the VM whose call waits: the coroutine goes on with the function's continuation.
pub(super) const YIELDS: c_int = -1;

/// Where a function has what `luau/scheduler.luau` knows of workers: positions of upvalues.
pub(super) struct Known {
    /// The workers that there are, each with whether a script knows it.
    pub(super) workers: c_int,
    /// A buffer whose byte is 1 once a script has asked for a worker's identity.
    pub(super) seen: c_int,
}

impl Known {
    /// Not 0 once a script knows a worker: before that none has to be looked for.
    pub(super) unsafe fn any_seen<'f>(&self, state: *mut lua_State) -> Option<&'f Cell<u8>> {
        // SAFETY: as `raw_vm` says. The buffer is an upvalue of the function that runs.
        let seen = unsafe { buffer(state, self.seen) };
        seen.and_then(|seen| seen.first_mut()).map(Cell::from_mut)
    }

    /// Whether a script knows the worker at `worker`.
    pub(super) unsafe fn is_seen(&self, state: *mut lua_State, worker: c_int) -> bool {
        // SAFETY: as `raw_vm` says. One place is used.
        unsafe {
            ffi::lua_pushvalue(state, worker);
            ffi::lua_rawget(state, self.workers);
            let is_seen = ffi::lua_toboolean(state, -1) != 0;
            ffi::lua_pop(state, 1);
            is_seen
        }
    }

    /// Whether a script knows the worker at `worker` is of no matter any more: it has come to its end.
    pub(super) unsafe fn forget(&self, state: *mut lua_State, worker: c_int) {
        // SAFETY: as `raw_vm` says. 2 places are used.
        unsafe {
            ffi::lua_pushvalue(state, worker);
            ffi::lua_pushnil(state);
            ffi::lua_rawset(state, self.workers);
        }
    }
}

/// The upvalue that is the coroutine for the next call, or nil. It stays there while it runs.
pub(super) struct Idle(pub(super) c_int);

impl Idle {
    /// Pushes it; a new one where there is none, or it is at work: a host has run its executor in a script's call.
    pub(super) unsafe fn push(&self, state: *mut lua_State, known: &Known) -> *mut lua_State {
        // SAFETY: as `raw_vm` says. 3 places are used.
        unsafe {
            ffi::lua_pushvalue(state, self.0);
            let idle = ffi::lua_tothread(state, -1);
            if !idle.is_null() && ffi::lua_costatus(state, idle) == ffi::LUA_COFIN {
                return idle;
            }
            ffi::lua_pop(state, 1);
            let new = ffi::lua_newthread(state);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_pushboolean(state, 0);
            ffi::lua_rawset(state, known.workers);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_replace(state, self.0);
            new
        }
    }

    /// Whether it is the one at `worker`. It is not where a call inside of that one's own has kept another.
    pub(super) unsafe fn is(&self, state: *mut lua_State, worker: c_int) -> bool {
        // SAFETY: as `raw_vm` says.
        unsafe {
            let idle = ffi::lua_tothread(state, self.0);
            ptr::eq(idle, ffi::lua_tothread(state, worker))
        }
    }

    /// The worker at `worker` is not for the next call: it waits, has failed, or a script knows it.
    pub(super) unsafe fn is_not(&self, state: *mut lua_State, worker: c_int) {
        // SAFETY: as `raw_vm` says. One place is used.
        unsafe {
            if self.is(state, worker) {
                ffi::lua_pushnil(state);
                ffi::lua_replace(state, self.0);
            }
        }
    }
}
