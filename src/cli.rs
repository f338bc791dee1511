//! The command line: what was asked for, and the exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Loaded};
use crate::control::serve::{self, Addresses};

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
    /// Check a configuration file and print all its problems.
    Check {
        /// Configuration file [default: as for serve].
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print the problems as JSON.
        #[arg(long)]
        json: bool,
    },
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
        Command::Check { config, json } => check(config, json),
    }
}

fn serve(config: Option<PathBuf>) -> ExitCode {
    let path = config_file(config);
    match load(&path) {
        Ok(loaded) => {
            if !loaded.report.warnings.is_empty() {
                eprintln!("{}", loaded.report);
            }
            report(serve::serve(loaded.settings, Some(&path), Addresses::announce))
        }
        Err(report) => {
            eprintln!("{report}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn check(config: Option<PathBuf>, json: bool) -> ExitCode {
    let path = config_file(config);
    let (report, code) = match load(&path) {
        Ok(loaded) => (loaded.report, 0),
        Err(report) => (report, EXIT_CONFIG),
    };
    if json {
        println!("{}", report.to_json());
    } else if report.problems.is_empty() && report.warnings.is_empty() {
        println!("{}: no problems", path.display());
    } else {
        println!("{report}");
    }
    ExitCode::from(code)
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

fn report(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringgate: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}
