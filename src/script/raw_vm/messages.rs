//! The messages that a WebSocket has read, each from its bytes to a script's callback: all of one read in one call of the VM.

use std::ffi::{CStr, c_int, c_void};

use mlua::{
    LightUserData,
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult, LuaTable},
};

use super::super::{interrupt::Interrupt, websocket::Current};
use super::{
    Function, closure, push,
    workers::{Idle, Known, YIELDS},
};
use crate::engine::websocket::{Data, Incoming};

/// What [`receiver`] takes from its table, in the order of `receive`'s upvalues, which begin at 1. It adds `run`.
const PARTS: [&str; 7] = [
    "sockets", "run", "workers", "keep", "waits", "failed", "seen",
];
const SOCKETS: c_int = ffi::lua_upvalueindex(1);
const RUN: c_int = ffi::lua_upvalueindex(2);
const KEEP: c_int = ffi::lua_upvalueindex(4);
const WAITS: c_int = ffi::lua_upvalueindex(5);
const FAILED: c_int = ffi::lua_upvalueindex(6);

/// Where a WebSocket's table has its callbacks, and those the one for messages: the upvalues after the parts.
const FIELDS: [&CStr; 2] = [c"__callbacks", c"message"];
const CALLBACKS: c_int = ffi::lua_upvalueindex(8);
const MESSAGE: c_int = ffi::lua_upvalueindex(9);

/// The last upvalue.
const IDLE: Idle = Idle(ffi::lua_upvalueindex(10));

const KNOWN: Known = Known {
    workers: ffi::lua_upvalueindex(3),
    seen: ffi::lua_upvalueindex(7),
};

/// Where the stack of `receive` has the WebSocket's table, its callback, which is nil where it has none, and the coroutine.
const SOCKET: c_int = 1;
const CALLBACK: c_int = 2;
const WORKER: c_int = 3;

/// What `run` takes from the same table.
const RUN_PARTS: [&str; 3] = ["workers", "seen", "release"];
const RUN_KNOWN: Known = Known {
    workers: ffi::lua_upvalueindex(1),
    seen: ffi::lua_upvalueindex(2),
};
const RELEASE: c_int = ffi::lua_upvalueindex(3);

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
    // SAFETY: as the module says. At most 9 places are used. A light userdata comes from `deliver` alone, whose call outlives
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
        if ffi::lua_type(state, CALLBACK) == ffi::LUA_TNIL {
            keep_all(state, &mut *call);
            return 0;
        }
        while run_callbacks(state, call) {
            ffi::lua_settop(state, CALLBACK);
        }
        0
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

/// Has a coroutine call the callback with messages, until there are none or that coroutine can call it no more. Whether there may
/// be more.
unsafe fn run_callbacks(state: *mut lua_State, call: *mut Call<'_>) -> bool {
    // SAFETY: as the module says. 6 places are used. On a worker's empty stack there is room for `LUA_MINSTACK` values, and
    // nothing that may fail runs while some of ours lie there.
    unsafe {
        let worker = IDLE.push(state, &KNOWN);
        ffi::lua_xpush(state, worker, RUN);
        ffi::lua_pushlightuserdata(worker, call.cast::<c_void>());
        ffi::lua_xpush(state, worker, CALLBACK);
        ffi::lua_xpush(state, worker, SOCKET);
        match ffi::lua_resume_(worker, state, 3) {
            ffi::LUA_OK => {
                ffi::lua_settop(worker, 0);
                // Unless all messages are taken, a script knows it.
                if !(*call).ended {
                    IDLE.is_not(state, WORKER);
                }
                if !IDLE.is(state, WORKER) {
                    KNOWN.forget(state, WORKER);
                }
            }
            ffi::LUA_YIELD => {
                (*call).messages.hold();
                ffi::lua_settop(worker, 0);
                IDLE.is_not(state, WORKER);
                ffi::lua_pushvalue(state, WAITS);
                ffi::lua_pushvalue(state, WORKER);
                ffi::lua_pushvalue(state, SOCKET);
                ffi::lua_call(state, 2, 0);
            }
            _ => {
                IDLE.is_not(state, WORKER);
                ffi::lua_pushvalue(state, FAILED);
                ffi::lua_xmove(worker, state, 1);
                // There was no memory for the message.
                if !(*call).calls {
                    KNOWN.forget(state, WORKER);
                    ffi::lua_error(state);
                }
                ffi::lua_pushvalue(state, WORKER);
                ffi::lua_call(state, 2, 0);
            }
        }
        (*call).calls = false;
        !(*call).ended
    }
}

/// `run(call, callback, socket)`: calls the callback with one message after the other, for as long as it does not wait and no
/// script knows the coroutine.
unsafe extern "C-unwind" fn run(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. Besides the arguments at most 3 places are used. A light userdata comes from `receive` alone,
    // which has resumed this coroutine and holds no reference to the call meanwhile; a script that finds this function on its
    // stack has none to give. It is not used after a callback has waited: then `waited` goes on.
    unsafe {
        let call = ffi::lua_tolightuserdata(state, 1).cast::<Call<'_>>();
        let (false, Some(any_seen)) = (call.is_null(), RUN_KNOWN.any_seen(state)) else {
            return 0;
        };
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
            if any_seen.get() != 0 {
                ffi::lua_pushthread(state);
                if RUN_KNOWN.is_seen(state, -1) {
                    return 0;
                }
                ffi::lua_pop(state, 1);
            }
        }
        (*call).ended = true;
        0
    }
}

/// What comes after a callback in [`run`] that has waited: other messages are others' by now.
unsafe extern "C-unwind" fn waited(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: as the module says; what a continuation needs of the stack it has to ask for.
    unsafe {
        ffi::lua_rawcheckstack(state, 2);
        ffi::lua_pushvalue(state, RELEASE);
        ffi::lua_pushthread(state);
        ffi::lua_call(state, 1, 0);
        0
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
