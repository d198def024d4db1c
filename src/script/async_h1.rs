//! Feature `async-h1`: hosts that speak `http_types` hand requests to a Luau handler, and a script's requests go through
//! connections of theirs.
//!
//! - [`endpoint`]: a handler as the function that `async_h1::accept` takes; [`carriers`]: the host's connections;
//!   [`carrying`]: requests that go through them; [`carried_body`]: the bodies of their responses
//! - [`conversion`]: between `http_types` and what goes over our own `wire`; [`channel_body`]: bodies in pieces

mod carried_body;
pub mod carriers;
pub mod carrying;
mod channel_body;
mod conversion;
pub mod endpoint;
