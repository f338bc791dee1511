//! The state of everything, as `GET /api/v1/status` shows it. The shape is promised in
//! docs/status.md.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::instance::Gateway;
use crate::nearest::nearest;
use crate::net::socket::Peer;
use crate::policy::circuit::Phase;
use crate::proxy::availability::AdminState;
use crate::proxy::failure::SeenFailure;
use crate::proxy::settings::{self, Address, Settings};
use crate::proxy::shared::{ClusterState, EndpointState};
use crate::proxy::snapshot::Snapshot;
use crate::runtime::clock::Clock;
use crate::telemetry::histogram::Quantiles;
use crate::telemetry::history::{History, Rates};
use crate::telemetry::stamp::StampCache;
use crate::telemetry::totals::{ClusterTotal, EndpointName, EndpointTotal, Totals};

/// Everything, or of the clusters only the one of this name.
///
/// # Errors
///
/// There is none of this name.
pub(super) fn of(gateway: &Gateway, only: Option<&str>) -> Result<Value, String> {
    let snapshot = gateway.shared.snapshot();
    let totals = Totals::of(&gateway.metrics);
    let history = gateway.history();
    let page = Page { settings: &snapshot.settings, totals: &totals, history: &history };
    let mut clusters = Vec::new();
    for (state, in_force, endpoints) in snapshot.clusters_in_force() {
        if only.is_none_or(|only| *only == *state.name) {
            clusters.push(page.cluster(state, in_force, endpoints));
        }
    }
    if let (Some(only), true) = (only, clusters.is_empty()) {
        return Err(no_cluster(only, &snapshot));
    }
    Ok(json!({
        "instance": instance(gateway, &snapshot.settings),
        "listeners": listeners(gateway, &snapshot.settings),
        "clusters": clusters,
    }))
}

/// What to say of a cluster that does not exist.
pub(super) fn no_cluster(name: &str, snapshot: &Snapshot) -> String {
    let known: Vec<&str> = snapshot.clusters().map(|state| &*state.name).collect();
    no_such("cluster", name, &known)
}

/// What to say of something that does not exist, by its name and those of its like.
pub(super) fn no_such(what: &str, name: &str, known: &[&str]) -> String {
    /// Nobody reads more of them.
    const NAMED_MAX: usize = 8;
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("the nearest is \"{near}\""),
        None if known.is_empty() => "there are none".to_owned(),
        None => {
            let named: Vec<_> = known.iter().take(NAMED_MAX).map(|n| format!("\"{n}\"")).collect();
            let more = if known.len() > NAMED_MAX { " and others" } else { "" };
            format!("there are {}{more}", named.join(", "))
        }
    };
    format!("no {what} has the name \"{name}\"; {hint}")
}

fn instance(gateway: &Gateway, settings: &Settings) -> Value {
    let shared = &gateway.shared;
    let workers = gateway.metrics.iter().zip(&gateway.alive).map(|(worker, alive)| {
        json!({
            "worker": worker.index,
            "alive": alive.load(Ordering::Relaxed),
            "accepting": shared.accepts(worker.index),
            "driver": worker.driver().name,
            "connections": worker.connections_active(),
            "requests": worker.requests.get(),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_seconds": Clock::start().now().as_nanos() / 1_000_000_000,
        "service": settings.telemetry.service,
        "generation": shared.generation(),
        "reload_failures": gateway.reload_failures.load(Ordering::Relaxed),
        "draining": shared.is_draining(),
        "connections": shared.connections(),
        "held_body_bytes": shared.buffered(),
        "held_body_bytes_max": settings.server.buffered,
        "runtime_changes": settings.admin.runtime_changes.label(),
        "workers": workers.collect::<Vec<_>>(),
    })
}

fn listeners(gateway: &Gateway, settings: &Settings) -> Vec<Value> {
    let listeners = gateway.listeners();
    let listener = |(state, address): &super::instance::KnownListener| {
        let settings = settings.listeners.iter().find(|listener| state.is_of(listener))?;
        Some(json!({
            "listener": settings.name,
            "address": address.to_string(),
            "tls": settings.tls.is_some(),
            "connections": state.connections(),
            "connections_max": settings.limits.connections,
        }))
    };
    listeners.iter().filter_map(listener).collect()
}

/// What clusters and endpoints are described from.
struct Page<'a> {
    settings: &'a Settings,
    totals: &'a Totals,
    history: &'a History,
}

impl Page<'_> {
    fn cluster(
        &self,
        state: &ClusterState,
        in_force: &settings::Cluster,
        endpoints: &[Arc<EndpointState>],
    ) -> Value {
        let none = ClusterTotal::default();
        let total = self.totals.clusters.get(&state.name).unwrap_or(&none);
        let configured = self.configured(&state.name);
        let endpoints: Vec<Value> = endpoints
            .iter()
            .zip(&in_force.endpoints)
            .map(|(state, in_force)| self.endpoint(state, in_force, &configured))
            .collect();
        let in_flight = match in_force.max_in_flight {
            Some(_) => u64::from(state.in_flight()),
            None => in_flight(&endpoints),
        };
        json!({
            "cluster": &*state.name,
            "model": state.name.strip_prefix("model:"),
            "state": state_of_all(&endpoints),
            "in_flight": in_flight,
            "in_flight_max": in_force.max_in_flight,
            "requests": total.requests,
            "requests_per_second": rates(self.history.cluster(&state.name)),
            "queue": {
                "length": state.queued(),
                "length_max": in_force.queue,
                "shed": total.shed,
            },
            "retries": {
                "made": total.retries,
                "over_budget": total.retries_over_budget,
                "available": state.retries_available(),
            },
            "endpoints": endpoints,
        })
    }

    /// The weights in the file, by address: of several endpoints at one, all together.
    fn configured(&self, cluster: &str) -> HashMap<&Address, u32> {
        let mut weights = HashMap::new();
        let of_name = self.settings.clusters.iter().find(|settings| settings.name == cluster);
        let endpoints = of_name.iter().flat_map(|cluster| &cluster.endpoints);
        // Those of a service have the weights of its records.
        let is_service = |e: &&settings::Endpoint| matches!(e.address, Address::Service(_));
        for endpoint in endpoints.filter(|endpoint| !is_service(endpoint)) {
            *weights.entry(&endpoint.address).or_default() += endpoint.weight;
        }
        weights
    }

    fn endpoint(
        &self,
        state: &EndpointState,
        in_force: &settings::Endpoint,
        configured: &HashMap<&Address, u32>,
    ) -> Value {
        let name: EndpointName = (Arc::clone(&state.cluster), Arc::clone(&state.label));
        let none = EndpointTotal::default();
        let total = self.totals.endpoints.get(&name).unwrap_or(&none);
        let [connect, first_byte] = self.history.latencies(&name, total);
        let failures: BTreeMap<_, _> = total.failures.iter().filter(|(_, n)| **n > 0).collect();
        json!({
            "endpoint": &*state.label,
            "address": state.peer().map(address),
            "model": in_force.provider.as_ref().and_then(|provider| provider.model.as_deref()),
            "state": state_of(state, in_force.weight),
            "weight": in_force.weight,
            "weight_configured": configured.get(&state.address),
            "backup": in_force.backup,
            "in_flight": state.in_flight.load(Ordering::Relaxed),
            "in_flight_max": in_force.max_in_flight,
            "idle_connections": total.idle,
            "requests": total.requests,
            "requests_per_second": rates(self.history.endpoint(&name)),
            "failures": failures,
            "connect_seconds": quantiles(connect),
            "first_byte_seconds": quantiles(first_byte),
            "last_errors": state.last_failures().iter().map(failure).collect::<Vec<_>>(),
        })
    }
}

fn address(peer: &Peer) -> String {
    match peer {
        Peer::Tcp(address) => address.to_string(),
        Peer::Unix(path) => format!("unix:{}", path.display()),
        Peer::Abstract(name) => format!("unix:@{name}"),
    }
}

/// Why it gets no requests, or `up`.
pub(super) fn state_of(state: &EndpointState, weight: u32) -> &'static str {
    let availability = &state.availability;
    match (availability.admin_state(), availability.circuit().phase) {
        (AdminState::Maintenance, _) => "maintenance",
        (AdminState::Drain, _) => "drain",
        (AdminState::Ready, _) if weight == 0 => "drain",
        (AdminState::Ready, _) if state.peer().is_none() => "unresolved",
        (AdminState::Ready, _) if availability.is_checked_down() => "down",
        (AdminState::Ready, Phase::Open { .. }) => "ejected",
        (AdminState::Ready, Phase::HalfOpen { .. }) => "half_open",
        (AdminState::Ready, Phase::Closed { .. }) => "up",
    }
}

fn state_of_all(endpoints: &[Value]) -> &'static str {
    let up = endpoints.iter().filter(|endpoint| endpoint["state"] == "up").count();
    match up {
        0 => "down",
        up if up < endpoints.len() => "degraded",
        _ => "up",
    }
}

/// Of all endpoints. Those at one address count their exchanges together.
fn in_flight(endpoints: &[Value]) -> u64 {
    let by_address: HashMap<_, _> = endpoints
        .iter()
        .map(|endpoint| (endpoint["endpoint"].as_str(), endpoint["in_flight"].as_u64()))
        .collect();
    by_address.into_values().flatten().sum()
}

fn rates(rates: Rates) -> Value {
    let round = |rate: f64| (rate * 100.0).round() / 100.0;
    json!({
        "last_second": round(rates.last_second),
        "last_10_seconds": round(rates.last_10_seconds),
        "last_minute": round(rates.last_minute),
    })
}

fn quantiles(quantiles: Option<Quantiles>) -> Value {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let of = |q: Quantiles| {
        json!({
            "p50": seconds(q.p50_ns),
            "p95": seconds(q.p95_ns),
            "p99": seconds(q.p99_ns),
        })
    };
    quantiles.map_or(Value::Null, of)
}

fn failure(seen: &SeenFailure) -> Value {
    let mut stamps = StampCache::default();
    let mut stamp = |ns| String::from_utf8_lossy(stamps.stamp(ns)).into_owned();
    let mut entry = Map::new();
    entry.insert("reason".into(), seen.reason.into());
    if let Some(status) = seen.status {
        entry.insert("status".into(), status.into());
    }
    entry.insert("count".into(), seen.count.into());
    entry.insert("first".into(), stamp(seen.first_unix_ns).into());
    entry.insert("last".into(), stamp(seen.last_unix_ns).into());
    entry.into()
}
