//! Each case in `luau-tests/` as a test.

use std::process::ExitCode;

use lute_net::testing::Harness;

fn main() -> ExitCode {
    Harness::new("luau-tests")
        .builder(own_modules::builder)
        .main()
}
