//! What a process knows of its endpoints, for the one that takes over.
//!
//! One JSON object on each line, for each endpoint of which there is something to say. Times are
//! what is left of them.

use serde_json::{Value, json};

use crate::policy::circuit::{Circuit, FAILURES_MAX, Phase};
use crate::policy::health::Health;
use crate::proxy::shared::EndpointState;
use crate::proxy::snapshot::Snapshot;
use crate::runtime::clock::Instant;

/// What is known of the endpoints of a snapshot.
pub(in crate::control) fn export(snapshot: &Snapshot, now: Instant) -> String {
    let lines = snapshot.endpoints().map(|(state, _)| of(state, now));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Puts in force what another process knew. Lines that cannot be understood are passed over.
pub(in crate::control) fn import(text: &[u8], snapshot: &Snapshot, now: Instant) {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let known: std::collections::HashMap<_, _> =
        lines.iter().map(|line| (name(line), line)).collect();
    for (state, _) in snapshot.endpoints() {
        if let Some(line) = known.get(&(Some(&*state.cluster), Some(&*state.label))) {
            restore(state, line, now);
        }
    }
}

fn name(line: &Value) -> (Option<&str>, Option<&str>) {
    (line["cluster"].as_str(), line["endpoint"].as_str())
}

fn of(state: &EndpointState, now: Instant) -> Value {
    let circuit = state.availability.circuit();
    let phase = match circuit.phase {
        Phase::Closed { failures, .. } => json!({ "failures": failures }),
        Phase::Open { until_ms } => json!({ "open_ms": until_ms.saturating_sub(now.as_millis()) }),
        // The new process tries it out anew.
        Phase::HalfOpen { .. } => json!({ "open_ms": 0 }),
    };
    json!({
        "cluster": &*state.cluster,
        "endpoint": &*state.label,
        "health": state.health().map(|h| json!([h.is_up, h.against, h.is_checked])),
        "circuit": phase,
        "openings": circuit.openings(),
    })
}

fn restore(state: &EndpointState, line: &Value, now: Instant) {
    if let Some(health) = health(&line["health"]) {
        state.set_health(Some(health), now);
    }
    let openings = line["openings"].as_u64().and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
    if let Some(phase) = phase(&line["circuit"], now) {
        state.availability.set_circuit(Circuit::restored(phase, openings));
    }
}

fn health(value: &Value) -> Option<Health> {
    Some(Health {
        is_up: value[0].as_bool()?,
        against: u32::try_from(value[1].as_u64()?).ok()?,
        is_checked: value[2].as_bool()?,
    })
}

fn phase(value: &Value, now: Instant) -> Option<Phase> {
    if let Some(left_ms) = value["open_ms"].as_u64() {
        return Some(Phase::Open { until_ms: now.as_millis().saturating_add(left_ms) });
    }
    let failures = u16::try_from(value["failures"].as_u64()?).ok()?.min(FAILURES_MAX);
    Some(Phase::Closed { failures, since_cs: now.as_millis() / 10 })
}
