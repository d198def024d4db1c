//! Modules of the host's own: what its scripts get from `require("@game/…")`.

use std::{error::Error as StdError, future::Future, rc::Rc};

use mlua::prelude::{Lua, LuaError, LuaFunction, LuaMultiValue, LuaResult, LuaTable, LuaValue};
use mlua::{FromLuaMulti, IntoLua, IntoLuaMulti};

use super::{
    Script,
    contained::{Contained, contained},
    plain_message,
    scheduler::Delivery,
};

/// The host's modules, each made when a script first requires it.
#[derive(Clone, Default)]
pub struct HostModules {
    makers: Vec<(String, Maker)>,
}

type Maker = Rc<dyn Fn(&mut HostModule<'_>) -> LuaResult<()>>;

impl HostModules {
    /// Adds a module that `make` fills.
    pub fn add(
        &mut self,
        name: &str,
        make: impl Fn(&mut HostModule<'_>) -> LuaResult<()> + 'static,
    ) {
        self.makers.push((name.to_owned(), Rc::new(make)));
    }

    /// The names of the modules.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.makers.iter().map(|(name, _)| name.as_str())
    }

    /// Makes the module of this name, if the host has one.
    ///
    /// # Errors
    /// Its maker's, also when that panics.
    pub fn make(
        &self,
        lua: &Lua,
        script: &Rc<Script>,
        shims: &HostShims,
        name: &str,
    ) -> LuaResult<Option<LuaTable>> {
        let Some((name, make)) = self.makers.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        let mut module = HostModule {
            lua,
            script,
            shims,
            table: lua.create_table()?,
        };
        match contained(|| make(&mut module)) {
            Ok(made) => made?,
            Err(text) => {
                return Err(LuaError::runtime(format!(
                    "module '{name}' panicked: {text}"
                )));
            }
        }
        module.table.set_readonly(true);
        Ok(Some(module.table))
    }
}

/// The functions of `luau/host.luau` around the host's own.
#[derive(Clone)]
pub struct HostShims {
    /// Around one that answers at once.
    pub immediate: LuaFunction,
    /// Around one that waits.
    pub waiting: LuaFunction,
}

/// A module of the host's while it is being filled; see [`Builder::module`](crate::Builder::module).
///
/// Arguments and results are converted by mlua's traits. A wrong argument, an error and a panic raise a plain string with
/// the calling script's position.
///
/// ```
/// use lute_net::{Runtime, Error};
///
/// let runtime = Runtime::builder()
///     .module("@game/map", |module| {
///         module.value("width", 64)?;
///         module.function("distance", |_, (x, y): (f64, f64)| Ok::<_, String>(x.hypot(y)))?;
///         module.async_function("load", |_, name: String| async move {
///             let path = format!("/no/such/folder/{name}");
///             smol::fs::read_to_string(&path).await.map_err(|error| format!("{path}: {error}"))
///         })
///     })
///     .build()?;
/// runtime.load_source("map.luau", r#"
///     local map = require("@game/map") :: any
///     assert(map.distance(3, 4) == 5 and map.width == 64)
///     local fine, problem = pcall(function() return map.load("level 1") end)
///     assert(string.find(problem, "^map.luau:4: /no/such/folder/level 1: "))
/// "#, &[])?;
/// runtime.run()?;
/// assert_eq!(runtime.uncaught_errors(), 0);
/// # Ok::<(), Error>(())
/// ```
pub struct HostModule<'m> {
    lua: &'m Lua,
    script: &'m Rc<Script>,
    shims: &'m HostShims,
    table: LuaTable,
}

impl HostModule<'_> {
    /// The VM that the module is made for.
    ///
    /// ```
    /// let builder = lute_net::Runtime::builder().module("@game/list", |module| {
    ///     let items = module.lua().create_sequence_from(["sword", "shield"])?;
    ///     module.value("items", items)
    /// });
    /// # Ok::<(), lute_net::Error>(())
    /// ```
    pub fn lua(&self) -> &Lua {
        self.lua
    }

    /// Sets a field to a value.
    ///
    /// ```
    /// let builder = lute_net::Runtime::builder()
    ///     .module("@game/map", |module| module.value("width", 64));
    /// ```
    ///
    /// # Errors
    /// When the value can't be converted, or the VM has no memory left.
    pub fn value(&mut self, name: &str, value: impl IntoLua) -> LuaResult<()> {
        self.table.set(name, value)
    }

    /// Adds a function that answers at once.
    ///
    /// ```
    /// let builder = lute_net::Runtime::builder().module("@game/map", |module| {
    ///     module.function("distance", |_, (x, y): (f64, f64)| Ok::<_, String>(x.hypot(y)))
    /// });
    /// ```
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn function<A, R, E>(
        &mut self,
        name: &str,
        function: impl Fn(&Lua, A) -> Result<R, E> + 'static,
    ) -> LuaResult<()>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
        E: Into<Box<dyn StdError>>,
    {
        let called = name.to_owned();
        let native = move |lua: &Lua, arguments: LuaMultiValue| {
            let outcome = arguments_of(lua, &called, arguments)
                .and_then(|arguments| {
                    let returned = contained(|| function(lua, arguments));
                    returned.map_err(|text| panic_text(&called, &text))
                })
                .and_then(|returned| returned.map_err(error_text));
            match outcome {
                Ok(values) => {
                    let mut values = values.into_lua_multi(lua)?;
                    values.push_front(LuaValue::Boolean(true));
                    Ok(values)
                }
                Err(problem) => (false, problem).into_lua_multi(lua),
            }
        };
        self.add(
            name,
            &self.shims.immediate,
            self.lua.create_function(native)?,
        )
    }

    /// Adds a function that may wait: the calling coroutine yields until the future is ready. It is polled on the
    /// runtime's thread, and dropped when the coroutine is cancelled.
    ///
    /// ```
    /// let builder = lute_net::Runtime::builder().module("@game/files", |module| {
    ///     module.async_function("read", |_, path: String| smol::fs::read_to_string(path))
    /// });
    /// ```
    ///
    /// # Errors
    /// When the VM has no memory left.
    pub fn async_function<A, R, E, F>(
        &mut self,
        name: &str,
        function: impl Fn(Lua, A) -> F + 'static,
    ) -> LuaResult<()>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti + 'static,
        E: Into<Box<dyn StdError>>,
        F: Future<Output = Result<R, E>> + 'static,
    {
        let (called, script) = (name.to_owned(), Rc::downgrade(self.script));
        let native = move |lua: &Lua, arguments: LuaMultiValue| {
            let Some(script) = script.upgrade() else {
                return Ok((None, Some(super::GONE.to_owned())));
            };
            let started = arguments_of(lua, &called, arguments).and_then(|arguments| {
                contained(|| function(lua.clone(), arguments))
                    .map_err(|text| panic_text(&called, &text))
            });
            Ok(match started {
                Ok(future) => (Some(start(&script, called.clone(), future)), None),
                Err(problem) => (None, Some(problem)),
            })
        };
        self.add(name, &self.shims.waiting, self.lua.create_function(native)?)
    }

    fn add(&self, name: &str, shim: &LuaFunction, native: LuaFunction) -> LuaResult<()> {
        let function: LuaFunction = shim.call(native)?;
        self.table.set(name, function)
    }
}

fn start<R, E, F>(script: &Script, called: String, future: F) -> u64
where
    R: IntoLuaMulti + 'static,
    E: Into<Box<dyn StdError>>,
    F: Future<Output = Result<R, E>> + 'static,
{
    script.scheduler.start(async move {
        match Contained::new(future).await {
            Ok(Ok(values)) => Ok(Box::new(move |lua: &Lua| values.into_lua_multi(lua)) as Delivery),
            Ok(Err(error)) => Err(error_text(error)),
            Err(text) => Err(panic_text(&called, &text)),
        }
    })
}

/// The arguments as the host's function wants them.
fn arguments_of<A: FromLuaMulti>(
    lua: &Lua,
    called: &str,
    arguments: LuaMultiValue,
) -> Result<A, String> {
    let given = arguments.clone();
    A::from_lua_args(arguments, 1, Some(called), lua)
        .map_err(|error| argument_problem(called, &given, &error))
}

fn argument_problem(called: &str, given: &LuaMultiValue, error: &LuaError) -> String {
    let (position, cause) = match error {
        LuaError::BadArgument { pos, cause, .. } => (*pos, &**cause),
        other => (1, other),
    };
    let LuaError::FromLuaConversionError { to, message, .. } = cause else {
        return format!(
            "invalid argument #{position} to '{called}' ({})",
            plain_message(cause)
        );
    };
    let got = given.get(position - 1).map_or("nil", |value| match value {
        LuaValue::Integer(_) => "number",
        other => other.type_name(),
    });
    let wanted = luau_type(to);
    match message {
        Some(message) if wanted == got => {
            format!("invalid argument #{position} to '{called}' ({message})")
        }
        _ => format!("invalid argument #{position} to '{called}' ({wanted} expected, got {got})"),
    }
}

/// What scripts call a type of Rust's.
fn luau_type(rust: &str) -> &str {
    match rust {
        "String" | "str" | "&str" | "LuaString" | "BString" => "string",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128"
        | "usize" | "f32" | "f64" => "number",
        "bool" => "boolean",
        other => other,
    }
}

fn panic_text(called: &str, text: &str) -> String {
    format!("'{called}' panicked: {text}")
}

/// An error of the host's as scripts see it.
fn error_text(error: impl Into<Box<dyn StdError>>) -> String {
    let error = error.into();
    match error.downcast_ref::<LuaError>() {
        Some(error) => plain_message(error),
        None => error.to_string(),
    }
}
