//! Instants and Durations: userdata, so that `typeof` names them. Their methods are in `luau/time.luau`.

use std::time::{Duration, Instant};

use mlua::UserDataFields;
use mlua::prelude::{
    Lua, LuaAnyUserData, LuaFunction, LuaResult, LuaTable, LuaUserData, LuaUserDataRef, LuaValue,
};

use super::luau;

struct LuauInstant(Instant);
struct LuauDuration(Duration);

/// The metamethods that `luau/time.luau` defines, by the names it gives them.
const METAMETHODS: [(&str, &str); 9] = [
    ("__index", "methods"),
    ("__eq", "eq"),
    ("__lt", "lt"),
    ("__le", "le"),
    ("__add", "add"),
    ("__sub", "sub"),
    ("__mul", "mul"),
    ("__div", "div"),
    ("__tostring", "tostring"),
];

impl LuaUserData for LuauInstant {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        add_metafields(fields, "instant");
    }
}

impl LuaUserData for LuauDuration {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        add_metafields(fields, "duration");
    }
}

/// Takes the metamethods from the table that [`load`] keeps in the registry while types are registered.
fn add_metafields<T>(fields: &mut impl UserDataFields<T>, kind: &'static str) {
    fields.add_meta_field("__type", kind);
    for (metamethod, name) in METAMETHODS {
        fields.add_meta_field_with(metamethod, move |lua| {
            let metatables: LuaTable = lua.named_registry_value(METATABLES)?;
            metatables.get::<LuaTable>(kind)?.get::<LuaValue>(name)
        });
    }
}

const METATABLES: &str = "lute-net time metatables";

/// What `luau/time.luau` returned: its modules, and `toSeconds` for the task functions.
pub struct Time {
    /// The modules by name.
    pub modules: LuaTable,
    /// The seconds of a Duration.
    pub to_seconds: LuaFunction,
}

/// Loads the modules `@lute/time` and `@std/time`.
///
/// # Errors
/// When the VM has no memory left.
pub fn load(lua: &Lua) -> LuaResult<Time> {
    let metatables = lua.create_table()?;
    metatables.set("duration", lua.create_table()?)?;
    metatables.set("instant", lua.create_table()?)?;
    let loaded: LuaTable = luau::load(lua, luau::TIME, (natives(lua)?, &metatables))?;
    lua.set_named_registry_value(METATABLES, metatables)?;
    Ok(Time {
        modules: loaded.get("modules")?,
        to_seconds: loaded.get("toSeconds")?,
    })
}

fn natives(lua: &Lua) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    native.set(
        "create",
        lua.create_function(|lua, (seconds, nanos): (f64, f64)| made(lua, create(seconds, nanos)))?,
    )?;
    native.set(
        "parts",
        lua.create_function(|_, duration: LuaUserDataRef<LuauDuration>| {
            Ok((duration.0.as_secs() as f64, duration.0.subsec_nanos()))
        })?,
    )?;
    native.set(
        "add",
        lua.create_function(
            |lua, (left, right): (LuaUserDataRef<LuauDuration>, LuaUserDataRef<LuauDuration>)| {
                made(lua, left.0.checked_add(right.0).ok_or(TOO_LARGE))
            },
        )?,
    )?;
    native.set(
        "subtract",
        lua.create_function(
            |_, (left, right): (LuaUserDataRef<LuauDuration>, LuaUserDataRef<LuauDuration>)| {
                Ok(LuauDuration(left.0.saturating_sub(right.0)))
            },
        )?,
    )?;
    native.set(
        "scale",
        lua.create_function(
            |lua, (duration, factor, divide): (LuaUserDataRef<LuauDuration>, f64, bool)| {
                made(lua, scale(duration.0, factor, divide))
            },
        )?,
    )?;
    native.set(
        "now",
        lua.create_function(|_, ()| Ok(LuauInstant(Instant::now())))?,
    )?;
    native.set(
        "between",
        lua.create_function(
            |_, (later, earlier): (LuaUserDataRef<LuauInstant>, LuaUserDataRef<LuauInstant>)| {
                Ok(LuauDuration(later.0.saturating_duration_since(earlier.0)))
            },
        )?,
    )?;
    native.set(
        "compare",
        lua.create_function(|_, (left, right): (LuaAnyUserData, LuaAnyUserData)| {
            compare(&left, &right)
        })?,
    )?;
    Ok(native)
}

const TOO_LARGE: &str = "duration is too large";

/// A Duration, or nil and why there is none.
fn made(
    lua: &Lua,
    duration: Result<Duration, &'static str>,
) -> LuaResult<(LuaValue, Option<&'static str>)> {
    match duration {
        Ok(duration) => Ok((
            LuaValue::UserData(lua.create_userdata(LuauDuration(duration))?),
            None,
        )),
        Err(problem) => Ok((LuaValue::Nil, Some(problem))),
    }
}

fn create(seconds: f64, nanos: f64) -> Result<Duration, &'static str> {
    if seconds.is_nan() || nanos.is_nan() {
        return Err("duration cannot be nan");
    }
    if seconds < 0.0 || nanos < 0.0 {
        return Err("duration cannot be negative");
    }
    let whole = Duration::try_from_secs_f64(seconds).map_err(|_| TOO_LARGE)?;
    let rest = Duration::new((nanos / 1e9) as u64, (nanos % 1e9) as u32);
    whole.checked_add(rest).ok_or(TOO_LARGE)
}

fn scale(duration: Duration, factor: f64, divide: bool) -> Result<Duration, &'static str> {
    let seconds = if divide {
        duration.as_secs_f64() / factor
    } else {
        duration.as_secs_f64() * factor
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| TOO_LARGE)
}

fn compare(left: &LuaAnyUserData, right: &LuaAnyUserData) -> LuaResult<i32> {
    let order = if left.is::<LuauDuration>() {
        left.borrow::<LuauDuration>()?
            .0
            .cmp(&right.borrow::<LuauDuration>()?.0)
    } else {
        left.borrow::<LuauInstant>()?
            .0
            .cmp(&right.borrow::<LuauInstant>()?.0)
    };
    Ok(order as i32)
}
