//! Bodies that are made while they are sent: by a script's function, piece by piece.

use std::{
    cell::RefCell,
    io,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};

use mlua::prelude::{Lua, LuaError, LuaResult, LuaString, LuaTable, LuaValue};

use super::{GONE, Script, plain_message};
use crate::engine::{numbered::Numbered, service::BodySource};

/// Bodies that are made but not sent yet, and those that wait for a piece of a script's.
#[derive(Default)]
pub struct Sources {
    made: RefCell<Numbered<Box<dyn BodySource>>>,
    asked: RefCell<Numbered<Rc<RefCell<PieceSlot>>>>,
}

/// The natives behind `luau/bodies.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let weak = Rc::downgrade(script);
    let stream = move |_: &Lua, ()| match weak.upgrade() {
        Some(script) => Ok(script.sources.make(&script)),
        None => Err(LuaError::runtime(GONE)),
    };
    native.set("stream", lua.create_function(stream)?)?;
    let weak = Rc::downgrade(script);
    let piece = move |_: &Lua, (number, piece, problem): (u64, LuaValue, Option<LuaString>)| {
        if let Some(script) = weak.upgrade() {
            let problem = problem.map(|problem| problem.to_string_lossy());
            script.sources.piece(number, &piece, problem);
        }
        Ok(())
    };
    native.set("piece", lua.create_function(piece)?)?;
    Ok(native)
}

/// Where a script's next piece arrives.
#[derive(Default)]
struct PieceSlot {
    asked: bool,
    piece: Option<io::Result<Option<Vec<u8>>>>,
    waker: Option<Waker>,
}

impl Sources {
    /// Keeps a source for the answer that will name it by the returned number.
    pub fn insert(&self, script: &Script, source: Box<dyn BodySource>) -> u64 {
        let number = script.next_number();
        self.made.borrow_mut().insert(number, source);
        number
    }

    /// Makes a source of the script's function that `luau/bodies.luau` knows by the returned number.
    fn make(&self, script: &Rc<Script>) -> u64 {
        let number = script.next_number();
        let slot = Rc::<RefCell<PieceSlot>>::default();
        self.asked.borrow_mut().insert(number, slot.clone());
        let source = FunctionBody {
            script: Rc::downgrade(script),
            number,
            slot,
            over: false,
        };
        self.made.borrow_mut().insert(number, Box::new(source));
        number
    }

    /// The source of this number, once.
    pub fn take(&self, number: u64) -> Option<Box<dyn BodySource>> {
        self.made.borrow_mut().remove(&number)
    }

    /// Takes the piece that the function of this number returned: a string, nil for the end, false for a failure, whose
    /// reason is then given.
    fn piece(&self, number: u64, piece: &LuaValue, problem: Option<String>) {
        let Some(slot) = self.asked.borrow().get(&number).cloned() else {
            return;
        };
        let mut slot = slot.borrow_mut();
        slot.piece = Some(match piece {
            LuaValue::String(piece) => Ok(Some(bytes_of(piece))),
            LuaValue::Nil => Ok(None),
            _ => Err(io::Error::other(problem.unwrap_or_default())),
        });
        slot.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Drops all.
    pub fn clear(&self) {
        drop(self.made.take());
        self.asked.take();
    }
}

fn bytes_of(text: &LuaString) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A body made by a script's function.
struct FunctionBody {
    script: Weak<Script>,
    number: u64,
    slot: Rc<RefCell<PieceSlot>>,
    over: bool,
}

impl BodySource for FunctionBody {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        let Some(script) = self.script.upgrade() else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        };
        if !std::mem::replace(&mut self.slot.borrow_mut().asked, true) {
            // The script's function may answer at once: nothing is borrowed here.
            if let Err(error) = script.pull(self.number) {
                let problem = io::Error::other(plain_message(&error));
                self.slot.borrow_mut().piece.get_or_insert(Err(problem));
            }
        }
        let mut slot = self.slot.borrow_mut();
        let Some(piece) = slot.piece.take() else {
            slot.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        slot.asked = false;
        self.over = !matches!(piece, Ok(Some(_)));
        Poll::Ready(piece)
    }
}

impl Drop for FunctionBody {
    fn drop(&mut self) {
        if let Some(script) = self.script.upgrade() {
            script.sources.asked.borrow_mut().remove(&self.number);
            script.end_stream(self.number, self.over);
        }
    }
}
