//! Feature `async-h1`: hosts that speak `http_types` hand requests to a Luau handler.
//!
//! - [`endpoint`]: a handler as the function that `async_h1::accept` takes
//! - [`conversion`]: between `http_types` and what goes over our own `wire`; [`channel_body`]: bodies in pieces

mod channel_body;
mod conversion;
pub mod endpoint;
