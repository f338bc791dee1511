//! The small programs that the comparison bench runs beside nginx, HAProxy and wrk.
//!
//! ```text
//! ringgate-bench upstream --port P                         answers what the scenarios ask for
//! ringgate-bench streams  --port P --count N --seconds S   opens N event streams, measures delays
//! ringgate-bench idle     --port P --count N               holds N idle keep-alive connections
//! ringgate-bench idle-tls --port P --count N               the same over TLS
//! ringgate-bench idle-h2  --port P --count N               the same over HTTP/2
//! ```
//!
//! Each is one thread and, but for TLS, uses nothing but the standard library and libc: what shares
//! a CPU with the load generator has to be cheap and predictable.

mod args;
mod event;
mod idle;
mod poll;
mod streams;
mod upstream;

use std::error::Error;
use std::process::ExitCode;

use args::Args;
use idle::Protocol;

const USAGE: &str = "usage: ringgate-bench upstream --port P
       ringgate-bench streams --port P --count N --seconds S
       ringgate-bench idle|idle-tls|idle-h2 --port P --count N";

/// EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let finding = match (command.as_str(), Args::parse(words)) {
        ("upstream", Ok(args)) => upstream(&args),
        ("streams", Ok(args)) => streams(&args),
        ("idle", Ok(args)) => idle(Protocol::Http1, &args),
        ("idle-tls", Ok(args)) => idle(Protocol::Tls, &args),
        ("idle-h2", Ok(args)) => idle(Protocol::Http2, &args),
        (_, Err(error)) => Err(error.into()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match finding {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringgate-bench {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn upstream(args: &Args) -> Result<(), Box<dyn Error>> {
    Ok(upstream::serve(args.number("port")?)?)
}

fn streams(args: &Args) -> Result<(), Box<dyn Error>> {
    let plan = streams::Plan {
        port: args.number("port")?,
        count: args.number("count")?,
        seconds: args.number("seconds")?,
    };
    println!("{}", streams::measure(&plan)?);
    Ok(())
}

fn idle(protocol: Protocol, args: &Args) -> Result<(), Box<dyn Error>> {
    Ok(idle::hold(protocol, args.number("port")?, args.number("count")?)?)
}
