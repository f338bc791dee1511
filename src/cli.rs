//! The command line: what was asked for, and the exit code.

mod endpoint;
mod gateway;
mod route;
mod status;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Parser, Subcommand};

use crate::config::{self, Chain, Loaded, Settings};
use crate::control::inheritance::Inheritance;
use crate::control::serve::{self, Addresses};
use crate::control::signals;
use crate::demo;
use crate::mock;

/// Wrong usage (EX_USAGE of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// The configuration was refused (EX_CONFIG).
const EXIT_CONFIG: u8 = 78;
/// Anything else.
const EXIT_FAILURE: u8 = 1;

/// Where the configuration is looked for, in this order.
const DEFAULT_FILES: [&str; 2] = ["ringgate.toml", "/etc/ringgate/ringgate.toml"];

/// Gateway for AI model fleets and ordinary HTTP.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve {
        /// Configuration file [default: ringgate.toml here, then /etc/ringgate/ringgate.toml].
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Run a gateway with mock models behind it; needs no file and no network.
    Demo(demo::Options),
    /// Run the mock model server alone.
    Mock(MockOptions),
    /// Check a configuration file and print all its problems.
    Check {
        /// Configuration file [default: as for serve].
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print the problems as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say which route a request takes, and why it takes no earlier one.
    Route(route::Options),
    /// Show what the running gateway does: clusters, endpoints, queues, rates, latencies.
    Status(status::Options),
    /// Drain an endpoint of the running gateway, put it into maintenance, bring it back, or change
    /// its weight.
    Endpoint(endpoint::Options),
}

/// How the mock model server answers.
#[derive(clap::Args)]
struct MockOptions {
    /// Where it answers.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = config::parse_bind)]
    bind: SocketAddr,
    /// Worker threads [default: one for each allowed CPU].
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Time until the first token, such as 300ms.
    #[arg(long, value_name = "D", default_value = "0s", value_parser = config::parse_duration)]
    first_token: Duration,
    /// Time from one token to the next.
    #[arg(long, value_name = "D", default_value = "0s", value_parser = config::parse_duration)]
    between_tokens: Duration,
    /// Tokens of an answer, where the request sets no smaller limit.
    #[arg(long, value_name = "N", default_value_t = 20)]
    tokens: usize,
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, and are no errors.
            let code = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match arguments.command {
        Command::Serve { config } => serve(config),
        Command::Demo(options) => report(demo::run(&options)),
        Command::Mock(options) => report(run_mock(&options)),
        Command::Check { config, json } => check(config, json),
        Command::Route(options) => route(options),
        Command::Status(options) => concluded(status::run(&options)),
        Command::Endpoint(options) => concluded(endpoint::run(&options)),
    }
}

fn serve(config: Option<PathBuf>) -> ExitCode {
    let mut inheritance = match Inheritance::take() {
        Ok(inheritance) => inheritance,
        Err(error) => return report(Err(error)),
    };
    let path = config_file(config);
    match load(&path) {
        Ok(loaded) => {
            if !loaded.report.warnings.is_empty() {
                eprintln!("{}", loaded.report);
            }
            report(serve::serve(loaded.settings, Some(&path), inheritance, Addresses::announce))
        }
        Err(report) => {
            eprintln!("{report}");
            inheritance.refuse(&report.to_string());
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn check(config: Option<PathBuf>, json: bool) -> ExitCode {
    let path = config_file(config);
    let (report, certificates, code) = match load(&path) {
        Ok(loaded) => (loaded.report, days_left(&loaded.settings), 0),
        Err(report) => (report, Vec::new(), EXIT_CONFIG),
    };
    if json {
        let mut json = report.to_json();
        let certificate = |(file, days)| serde_json::json!({ "file": file, "days_left": days });
        json["certificates"] = certificates.into_iter().map(certificate).collect();
        say(&json.to_string());
        return ExitCode::from(code);
    }
    if report.problems.is_empty() && report.warnings.is_empty() {
        say(&format!("{}: no problems", path.display()));
    } else {
        say(&report.to_string());
    }
    for (file, days) in certificates {
        say(&format!("{file}: expires in {days} days"));
    }
    ExitCode::from(code)
}

/// The files of certificates with the whole days until they expire.
fn days_left(settings: &Settings) -> Vec<(String, i64)> {
    let now = SystemTime::now();
    let days_left =
        |chain: &Chain| (chain.file.display().to_string(), chain.validity.days_left(now));
    let mut files: Vec<_> = settings.certificates().map(days_left).collect();
    files.sort();
    files.dedup();
    files
}

fn route(options: route::Options) -> ExitCode {
    let path = config_file(options.config.clone());
    match load(&path) {
        Ok(loaded) => report(route::explain(&options, &loaded.settings).map(|text| say(&text))),
        Err(report) => {
            eprintln!("{report}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Why a command that asks the running gateway has come to nothing.
enum Failure {
    Config(config::Report),
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(report) => write!(f, "{report}"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

fn concluded(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(report)) => {
            eprintln!("{report}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(Failure::Other(why)) => report(Err(why)),
    }
}

fn load(path: &Path) -> Result<Loaded, config::Report> {
    config::load(path, &|name| std::env::var(name).ok())
}

fn config_file(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| {
        let [here, system] = DEFAULT_FILES.map(PathBuf::from);
        if here.exists() || !system.exists() { here } else { system }
    })
}

fn run_mock(options: &MockOptions) -> Result<(), String> {
    let options = mock::Options {
        bind: options.bind,
        workers: options.workers,
        first_token: options.first_token,
        between_tokens: options.between_tokens,
        tokens: options.tokens,
        ..mock::Options::default()
    };
    let running = mock::start(&options)
        .map_err(|error| format!("cannot listen on {}: {error}", options.bind))?;
    say(&format!("ready mock={}", running.addr));
    signals::until_signal().map_err(|error| format!("cannot watch for signals: {error}"))?;
    running.stop().map_err(|error| format!("the mock ended badly: {error}"))
}

/// Writes a line on standard output, read or not: `check | head` is no error.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn report(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringgate: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
