//! The command `lute-net`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
