//! `ringgate endpoint`: takes an endpoint out of service, brings it back, changes its weight.

use clap::Args;
use serde_json::{Map, Value, json};

use super::gateway::{Which, segment};
use super::{Failure, say};

#[derive(Args)]
pub(super) struct Options {
    /// The cluster, as `ringgate status` names it; that of a model is model:NAME.
    cluster: String,
    /// The endpoint, as `ringgate status` names it; or its address in the file, which may be a name
    /// that stands for several.
    endpoint: String,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    gateway: Which,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Wanted {
    /// Let it finish what it has, and give it nothing new.
    #[arg(long, conflicts_with_all = ["maintenance", "ready"])]
    drain: bool,
    /// As if it were not there.
    #[arg(long, conflicts_with = "ready")]
    maintenance: bool,
    /// Give it requests again.
    #[arg(long)]
    ready: bool,
    /// Its share, from 0 to 1000; "configured" is the one in the file.
    #[arg(long, value_name = "N", value_parser = weight)]
    weight: Option<Value>,
}

fn weight(text: &str) -> Result<Value, String> {
    if text == "configured" {
        return Ok(Value::Null);
    }
    text.parse::<u32>().map(Value::from).map_err(|_| "a number, or \"configured\"".into())
}

impl Wanted {
    fn body(&self) -> Value {
        let mut body = Map::new();
        let states =
            [(self.drain, "drain"), (self.maintenance, "maintenance"), (self.ready, "ready")];
        if let Some((_, state)) = states.iter().find(|(is_wanted, _)| *is_wanted) {
            body.insert("state".into(), json!(state));
        }
        if let Some(weight) = &self.weight {
            body.insert("weight".into(), weight.clone());
        }
        body.into()
    }
}

/// # Errors
///
/// Why nothing has changed.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let Options { cluster, endpoint, wanted, gateway } = options;
    let path = format!("/api/v1/clusters/{}/endpoints/{}", segment(cluster), segment(endpoint));
    let answer = gateway.find()?.ask("PUT", &path, Some(&wanted.body()))?.body;
    for changed in answer["endpoints"].as_array().into_iter().flatten() {
        say(&format!(
            "{cluster} {}: {}, weight {}, {} in flight",
            changed["endpoint"].as_str().unwrap_or_default(),
            changed["state"].as_str().unwrap_or_default(),
            changed["weight"],
            changed["in_flight"],
        ));
    }
    if answer["cluster_takes_requests"] == false {
        say(&format!("No endpoint of {cluster} takes requests now: they are answered with 503."));
    }
    let kept = answer["kept_over_reloads"] == true;
    say(match kept {
        true => "kept over reloads: yes; over restarts: no",
        false => "kept over reloads: no; over restarts: no",
    });
    Ok(())
}
