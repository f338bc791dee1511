//! What a process knows that its successor should know too: sections by name.
//!
//! Each is best effort. A successor that does not know a name, or cannot read what stands there,
//! begins anew with that, and takes over all the same.

use serde_json::{Value, json};

use super::dns::memory;
use super::handover::Section;
use super::health;
use super::inheritance::Inheritance;
use super::instance::Gateway;
use super::runtime_changes;
use crate::proxy::availability::AdminState;
use crate::proxy::changes::{Change, Changes};
use crate::proxy::overlay::Overlay;
use crate::proxy::settings::Settings;
use crate::runtime::clock::Clock;
use crate::telemetry::{HandOverOutcome, HandOvers};

/// Hand-overs so far, an outcome and its count on each line.
const HAND_OVERS: &str = "hand-overs";
/// What session tickets are sealed with: clients that have one need no certificate.
const TICKET_KEYS: &str = "ticket-keys";
/// What is known of endpoints: checks, and what came of requests.
const HEALTH: &str = "health";
/// What names stand for: with DNS down, the new process serves all the same.
const NAMES: &str = "names";

/// What operators have changed, as JSON.
const RUNTIME_CHANGES: &str = "runtime-changes";

/// What this process passes on.
pub(super) fn export(gateway: &Gateway, overlay: &Overlay) -> Vec<Section> {
    vec![
        Section::new(RUNTIME_CHANGES, changes_text(&overlay.changes)),
        Section::new(HAND_OVERS, counts(&gateway.hand_overs)),
        Section::new(TICKET_KEYS, gateway.shared.ticket_keys().export()),
        Section::new(NAMES, memory::write(overlay)),
        Section::new(HEALTH, health::export(&gateway.shared.snapshot(), Clock::start().now())),
    ]
}

/// What lies over the settings from the first snapshot on.
pub(super) fn overlay(inheritance: &Inheritance) -> Overlay {
    let names = inheritance.state(NAMES).and_then(|names| std::str::from_utf8(names).ok());
    names.map(memory::read).unwrap_or_default()
}

/// Takes over what came along.
pub(super) fn import(inheritance: &Inheritance, gateway: &Gateway) {
    if let Some(counts) = inheritance.state(HAND_OVERS) {
        add_counts(counts, &gateway.hand_overs);
        // The one that is about to succeed: the old process cannot show it any more.
        gateway.hand_overs.count(HandOverOutcome::Completed);
    }
    if let Some(keys) = inheritance.state(TICKET_KEYS)
        && let Err(error) = gateway.shared.ticket_keys().import(keys)
    {
        tracing::warn!(%error, "clients begin new TLS sessions");
    }
    if let Some(known) = inheritance.state(HEALTH) {
        health::import(known, &gateway.shared.snapshot(), Clock::start().now());
    }
}

/// Takes over what operators have changed, as far as these settings let it hold.
pub(super) fn import_changes(
    inheritance: &Inheritance,
    settings: &Settings,
    changes: &mut Changes,
) {
    if let Some(text) = inheritance.state(RUNTIME_CHANGES) {
        read_changes(text, changes);
        runtime_changes::end_with(settings, changes);
    }
}

fn changes_text(changes: &Changes) -> String {
    let change = |(cluster, endpoint, Change { state, weight }): (&str, &str, Change)| json!({ "cluster": cluster, "endpoint": endpoint, "state": state.label(), "weight": weight });
    changes.iter().map(change).collect::<Value>().to_string()
}

/// What cannot be read is passed over.
fn read_changes(text: &[u8], changes: &mut Changes) {
    let all: Vec<Value> = serde_json::from_slice(text).unwrap_or_default();
    for one in &all {
        let state = AdminState::ALL.into_iter().find(|state| one["state"] == state.label());
        let weight = one["weight"].as_u64().and_then(|weight| u32::try_from(weight).ok());
        if let (Some(cluster), Some(endpoint)) = (one["cluster"].as_str(), one["endpoint"].as_str())
        {
            changes.set(cluster, endpoint, Change { state: state.unwrap_or_default(), weight });
        }
    }
}

fn counts(hand_overs: &HandOvers) -> String {
    hand_overs.by_outcome().map(|(outcome, count)| format!("{outcome} {count}\n")).collect()
}

fn add_counts(text: &[u8], hand_overs: &HandOvers) {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    for (label, count) in pairs {
        let outcome = HandOverOutcome::ALL.into_iter().find(|outcome| outcome.label() == label);
        if let (Some(outcome), Ok(count)) = (outcome, count.parse()) {
            hand_overs.add(outcome, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_where_they_were() {
        let before = HandOvers::default();
        before.add(HandOverOutcome::Completed, 3);
        before.count(HandOverOutcome::TimedOut);
        let after = HandOvers::default();
        add_counts(counts(&before).as_bytes(), &after);
        assert_eq!(counts(&after), counts(&before));
    }

    #[test]
    fn changes_cross_as_they_are() {
        let mut before = Changes::default();
        let drained = Change { state: AdminState::Drain, weight: None };
        before.set("model:a/b", "unix:/run/\"a\"", drained);
        before.set("docs", "10.0.0.1:80", Change { weight: Some(0), ..drained });
        let mut after = Changes::default();
        read_changes(changes_text(&before).as_bytes(), &mut after);
        assert_eq!(after, before);
        read_changes(b"[{\"cluster\": 1}, 5]", &mut after);
        assert_eq!(after, before);
    }

    #[test]
    fn counts_of_an_outcome_that_is_not_known_are_passed_over() {
        let after = HandOvers::default();
        add_counts(b"stolen 1\nrefused two\nrefused\n\xff\ncompleted 2\n", &after);
        assert!(after.by_outcome().all(|(outcome, n)| n == 2 * u64::from(outcome == "completed")));
    }
}
