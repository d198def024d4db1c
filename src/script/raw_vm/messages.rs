//! The messages that a WebSocket has read, each from its bytes to a script's callback: all of one read in one call of the VM.
//!
//! Callbacks run in one coroutine, one after the other, for as long as none waits and no script asks for its identity: [`run`]
//! calls them there, and a coroutine that has come to its end begins anew when a function is pushed on its empty stack and it
//! is resumed.

use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
};

use mlua::{
    LightUserData,
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable},
};

use super::super::{interrupt::Interrupt, websocket::Current};
use super::{Function, buffer, closure, push};
use crate::engine::websocket::{Data, Incoming};

/// What [`receiver`] takes from its table, in the order of `receive`'s upvalues, which begin at 1. It adds `run`.
const PARTS: [&str; 6] = ["sockets", "run", "workers", "keep", "waits", "failed"];
const SOCKETS: c_int = ffi::lua_upvalueindex(1);
const RUN: c_int = ffi::lua_upvalueindex(2);
const WORKERS: c_int = ffi::lua_upvalueindex(3);
const KEEP: c_int = ffi::lua_upvalueindex(4);
const WAITS: c_int = ffi::lua_upvalueindex(5);
const FAILED: c_int = ffi::lua_upvalueindex(6);

/// Where a WebSocket's table has its callbacks, and those the one for messages: the upvalues after the parts.
const FIELDS: [&CStr; 2] = [c"__callbacks", c"message"];
const CALLBACKS: c_int = ffi::lua_upvalueindex(7);
const MESSAGE: c_int = ffi::lua_upvalueindex(8);

/// The coroutine for the next callback, or nil: the last upvalue.
const IDLE: c_int = ffi::lua_upvalueindex(9);

/// Where the stack of `receive` has what does not change from one message to the next. The worker is nil where there is none.
const SOCKET: c_int = 1;
const CALLBACK: c_int = 2;
const WORKER: c_int = 3;

/// What `run` takes from the same table.
const RUN_PARTS: [&str; 3] = ["workers", "seen", "release"];

/// A call on its way through the VM.
struct Call<'c> {
    number: u64,
    messages: &'c mut dyn Incoming,
    interrupt: &'c Interrupt,
    current: &'c Current,
    /// Messages that nobody has taken yet.
    kept: u64,
    /// There are no more messages.
    ended: bool,
    /// A callback was called, and has not returned.
    calls: bool,
}

/// Has `deliver`, which [`receiver`] made, hand on what came over a WebSocket, the `current` one; how many messages were put
/// aside for whoever asks for them. `messages` must not use the VM.
///
/// # Errors
/// When the VM has no memory left; the messages that were not taken are lost.
pub fn deliver(
    deliver: &LuaFunction,
    number: u64,
    messages: &mut dyn Incoming,
    interrupt: &Interrupt,
    current: &Current,
) -> (u64, LuaResult<()>) {
    let mut call = Call {
        number,
        messages,
        interrupt,
        current,
        kept: 0,
        ended: false,
        calls: false,
    };
    let pointer = LightUserData((&raw mut call).cast::<c_void>());
    let delivered = deliver.call(pointer);
    (call.kept, delivered)
}

/// The function for [`deliver`]. `parts` is made by `luau/websocket.luau`, which says what is in it.
///
/// # Errors
/// When the VM has no memory left.
pub fn receiver(lua: &Lua, parts: &LuaTable) -> LuaResult<LuaFunction> {
    let run = Function::new(c"run", run).continued_by(waited);
    parts.set("run", closure(lua, parts, &RUN_PARTS, &[], run)?)?;
    let receive = Function::new(c"receive", receive);
    closure(lua, parts, &PARTS, &FIELDS, receive)
}

/// `receive(call)`.
unsafe extern "C-unwind" fn receive(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. At most 10 places are used. A light userdata comes from `deliver` alone, whose call outlives
    // this function: Luau can't make one, and no script ever sees this one. `run` has it too while it runs, so that no
    // reference to it is held meanwhile.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        if call.is_null() {
            return 0;
        }
        ffi::lua_settop(state, 0);
        push_socket(state, (*call).number);
        (*call).current.lies_at(ffi::lua_topointer(state, SOCKET));
        push_idle(state);
        if ffi::lua_type(state, CALLBACK) == ffi::LUA_TNIL {
            keep_all(state, &mut *call);
            return 0;
        }
        while !(*call).ended {
            run_callbacks(state, call);
        }
        // A call inside of a callback, by a host that runs its executor there, has kept a worker of its own.
        if ffi::lua_tothread(state, IDLE) != ffi::lua_tothread(state, WORKER) {
            forget_worker(state);
        }
        0
    }
}

/// `run(call, callback, socket)`: calls the callback with one message after the other, for as long as it does not wait and no
/// script knows the coroutine. Its upvalues are those of [`RUN_PARTS`].
unsafe extern "C-unwind" fn run(state: *mut lua_State) -> c_int {
    const WORKERS: c_int = ffi::lua_upvalueindex(1);
    const SEEN: c_int = ffi::lua_upvalueindex(2);
    /// What a function returns whose call waits.
    const YIELDS: c_int = -1;
    // SAFETY: as the module says. Besides the arguments at most 3 places are used. The first one comes from `receive`, which
    // has resumed this coroutine and holds no reference to the call meanwhile. It is not used after a callback has waited: then
    // `waited` goes on. The buffer is this function's upvalue, and has one byte.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        let seen = buffer(state, SEEN).map_or(ptr::null(), |seen| seen.as_ptr());
        if call.is_null() || seen.is_null() {
            return 0;
        }
        while let Some(data) = (*call).messages.next() {
            (*call).interrupt.next_turn();
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushvalue(state, 3);
            push_data(state, data);
            (*call).calls = true;
            ffi::lua_call(state, 2, 0);
            if ffi::lua_status(state) != ffi::LUA_OK {
                return YIELDS;
            }
            (*call).calls = false;
            if seen.read() != 0 && is_seen(state, WORKERS) {
                return 0;
            }
        }
        (*call).ended = true;
        0
    }
}

/// What comes after a callback in [`run`] that has waited: other messages are others' by now.
unsafe extern "C-unwind" fn waited(state: *mut lua_State, _status: c_int) -> c_int {
    const RELEASE: c_int = ffi::lua_upvalueindex(3);
    // SAFETY: as the module says; what a continuation needs of the stack it has to ask for.
    unsafe {
        ffi::lua_rawcheckstack(state, 2);
        ffi::lua_pushvalue(state, RELEASE);
        ffi::lua_pushthread(state);
        ffi::lua_call(state, 1, 0);
        0
    }
}

/// Whether a script knows the identity of the coroutine that runs.
unsafe fn is_seen(state: *mut lua_State, workers: c_int) -> bool {
    // SAFETY: as the module says. One place is used.
    unsafe {
        ffi::lua_pushthread(state);
        ffi::lua_rawget(state, workers);
        let is_seen = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_pop(state, 1);
        is_seen
    }
}

/// Pushes the WebSocket's table and its callback: nil where it has none.
unsafe fn push_socket(state: *mut lua_State, number: u64) {
    // SAFETY: as the module says. 3 places are used. A script may have put anything where the callbacks were.
    unsafe {
        ffi::lua_pushnumber(state, number as f64);
        ffi::lua_rawget(state, SOCKETS);
        ffi::lua_pushnil(state);
        if ffi::lua_type(state, SOCKET) != ffi::LUA_TTABLE {
            return;
        }
        ffi::lua_pushvalue(state, CALLBACKS);
        ffi::lua_rawget(state, SOCKET);
        if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
            ffi::lua_pushvalue(state, MESSAGE);
            ffi::lua_rawget(state, -2);
            ffi::lua_replace(state, CALLBACK);
        }
        ffi::lua_settop(state, CALLBACK);
    }
}

/// Pushes the coroutine for callbacks, unless it is at work: then nil. It stays in its upvalue, so that it is not lost where an
/// error ends the call.
unsafe fn push_idle(state: *mut lua_State) {
    // SAFETY: as the module says. One place is used.
    unsafe {
        ffi::lua_pushvalue(state, IDLE);
        let idle = ffi::lua_tothread(state, WORKER);
        if !idle.is_null() && ffi::lua_costatus(state, idle) != ffi::LUA_COFIN {
            ffi::lua_pushnil(state);
            ffi::lua_replace(state, WORKER);
        }
    }
}

/// Pushes a message: a text as a string, bytes as a buffer.
unsafe fn push_data(state: *mut lua_State, data: Data<'_>) {
    // SAFETY: as the module says. One place is used. The buffer is as long as was asked for, and not known to anybody else yet.
    unsafe {
        match data {
            Data::Text(text) => push(state, text.as_bytes()),
            Data::Binary(bytes) => {
                let room = ffi::lua_newbuffer(state, bytes.len()).cast::<u8>();
                room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            }
        }
    }
}

/// Has Luau put all messages aside.
unsafe fn keep_all(state: *mut lua_State, call: &mut Call<'_>) {
    // SAFETY: as the module says. 3 places are used.
    unsafe {
        while let Some(data) = call.messages.next() {
            ffi::lua_pushvalue(state, KEEP);
            push_data(state, data);
            ffi::lua_pushvalue(state, SOCKET);
            ffi::lua_call(state, 2, 0);
            call.messages.hold();
            call.kept += 1;
        }
    }
}

/// Has a coroutine call the callback with messages, until there are none or that coroutine can call it no more.
unsafe fn run_callbacks(state: *mut lua_State, call: *mut Call<'_>) {
    // SAFETY: as the module says. 3 places are used. On a worker's empty stack there is room for `LUA_MINSTACK` values, and
    // nothing that may fail runs while some of ours lie there.
    unsafe {
        if ffi::lua_type(state, WORKER) == ffi::LUA_TNIL {
            make_worker(state);
        }
        let worker = ffi::lua_tothread(state, WORKER);
        ffi::lua_xpush(state, worker, RUN);
        ffi::lua_pushlightuserdata(worker, call.cast::<c_void>());
        ffi::lua_xpush(state, worker, CALLBACK);
        ffi::lua_xpush(state, worker, SOCKET);
        match ffi::lua_resume_(worker, state, 3) {
            ffi::LUA_OK => {
                ffi::lua_settop(worker, 0);
                // A script knows it.
                if !(*call).ended {
                    forget_worker(state);
                    give_up_worker(state);
                }
            }
            ffi::LUA_YIELD => {
                (*call).messages.hold();
                ffi::lua_settop(worker, 0);
                ffi::lua_pushvalue(state, WAITS);
                call_with_worker(state);
            }
            _ if (*call).calls => {
                ffi::lua_pushvalue(state, FAILED);
                ffi::lua_xmove(worker, state, 1);
                call_with_worker(state);
            }
            // There was no memory for the message.
            _ => {
                ffi::lua_xmove(worker, state, 1);
                forget_worker(state);
                give_up_worker(state);
                ffi::lua_error(state);
            }
        }
        (*call).calls = false;
    }
}

/// Makes a coroutine whose identity no script knows, and keeps it.
unsafe fn make_worker(state: *mut lua_State) {
    // SAFETY: as the module says. 3 places are used.
    unsafe {
        ffi::lua_newthread(state);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_pushboolean(state, 0);
        ffi::lua_rawset(state, WORKERS);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_replace(state, IDLE);
        ffi::lua_replace(state, WORKER);
    }
}

/// Calls what is on the stack, a function and perhaps an argument, with the worker and the WebSocket: the worker has not come to
/// its end, and the next message needs another one.
unsafe fn call_with_worker(state: *mut lua_State) {
    // SAFETY: as the module says. 3 places are used besides those. The stack had what does not change before.
    unsafe {
        ffi::lua_pushvalue(state, WORKER);
        ffi::lua_pushvalue(state, SOCKET);
        give_up_worker(state);
        let arguments = ffi::lua_gettop(state) - WORKER - 1;
        ffi::lua_call(state, arguments, 0);
    }
}

/// The worker is used no more.
unsafe fn give_up_worker(state: *mut lua_State) {
    // SAFETY: as the module says. One place is used.
    unsafe {
        if ffi::lua_tothread(state, IDLE) == ffi::lua_tothread(state, WORKER) {
            ffi::lua_pushnil(state);
            ffi::lua_replace(state, IDLE);
        }
        ffi::lua_pushnil(state);
        ffi::lua_replace(state, WORKER);
    }
}

/// Whether a script knows the worker's identity is of no matter any more.
unsafe fn forget_worker(state: *mut lua_State) {
    // SAFETY: as the module says. 2 places are used.
    unsafe {
        ffi::lua_pushvalue(state, WORKER);
        ffi::lua_pushnil(state);
        ffi::lua_rawset(state, WORKERS);
    }
}
