//! The Luau tests in `luau-tests/`: each case is a test of its own.

use std::process::ExitCode;

use lute_net::testing::Harness;

fn main() -> ExitCode {
    Harness::new("luau-tests").main()
}
