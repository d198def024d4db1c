//! A smol program with an executor and a VM of its own takes the modules in: its tasks and its scripts share the thread.
//!
//! ```sh
//! cargo run --example existing_program
//! ```

use std::{error::Error, time::Duration};

use lute_net::Runtime;
use mlua::Lua;
use smol::{LocalExecutor, Timer};

fn main() -> Result<(), Box<dyn Error>> {
    let executor = LocalExecutor::new();
    let lua = Lua::new();
    // The program's own globals stay as they are.
    lua.globals().set("program", "weather station")?;

    let installation = Runtime::builder()
        .module("@station/sensors", |module| {
            // A future of the program's: only the coroutine that calls it waits.
            module.async_function("temperature", |_, sensor: String| async move {
                Timer::after(Duration::from_millis(20)).await;
                match sensor.as_str() {
                    "roof" => Ok(21.5),
                    other => Err(format!("there is no sensor '{other}'")),
                }
            })
        })
        .install(&lua, &executor)?;

    let ask = lua
        .load(
            r#"
            local server, client = require("@lute/net/server"), require("@lute/net/client")
            local sensors = require("@station/sensors")
            local station = server.serve({
                port = 0,
                handler = function(request)
                    return `{program}: {sensors.temperature(request.query.sensor)} degrees`
                end,
            })
            return function(sensor)
                local response = client.request(`127.0.0.1:{station.port}/?sensor={sensor}`)
                station.close()
                return response.body
            end
            "#,
        )
        .set_name("=station")
        .eval()?;

    // The program's own work goes on meanwhile.
    let heartbeat = executor.spawn(async {
        for beat in 1.. {
            Timer::after(Duration::from_millis(5)).await;
            println!("heartbeat {beat}");
        }
    });
    let answer = smol::block_on(executor.run(installation.call::<String>(&ask, "roof")))?;
    drop(heartbeat);
    println!("{answer}");
    if answer != "weather station: 21.5 degrees" {
        return Err("that was not asked".into());
    }
    Ok(())
}
