//! The `ringgate` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringgate::cli::run()
}
