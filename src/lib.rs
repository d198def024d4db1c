//! Lute's `@lute/net` for Luau programs in Rust: an HTTP client and server on one thread, where a coroutine that waits
//! for the network simply yields.
//!
//! ```
//! use lute_net::Runtime;
//!
//! let runtime = Runtime::builder().build()?;
//! runtime.load_source("hello.luau", r#"
//!     local server = require("@lute/net/server")
//!     local client = require("@lute/net/client")
//!     local hello = server.serve({ port = 0, handler = function(request) return "hello " .. request.path end })
//!     local response = client.request(`127.0.0.1:{hello.port}/world`)
//!     assert(response.body == "hello /world")
//!     hello.close()
//! "#, &[])?;
//! runtime.run()?;
//! assert_eq!(runtime.uncaught_errors(), 0);
//! # Ok::<(), lute_net::Error>(())
//! ```
//!
//! Three floors: [`wire`] (HTTP/1.1 over byte slices), [`engine`] (smol: sockets, connections), and above them the Luau
//! modules. [`Runtime`] is the face; the page [`embedding`] leads from nothing to a running tool.

#![deny(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

#[doc = include_str!("../docs/embedding.md")]
pub mod embedding {}
pub mod engine;
pub mod runtime;
mod script;
pub mod testing;
pub mod wire;

pub use engine::policy::{Policy, PolicyError};
pub use runtime::{Builder, Error, Runtime, Scripts, Stats, Status};
#[cfg(unix)]
pub use runtime::{Installation, install};
pub use script::{
    calls::Call,
    host_modules::HostModule,
    settings::{Limits, ScriptError},
    testing::{Case, CaseFailure, CaseResult, Leftovers, Selection},
};

/// The README's Rust examples are tests.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
