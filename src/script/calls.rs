//! Calls of the host's into its scripts: a function runs in a coroutine of its own, and the host gets what it returned.

use std::{
    cell::RefCell,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use mlua::prelude::{Lua, LuaFunction, LuaMultiValue, LuaResult, LuaTable, LuaThread, LuaValue};
use mlua::{FromLuaMulti, IntoLuaMulti};

use super::{GONE, Script, describe, plain_message};
use crate::engine::numbered::Numbered;

/// The calls that have not returned.
#[derive(Default)]
pub struct Calls {
    open: RefCell<Numbered<Rc<RefCell<Slot>>>>,
}

/// Where a call's results arrive.
#[derive(Default)]
struct Slot {
    outcome: Option<Result<LuaMultiValue, String>>,
    waker: Option<Waker>,
}

impl Calls {
    /// What the function returned, or why it did not.
    pub fn returned(&self, number: u64, fine: bool, values: LuaMultiValue) {
        let outcome = if fine {
            Ok(values)
        } else {
            Err(describe(values.front().unwrap_or(&LuaValue::Nil)))
        };
        self.end(number, outcome);
    }

    /// Ends all: nothing of theirs runs any more.
    pub fn clear(&self) {
        let open: Vec<u64> = self.open.borrow().keys().copied().collect();
        for number in open {
            self.end(number, Err(GONE.to_owned()));
        }
    }

    fn end(&self, number: u64, outcome: Result<LuaMultiValue, String>) {
        let slot = self.open.borrow_mut().remove(&number);
        if let Some(slot) = slot {
            let mut slot = slot.borrow_mut();
            slot.outcome = Some(outcome);
            slot.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

/// The natives behind `luau/host.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let script = Rc::downgrade(script);
    let returned = move |_: &Lua, (number, fine, values): (u64, bool, LuaMultiValue)| {
        if let Some(script) = script.upgrade() {
            script.calls.returned(number, fine, values);
        }
        Ok(())
    };
    native.set("returned", lua.create_function(returned)?)?;
    Ok(native)
}

/// A call that runs; see [`Scripts::call`](crate::Scripts::call). Its value is what the function returned, or the text of
/// what it raised. Dropping it closes the function's coroutine.
///
/// ```
/// let runtime = lute_net::Runtime::builder().build()?;
/// let waits = runtime.lua().load("return function() require('@lute/task').wait(60) end").eval()?;
/// let call = runtime.call::<()>(&waits, ());
/// assert_eq!(runtime.waiting_coroutines(), 1);
/// drop(call);
/// assert_eq!(runtime.waiting_coroutines(), 0);
/// # Ok::<(), lute_net::Error>(())
/// ```
pub struct Call<R> {
    script: Weak<Script>,
    number: u64,
    slot: Rc<RefCell<Slot>>,
    thread: Option<LuaThread>,
    returns: PhantomData<fn() -> R>,
}

impl<R: FromLuaMulti> Call<R> {
    /// Calls `function`: it runs up to its first wait.
    pub(crate) fn start(
        script: &Rc<Script>,
        function: &LuaFunction,
        arguments: impl IntoLuaMulti,
    ) -> Self {
        let number = script.next_number();
        let slot = Rc::<RefCell<Slot>>::default();
        script.calls.open.borrow_mut().insert(number, slot.clone());
        let thread = match drive(script, number, function, arguments) {
            Ok(thread) => Some(thread),
            Err(error) => {
                script.calls.end(number, Err(plain_message(&error)));
                None
            }
        };
        Self {
            script: Rc::downgrade(script),
            number,
            slot,
            thread,
            returns: PhantomData,
        }
    }

    /// What the function returned, once it has: for a frame loop, which asks after each step. None before that, and after
    /// it was taken.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = lute_net::Runtime::builder().build()?;
    /// let add = runtime.lua().load("return function(a, b) require('@lute/task').wait(0.02) return a + b end").eval()?;
    /// let mut call = runtime.call::<f64>(&add, (1, 2));
    /// let sum = loop {
    ///     runtime.step(Duration::from_millis(2))?; // a frame
    ///     if let Some(sum) = call.take() {
    ///         break sum;
    ///     }
    /// };
    /// assert_eq!(sum, Ok(3.0));
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the function raised, as a text; or that its values are not of the type that was asked for.
    pub fn take(&mut self) -> Option<Result<R, String>> {
        let outcome = self.slot.borrow_mut().outcome.take()?;
        Some(outcome.and_then(|values| self.convert(values)))
    }

    fn convert(&self, values: LuaMultiValue) -> Result<R, String> {
        let script = self.script.upgrade().ok_or(GONE)?;
        let lua = script.lua().map_err(|error| plain_message(&error))?;
        R::from_lua_multi(values, &lua).map_err(|error| plain_message(&error))
    }
}

impl<R: FromLuaMulti> Future for Call<R> {
    type Output = Result<R, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        self.slot.borrow_mut().waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<R> Drop for Call<R> {
    fn drop(&mut self) {
        let Some(script) = self.script.upgrade() else {
            return;
        };
        let open = script
            .calls
            .open
            .borrow_mut()
            .remove(&self.number)
            .is_some();
        if let Some(thread) = self.thread.take().filter(|_| open) {
            script.give_up(thread);
        }
    }
}

fn drive(
    script: &Rc<Script>,
    number: u64,
    function: &LuaFunction,
    arguments: impl IntoLuaMulti,
) -> LuaResult<LuaThread> {
    let lua: Lua = script.lua()?;
    let arguments = arguments.into_lua_multi(&lua)?;
    let _turn = script.interrupt.turn();
    script
        .host_functions(&lua)?
        .call
        .call((number, function, arguments))
}
