//! A program whose Luau scripts get a module of its own. `cargo test -p own-modules` runs `luau-tests/` with it: each Luau
//! case is a test.

use std::time::Duration;

use lute_net::{Builder, Runtime};

/// What the program's scripts run in; its tests run in the same.
pub fn builder() -> Builder {
    Runtime::builder().module("@game/dice", |module| {
        module.function("faces", |_, sides: u32| match sides {
            0 => Err("a die has at least one side"),
            sides => Ok((1..=sides).collect::<Vec<_>>()),
        })?;
        module.async_function("shake", |_, seconds: f64| async move {
            let pause = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
            smol::Timer::after(pause).await;
            Ok::<_, String>("shaken")
        })
    })
}
