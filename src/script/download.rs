//! The body of a streamed response: read piece by piece as Luau asks for it.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use mlua::prelude::{Lua, LuaNil, LuaResult, LuaUserData};
use mlua::{AnyUserData, IntoLuaMulti};

use super::{
    Script,
    fetch::{Started, begun, failed, refused},
    natives::Natives,
    scheduler::Delivery,
};
use crate::engine::{client::ResponseBody, quota::Permit};

/// A body that comes in pieces.
pub trait Pieces {
    /// The next piece, never an empty one; none at the end.
    ///
    /// # Errors
    /// As the script sees it; nothing more comes after it.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, String>>;

    /// Whether all has been read, or nothing more can be.
    fn is_ended(&self) -> bool;
}

impl Pieces for ResponseBody {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, String>> {
        ResponseBody::poll_next(self, context).map_err(failed)
    }

    fn is_ended(&self) -> bool {
        ResponseBody::is_ended(self)
    }
}

/// Adds the natives behind `luau/response.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn add_natives(natives: &Natives<'_>, lua: &Lua) -> LuaResult<()> {
    natives.set("read", |script, handle: AnyUserData| {
        let download = handle.borrow::<Download>()?.0.clone();
        Ok(read_piece(script, &download))
    })?;
    let close_download = |_: &Lua, handle: AnyUserData| {
        let download = handle.borrow::<Download>()?.0.clone();
        close(&download);
        Ok(())
    };
    natives
        .table()
        .set("close", lua.create_function(close_download)?)
}

/// The bodies of responses that were collected before they were closed. What they hold may use the VM when it is dropped, which
/// it can't while it collects.
#[derive(Default)]
pub struct Collected(RefCell<Vec<Box<dyn Pieces>>>);

impl Collected {
    /// Drops them, and so closes their connections.
    pub fn clear(&self) {
        drop(self.0.take());
    }

    fn add(&self, script: &Rc<Script>, body: Box<dyn Pieces>) {
        self.0.borrow_mut().push(body);
        let collected_by = Rc::downgrade(script);
        let clearing = async move {
            if let Some(script) = collected_by.upgrade() {
                script.collected.clear();
            }
        };
        script.engine.spawn(clearing).detach();
    }
}

/// The body of a streamed response, as Luau holds it: collected, it closes the connection.
pub struct Download(Rc<RefCell<Open>>);

impl LuaUserData for Download {}

impl Download {
    /// A body of which nothing was read yet; the request counts until it has come to its end.
    pub fn new(script: Weak<Script>, body: Box<dyn Pieces>, permit: Permit) -> Self {
        Self(Rc::new(RefCell::new(Open {
            script,
            body: Some(body),
            reader: None,
            closed: false,
            permit: Some(permit),
        })))
    }
}

struct Open {
    script: Weak<Script>,
    /// None once it is closed, and while it is polled: then Luau may run and come here again.
    body: Option<Box<dyn Pieces>>,
    /// Who waits for the next piece.
    reader: Option<Waker>,
    closed: bool,
    /// Until the body has come to its end.
    permit: Option<Permit>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let body = self.body.take();
        // One that has ended uses the VM no more.
        let script = self.script.upgrade().filter(|script| !script.ended.get());
        if let (Some(body), Some(script)) = (body, script) {
            script.collected.add(&script, body);
        }
    }
}

/// Closes the connection and ends a read. What is dropped may run Luau, so nothing is borrowed meanwhile.
fn close(download: &RefCell<Open>) {
    let mut open = download.borrow_mut();
    open.closed = true;
    open.permit = None;
    let (body, reader) = (open.body.take(), open.reader.take());
    drop(open);
    drop(body);
    reader.into_iter().for_each(Waker::wake);
}

/// Starts to read the next piece. A coroutine that is closed meanwhile closes the response.
fn read_piece(script: &Script, download: &Rc<RefCell<Open>>) -> Started {
    {
        let mut open = download.borrow_mut();
        if open.reader.is_some() {
            return refused("another coroutine reads this response already".to_owned());
        }
        if open.body.as_ref().is_none_or(|body| body.is_ended()) {
            return (None, None);
        }
        open.reader = Some(Waker::noop().clone());
    }
    let reading = Reading(download.clone());
    begun(script.scheduler.start(async move {
        let piece = poll_fn(|context| poll_piece(&reading.0, context)).await?;
        let delivery = move |lua: &Lua| match piece {
            Some(piece) => lua.create_string(&piece)?.into_lua_multi(lua),
            None => LuaNil.into_lua_multi(lua),
        };
        Ok(Box::new(delivery) as Delivery)
    }))
}

fn poll_piece(
    download: &RefCell<Open>,
    context: &mut Context<'_>,
) -> Poll<Result<Option<Vec<u8>>, String>> {
    let mut open = download.borrow_mut();
    let Some(mut body) = open.body.take() else {
        return Poll::Ready(Ok(None));
    };
    open.reader = Some(context.waker().clone());
    drop(open);
    let polled = body.poll_next(context);
    let mut open = download.borrow_mut();
    if open.closed {
        drop(open);
        return Poll::Ready(Ok(None));
    }
    if body.is_ended() {
        open.permit = None;
    }
    open.body = Some(body);
    if polled.is_ready() {
        open.reader = None;
    }
    polled
}

/// A read under way. When it is dropped while somebody still waits for the piece, nobody will.
struct Reading(Rc<RefCell<Open>>);

impl Drop for Reading {
    fn drop(&mut self) {
        if self.0.borrow().reader.is_some() {
            close(&self.0);
        }
    }
}
