//! The messages that a WebSocket has read, each from its bytes to a script's callback.
//!
//! Rust resumes a worker with a WebSocket's number: it calls the callback with one message after the other, and yields when there
//! are no more. A callback that waits keeps its coroutine, and another one goes on.

use std::ffi::c_int;

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaResult, LuaTable},
};

use super::super::{interrupt::Interrupt, websocket::Current};
use super::{
    Function, push,
    workers::{Crew, NUMBER, Workers, YIELDS, begins, end, upvalue},
};
use crate::engine::websocket::{Data, Incoming};

/// What [`Receiver::new`] takes from its table, in the order of `work`'s upvalues.
const PARTS: [&str; 4] = ["tables", "callbacks", "keep", "release"];
const TABLES: c_int = upvalue(0);
const CALLBACKS: c_int = upvalue(1);
const KEEP: c_int = upvalue(2);
const RELEASE: c_int = upvalue(3);

/// Where a worker's stack has, after its number, the WebSocket's table and its callback.
const SOCKET: c_int = 2;
const CALLBACK: c_int = 3;

/// Calls a script's callbacks for messages.
pub struct Receiver {
    crew: Crew,
}

/// The WebSocket that messages come from.
pub struct Source<'s> {
    /// Its number.
    pub number: u64,
    /// Its place in the arrays of `luau/websocket.luau`, from 0.
    pub place: usize,
    /// What stops callbacks that run for too long.
    pub interrupt: &'s Interrupt,
    /// Whose messages are handed on: this one's.
    pub current: &'s Current,
}

/// What one read has brought, while it is handed on.
struct Call<'c> {
    from: &'c Source<'c>,
    messages: &'c mut dyn Incoming,
    /// Messages that nobody has taken yet.
    kept: u64,
    /// A callback was called, and has not returned.
    calls: bool,
    /// There are no more messages.
    ended: bool,
    /// The worker can be resumed again.
    rests: bool,
}

impl Receiver {
    /// `parts` is made by `luau/websocket.luau`, which says what is in it; `scheduler` is what `luau/scheduler.luau` returned.
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn new(lua: &Lua, parts: &LuaTable, scheduler: &LuaTable) -> LuaResult<Self> {
        let work = Function::new(c"work", work).continued_by(resumed);
        let crew = Crew::new(lua, parts, scheduler, &PARTS, &[], work)?;
        Ok(Self { crew })
    }

    /// Hands on what came; how many messages were put aside for whoever asks for them. `messages` must not use the VM.
    ///
    /// # Errors
    /// When the VM has no memory left; the messages that were not taken are lost.
    pub fn deliver(
        &self,
        lua: &Lua,
        from: &Source<'_>,
        messages: &mut dyn Incoming,
    ) -> (u64, LuaResult<()>) {
        let mut call = Call {
            from,
            messages,
            kept: 0,
            calls: false,
            ended: false,
            rests: false,
        };
        let mut delivered = Ok(());
        while delivered.is_ok() && !call.ended {
            delivered = self.resume_worker(lua, &mut call);
        }
        (call.kept, delivered)
    }

    /// Has one worker hand on messages, until there are no more or it can't.
    fn resume_worker(&self, lua: &Lua, call: &mut Call<'_>) -> LuaResult<()> {
        let worker = self.crew.take()?;
        let workers = &self.crew.workers;
        (call.calls, call.rests) = (false, false);
        let pointer: *mut Call<'_> = call;
        match workers.resume(worker, pointer.cast()) {
            ffi::LUA_YIELD if call.rests => {
                workers.put_back(worker);
                Ok(())
            }
            ffi::LUA_YIELD => {
                call.messages.hold();
                workers.waits(worker, call.from.number);
                Ok(())
            }
            // A script knows it: it has come to its end.
            ffi::LUA_OK => Ok(()),
            // There was no memory for the message.
            ffi::LUA_ERRMEM if !call.calls => Err(self.crew.out_of_memory(lua, worker)),
            _ => self.crew.report(lua, worker),
        }
    }
}

/// `work(number)`: the body of a worker, which begins to work when it is resumed.
unsafe extern "C-unwind" fn work(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says.
    unsafe { if begins(state) { rest(state) } else { 0 } }
}

/// What a worker does when it is resumed, and when the callback that it has called returns after it has waited, or has caught an
/// error: the VM has left [`hand_on`] then.
unsafe extern "C-unwind" fn resumed(state: *mut lua_State, _status: c_int) -> c_int {
    // SAFETY: as the module says; what a continuation needs of the stack it has to ask for. At most 5 places are used. The call
    // lives until this worker has yielded.
    unsafe {
        ffi::lua_rawcheckstack(state, 5);
        let Some(workers) = Workers::of(state) else {
            return 0;
        };
        let call = workers.call_of(state).cast::<Call<'_>>();
        if call.is_null() {
            return after_wait(state, workers);
        }
        if ffi::lua_gettop(state) > NUMBER {
            return after_callback(state, workers, call);
        }
        let index = (*call).from.place as c_int + 1;
        ffi::lua_rawgeti_(state, TABLES, index);
        ffi::lua_rawgeti_(state, CALLBACKS, index);
        (*call)
            .from
            .current
            .lies_at(ffi::lua_topointer(state, SOCKET));
        hand_on(state, workers, call)
    }
}

/// Calls the callback with one message after the other.
unsafe fn hand_on(state: *mut lua_State, workers: &Workers, call: *mut Call<'_>) -> c_int {
    // SAFETY: as `resumed` says: no reference to the call is held while a callback runs, and it is not used after that has waited.
    unsafe {
        let has_callback = ffi::lua_toboolean(state, CALLBACK) != 0;
        while let Some(data) = (*call).messages.next() {
            if has_callback {
                (*call).from.interrupt.next_turn();
                ffi::lua_pushvalue(state, CALLBACK);
                ffi::lua_pushvalue(state, SOCKET);
                push_data(state, data);
                (*call).calls = true;
            } else {
                ffi::lua_pushvalue(state, KEEP);
                ffi::lua_pushvalue(state, SOCKET);
                push_data(state, data);
                (*call).messages.hold();
                (*call).kept += 1;
            }
            ffi::lua_call(state, 2, 0);
            if ffi::lua_status(state) != ffi::LUA_OK {
                return YIELDS;
            }
            (*call).calls = false;
            if workers.is_seen(state) {
                return end(state);
            }
        }
        (*call).ended = true;
        (*call).rests = true;
        rest(state)
    }
}

/// A callback that has caught an error has returned.
unsafe fn after_callback(state: *mut lua_State, workers: &Workers, call: *mut Call<'_>) -> c_int {
    // SAFETY: as `resumed` says.
    unsafe {
        (*call).calls = false;
        if workers.is_seen(state) {
            return end(state);
        }
        hand_on(state, workers, call)
    }
}

/// The callback that a worker has called has waited, and returned: its message is not held on to any more.
unsafe fn after_wait(state: *mut lua_State, workers: &Workers) -> c_int {
    // SAFETY: as the module says. At most 2 places are used.
    unsafe {
        let number = ffi::lua_tonumber(state, NUMBER) as u64;
        if workers.was_disturbed(number) {
            return rest(state);
        }
        if let Some(socket) = workers.waited(number) {
            ffi::lua_pushvalue(state, RELEASE);
            ffi::lua_pushnumber(state, socket as f64);
            ffi::lua_call(state, 1, 0);
            workers.done(number);
        }
        if workers.keep(state, number) {
            return rest(state);
        }
        end(state)
    }
}

/// The worker waits until it is resumed, and holds on to nothing.
unsafe fn rest(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says.
    unsafe {
        ffi::lua_settop(state, NUMBER);
        ffi::lua_yield(state, 0)
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
