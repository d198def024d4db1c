//! WebSockets as raw peers meet them.

mod closing;
mod framing;
mod handshake;
mod load;
pub mod opening;
pub mod raw;
mod sending;
mod ways;

use crate::support::Server;

/// A server without a handler whose WebSockets have these callbacks; `ws` and `message` are the names in them. What is
/// printed is the server's output.
fn server(callbacks: &str) -> Server {
    Server::start(&format!(
        r#"
local server = require("@lute/net/server")
local task = require("@lute/task")
local running
running = server.serve({{ port = 0, websocket = {{ {callbacks} }} }})
print(running.port)
"#
    ))
}

fn echo() -> Server {
    server(
        r#"message = function(ws, message) ws:send(message) end,
close = function(ws, code, reason) print("close", code, reason) end"#,
    )
}
