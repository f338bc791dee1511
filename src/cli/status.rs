//! `ringgate status`: what the gateway does at this moment, as tables or as JSON.

mod page;
mod table;

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use clap::Args;

use self::page::page;
use self::table::Style;
use super::gateway::{Gateway, Which, segment};
use super::{Failure, say};

/// How often `--watch` looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves to the top left corner and clears what is below.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Narrower terminals would show nothing of use.
const WIDTH_MIN: usize = 40;

#[derive(Args)]
pub(super) struct Options {
    /// Only this cluster; that of a model is model:NAME.
    #[arg(value_name = "CLUSTER")]
    cluster: Option<String>,
    /// Print the status as the admin API has it.
    #[arg(long)]
    json: bool,
    /// Look again each second, until interrupted.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    gateway: Which,
}

/// # Errors
///
/// Why there is nothing to show.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let gateway = options.gateway.find()?;
    if !options.watch {
        say(&look(options, &gateway)?);
        return Ok(());
    }
    let is_terminal = io::stdout().is_terminal();
    loop {
        // A gateway that is being replaced is back in a moment.
        let text = look(options, &gateway).unwrap_or_else(|failure| failure.to_string());
        let redraw = if is_terminal { REDRAW } else { "" };
        if writeln!(io::stdout(), "{redraw}{text}").and_then(|()| io::stdout().flush()).is_err() {
            // Nobody reads any more.
            return Ok(());
        }
        thread::park_timeout(PAUSE);
    }
}

fn look(options: &Options, gateway: &Gateway) -> Result<String, Failure> {
    let filter = options.cluster.as_ref().map(|name| format!("?cluster={}", segment(name)));
    let path = format!("/api/v1/status{}", filter.unwrap_or_default());
    let status = gateway.ask("GET", &path, None)?.body;
    if options.json {
        return Ok(match options.watch {
            true => status.to_string(),
            false => format!("{status:#}"),
        });
    }
    Ok(page(&status, &style()))
}

/// Colours and a width are for people.
fn style() -> Style {
    let is_terminal = io::stdout().is_terminal();
    let is_bare = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    Style {
        colours: is_terminal && !is_bare,
        width: width.filter(|_| is_terminal).map(|width| width.max(WIDTH_MIN)),
    }
}
