//! Luau test files from Rust: finds them, lists their cases, runs them, each file in a runtime of its own.
//!
//! With feature `testing` (on by default) a test target of any crate shows each Luau case as a test of its own to
//! `cargo test` and `cargo nextest`: a [`Harness`] is its `main`.
//!
//! ```toml
//! [[test]]
//! name = "luau"
//! harness = false
//! ```
//!
//! ```no_run
//! // tests/luau.rs
//! use lute_net::{Runtime, testing::Harness};
//!
//! fn main() -> std::process::ExitCode {
//!     Harness::new("luau-tests")
//!         // The modules that the program gives to its scripts.
//!         .builder(|| Runtime::builder().module("@game/info", |module| module.value("version", "1.2")))
//!         .main()
//! }
//! ```
//!
//! A [`TestFile`] is what it and the command `lute-net test` are made of.

mod file;
mod find;
#[cfg(feature = "testing")]
mod harness;

#[cfg(feature = "testing")]
pub use self::harness::Harness;
pub use self::{
    file::{FileResult, TestFile},
    find::find,
};
pub use crate::script::testing::{Case, CaseFailure, CaseResult, Leftovers, Selection};
