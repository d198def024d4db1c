//! A host of plug-ins that it does not trust: each has a VM of its own, a policy and limits, and none can take the host or
//! the others down.
//!
//! ```sh
//! cargo run --example plugins
//! ```

use std::{cell::RefCell, error::Error, rc::Rc, time::Duration};

use lute_net::{Limits, Policy, Runtime};

/// Name and source, as a user would have dropped them into a folder.
const PLUGINS: [(&str, &str); 5] = [
    (
        "greeter",
        r#"
local host, task = require("@host/log") :: any, require("@lute/task")
task.wait(0.05)
host.log("hello")
"#,
    ),
    (
        "spy",
        r#"
local host, client = require("@host/log") :: any, require("@lute/net/client")
for _, url in { "http://169.254.169.254/latest/meta-data", "http://localhost:22", "http://[::ffff:10.0.0.1]/" } do
	local _, problem = pcall(client.request, url)
	host.log(problem)
end
"#,
    ),
    (
        "spinner",
        r#"
while true do
	pcall(function() while true do end end)
end
"#,
    ),
    (
        "hoarder",
        r#"
local task, hoard = require("@lute/task"), {}
while true do
	hoard[#hoard + 1] = string.rep("x", 100000) .. #hoard
	task.wait()
end
"#,
    ),
    (
        "squatter",
        r#"
require("@lute/net/server").serve({ hostname = "0.0.0.0", port = 80, handler = function() return "" end })
"#,
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let plugins: Vec<Runtime> = PLUGINS
        .iter()
        .map(|(name, source)| start(name, source, &log))
        .collect::<Result<_, _>>()?;

    // The host's frame loop: every plug-in gets a slice of each frame.
    for _ in 0..500 {
        for plugin in &plugins {
            plugin.step(Duration::from_millis(2))?;
        }
        if plugins
            .iter()
            .all(|plugin| plugin.waiting_coroutines() == 0)
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    for line in log.borrow().iter() {
        println!("{line}");
    }
    for (plugin, expected) in [
        ("greeter: ", "hello"),
        ("spy: ", "connecting to 169.254.169.254:80 is not allowed"),
        ("spy: ", "connecting to localhost:22 is not allowed"),
        (
            "spinner failed: ",
            "the script ran for longer than 0.05 s without waiting",
        ),
        ("hoarder failed: ", "not enough memory"),
        (
            "squatter failed: ",
            "listening on 0.0.0.0:80 is not allowed",
        ),
    ] {
        let said = |line: &String| line.starts_with(plugin) && line.ends_with(expected);
        if !log.borrow().iter().any(said) {
            return Err(format!("nobody said: {plugin}{expected}").into());
        }
    }
    Ok(())
}

fn start(
    name: &str,
    source: &str,
    log: &Rc<RefCell<Vec<String>>>,
) -> Result<Runtime, Box<dyn Error>> {
    let (said, failed) = (log.clone(), log.clone());
    let (sayer, failing) = (name.to_owned(), name.to_owned());
    let runtime = Runtime::builder()
        .policy(
            Policy::closed()
                .allow_connect("api.example.com:443")?
                .allow_listen("loopback:8000-8999")?,
        )
        .limits(Limits {
            memory: Some(16 << 20),
            connections: Some(20),
            requests: Some(10),
            turn: Some(Duration::from_millis(50)),
            ..Limits::default()
        })
        .module("@host/log", move |module| {
            let (said, name) = (said.clone(), sayer.clone());
            module.function("log", move |_, text: String| {
                said.borrow_mut().push(format!("{name}: {text}"));
                Ok::<_, String>(())
            })
        })
        .on_error(move |error| {
            let line = format!("{failing} failed: {}", error.message);
            failed.borrow_mut().push(line);
        })
        .build()?;
    runtime.load_source(name, source, &[])?;
    Ok(runtime)
}
