//! Runs one pure function many times, for callgrind to count its instructions.
//!
//! `ringgate-instructions list` names the operations; `ringgate-instructions NAME N` runs one N
//! times. `bench/instructions/count.py` runs N and 2N under callgrind: the difference is the cost
//! of N operations, without start-up.

mod operations;

use std::process::ExitCode;

use operations::OPERATIONS;

/// EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["list"] => {
            OPERATIONS.iter().for_each(|operation| println!("{}", operation.name));
            ExitCode::SUCCESS
        }
        [name, times] => run(name, times),
        _ => usage(),
    }
}

fn run(name: &str, times: &str) -> ExitCode {
    let operation = OPERATIONS.iter().find(|operation| operation.name == name);
    match (operation, times.parse()) {
        (Some(operation), Ok(times)) => {
            (operation.run)(times);
            ExitCode::SUCCESS
        }
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: ringgate-instructions list | NAME TIMES");
    ExitCode::from(EXIT_USAGE)
}
