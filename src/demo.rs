//! `ringgate demo`: a gateway with mock models behind it, in one process.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::config;
use crate::control::inheritance::Inheritance;
use crate::control::serve::{self, Addresses};
use crate::mock;

/// Slow enough that one sees a stream arrive, fast enough not to bore.
const PACE: Duration = Duration::from_millis(25);

#[derive(Args)]
pub struct Options {
    /// Where the gateway answers.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = config::parse_bind)]
    bind: SocketAddr,
    /// Where the admin server answers.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901", value_parser = config::parse_bind)]
    admin: SocketAddr,
}

/// Runs until a signal ends it.
///
/// # Errors
///
/// Why it cannot start.
pub fn run(options: &Options) -> Result<(), String> {
    let inheritance = Inheritance::take()?;
    let models = mock::start(&mock::Options { between_tokens: PACE, ..mock::Options::default() })
        .map_err(|error| format!("cannot start the mock models: {error}"))?;
    let file = configuration(options, models.addr);
    let loaded = config::from_str("demo.toml", &file, &|_| None)
        .map_err(|report| format!("the demo's own configuration is wrong\n{report}"))?;
    let outcome = serve::serve(loaded.settings, None, inheritance, |addresses| {
        addresses.announce();
        invite(addresses);
    });
    let stopped = models.stop();
    outcome.and(stopped.map_err(|error| format!("the mock models ended badly: {error}")))
}

/// A chat model, an embedding model, and one that speaks Anthropic's dialect.
fn configuration(options: &Options, mock: SocketAddr) -> String {
    let Options { bind, admin } = options;
    format!(
        r#"
[admin]
bind = "{admin}"

[[listener]]
name = "public"
bind = "{bind}"

[[route]]
path = "/v1"
ai = true

[[route]]
path = "/api/v1"
ai = true

[[route]]
path = "/"
ops = ["health", "info", "prometheus"]

[[route]]
path = "/bytes"
cluster = "mock"

[cluster.mock]
[[cluster.mock.endpoint]]
address = "{mock}"

[model.demo-chat]
aliases = ["gpt-4"]
[[model.demo-chat.endpoint]]
provider = "openai"
url = "http://{mock}/v1"

[model.demo-embedding]
[[model.demo-embedding.endpoint]]
provider = "openai"
url = "http://{mock}/v1"

[model.demo-claude]
[[model.demo-claude.endpoint]]
provider = "anthropic"
url = "http://{mock}"
"#
    )
}

fn invite(addresses: &Addresses) {
    let Some((_, gateway)) = addresses.listeners.first() else { return };
    let text = format!(
        r#"
Try it:

  curl http://{gateway}/v1/models

  curl http://{gateway}/v1/chat/completions -H 'content-type: application/json' \
    -d '{{"model":"demo-chat","messages":[{{"role":"user","content":"Hello"}}]}}'

  curl -N http://{gateway}/v1/chat/completions -H 'content-type: application/json' \
    -d '{{"model":"demo-chat","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'

Metrics: http://{admin}/metrics    Stop: Ctrl-C"#,
        admin = addresses.admin,
    );
    // Nobody may be reading; the demo runs all the same.
    let _ = writeln!(std::io::stdout(), "{text}");
}
