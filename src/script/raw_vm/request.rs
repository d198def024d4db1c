//! The beginning of a client's request: what its shim has checked, straight from the VM's stack.

use std::{ffi::c_int, marker::PhantomData};

use mlua::{
    ffi::{self, lua_State},
    prelude::{Lua, LuaFunction, LuaResult},
};

use super::string;
use crate::script::contained::contained;

/// A request without options, as its script wrote it.
pub struct PlainRequest<'v> {
    /// The URL.
    pub url: &'v [u8],
    /// The method.
    pub method: &'v [u8],
    /// Names and values.
    pub fields: Pairs<'v>,
    /// Maybe empty.
    pub body: &'v [u8],
}

/// Starts a request: the number of the wait. None when it can't, and then it does nothing. It must not use the VM.
type Starter = Box<dyn Fn(PlainRequest<'_>) -> Option<u64>>;

/// A function `start(url, method, fields, body)` of three strings and a list of strings, which calls `starter`: the number of
/// the wait, or nil.
///
/// # Errors
/// When the VM has no memory left.
pub fn request_starter(
    lua: &Lua,
    starter: impl Fn(PlainRequest<'_>) -> Option<u64> + 'static,
) -> LuaResult<LuaFunction> {
    let mut starter: Option<Starter> = Some(Box::new(starter));
    // SAFETY: the userdata is the VM's, which drops the starter with it. Until there is room, this function owns the starter.
    unsafe {
        lua.exec_raw((), move |state| {
            let room = ffi::lua_newuserdata_t::<Option<Starter>>(state, None);
            *room = starter.take();
            ffi::lua_pushcclosurek(state, start, c"start".as_ptr(), 1, None);
        })
    }
}

/// `start(url, method, fields, body)`; the upvalue is the starter.
unsafe extern "C-unwind" fn start(state: *mut lua_State) -> c_int {
    // SAFETY: as the module says. Besides the arguments one place is used. The upvalue is what `request_starter` made, out of
    // reach of scripts. The strings are on the stack while the starter runs, those of the list by way of the list.
    unsafe {
        let starter = ffi::lua_touserdata(state, ffi::lua_upvalueindex(1));
        let Some(Some(starter)) = starter.cast::<Option<Starter>>().as_ref() else {
            return 0;
        };
        let (Some(url), Some(method), Some(body)) =
            (string(state, 1), string(state, 2), string(state, 4))
        else {
            return 0;
        };
        if ffi::lua_type(state, 3) != ffi::LUA_TTABLE {
            return 0;
        }
        let request = PlainRequest {
            url,
            method,
            fields: Pairs::of_list(state, 3),
            body,
        };
        match contained(|| starter(request)) {
            Ok(Some(wait)) => {
                ffi::lua_pushnumber(state, wait as f64);
                1
            }
            _ => 0,
        }
    }
}

/// The strings of a list, two by two.
pub struct Pairs<'v> {
    state: *mut lua_State,
    list: c_int,
    next: c_int,
    values: PhantomData<&'v [u8]>,
}

impl Pairs<'_> {
    /// Those of the table at `list`, which stays there, with a free place on the stack.
    unsafe fn of_list(state: *mut lua_State, list: c_int) -> Self {
        Self {
            state,
            list,
            next: 1,
            values: PhantomData,
        }
    }
}

impl<'v> Pairs<'v> {
    fn string(&mut self) -> Option<&'v [u8]> {
        // SAFETY: as `of_list` was promised. No function here allocates, and the list keeps its strings.
        unsafe {
            ffi::lua_rawgeti_(self.state, self.list, self.next);
            let text = string(self.state, -1);
            ffi::lua_pop(self.state, 1);
            self.next += 1;
            text
        }
    }
}

impl<'v> Iterator for Pairs<'v> {
    type Item = (&'v [u8], &'v [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.string()?, self.string()?))
    }
}
