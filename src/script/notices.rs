//! What the engine tells our Luau files: clients that are gone, bodies that are wanted, WebSockets.

use mlua::prelude::{LuaResult, LuaTable};

use super::{
    Script,
    memory::beyond_the_limit,
    modules::{Modules, WebSocketFunctions},
};

impl Script {
    /// The client of an exchange is gone; its handler, which waits in this worker if it does, may be collected if that is for
    /// nothing.
    pub(super) fn exchange_gone(&self, exchange: u64, worker: Option<u64>) {
        let gone = self.call_luau(Modules::server, |server| {
            let worker = worker.filter(|worker| server.handlers.give_up(exchange, *worker));
            beyond_the_limit(&self.lua()?, || server.gone.call((exchange, worker)))
        });
        self.report_unless_fine(gone);
    }

    /// What a handler returned can't be sent.
    pub(super) fn unsendable(&self, exchange: u64, request: Option<&LuaTable>, problem: &str) {
        let told = self.call_luau(Modules::server, |server| {
            server.unsendable.call((exchange, request, problem))
        });
        self.report_unless_fine(told);
    }

    /// Asks the function of a body source for its next piece.
    ///
    /// # Errors
    /// When the VM has no memory left: no piece will come.
    pub(super) fn pull(&self, source: u64) -> LuaResult<()> {
        self.call_luau(Modules::bodies, |bodies| bodies.pull.call(source))
            .inspect_err(|error| self.report_failure(error))
    }

    /// A body source is sent to its end, or dropped before it.
    pub(super) fn end_stream(&self, source: u64, whole: bool) {
        let ended = self.call_luau(Modules::bodies, |bodies| {
            beyond_the_limit(&self.lua()?, || bodies.end_stream.call((source, whole)))
        });
        self.report_unless_fine(ended);
    }

    /// Calls one of the functions for WebSockets; none when that failed, which is reported, or they are not loaded.
    pub(super) fn call_websockets<R>(
        &self,
        call: impl FnOnce(&WebSocketFunctions) -> LuaResult<R>,
    ) -> Option<R> {
        let luau = self.luau.get().filter(|_| !self.ended.get())?;
        let _turn = self.interrupt.turn();
        let called = call(luau.modules.websockets()?);
        called.inspect_err(|error| self.report_failure(error)).ok()
    }

    /// Calls one of the functions of a module, if that is loaded.
    fn call_luau<F>(
        &self,
        functions: impl FnOnce(&Modules) -> Option<&F>,
        call: impl FnOnce(&F) -> LuaResult<()>,
    ) -> LuaResult<()> {
        let luau = self.luau.get().filter(|_| !self.ended.get());
        let Some(functions) = luau.and_then(|luau| functions(&luau.modules)) else {
            return Ok(());
        };
        let _turn = self.interrupt.turn();
        call(functions)
    }

    fn report_unless_fine(&self, called: LuaResult<()>) {
        if let Err(error) = called {
            self.report_failure(&error);
        }
    }
}
