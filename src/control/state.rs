//! What a process knows that its successor should know too: sections by name.
//!
//! Each is best effort. A successor that does not know a name, or cannot read what stands there,
//! begins anew with that, and takes over all the same.

use super::dns::memory;
use super::handover::Section;
use super::inheritance::Inheritance;
use super::instance::Gateway;
use crate::proxy::overlay::Overlay;
use crate::telemetry::{HandOverOutcome, HandOvers};

/// Hand-overs so far, an outcome and its count on each line.
const HAND_OVERS: &str = "hand-overs";
/// What session tickets are sealed with: clients that have one need no certificate.
const TICKET_KEYS: &str = "ticket-keys";
/// What names stand for: with DNS down, the new process serves all the same.
const NAMES: &str = "names";

/// What this process passes on.
pub(super) fn export(gateway: &Gateway, overlay: &Overlay) -> Vec<Section> {
    vec![
        Section::new(HAND_OVERS, counts(&gateway.hand_overs)),
        Section::new(TICKET_KEYS, gateway.shared.ticket_keys().export()),
        Section::new(NAMES, memory::write(overlay)),
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
    fn counts_of_an_outcome_that_is_not_known_are_passed_over() {
        let after = HandOvers::default();
        add_counts(b"stolen 1\nrefused two\nrefused\n\xff\ncompleted 2\n", &after);
        assert!(after.by_outcome().all(|(outcome, n)| n == 2 * u64::from(outcome == "completed")));
    }
}
