//! Keys that the configuration reference has and this version does not carry out yet.
//!
//! They are refused in words of their own: "unknown key" would send the operator looking for a
//! typing error, and accepting them would promise what does not happen.

pub(super) const MESSAGE: &str = "Not available in this version of Ringgate.";

/// By kind of section: its path without names and indices.
const KEYS: [(&str, &[&str]); 10] = [
    ("", &["auth", "audit", "sanitize", "notify", "store", "redis"]),
    ("server", &["state_dir"]),
    ("route", &["auth"]),
    ("cluster", CLUSTER),
    ("model", CLUSTER),
    ("model", &["service", "fallback", "tokens", "keep_alive_comment", "hedge", "on_lossy"]),
    ("service", &["balance", "breaker", "retry", "timeouts", "fallback", "tokens"]),
    ("model.timeouts", &["first_event", "between_events"]),
    ("log", &["file", "rotation"]),
    ("telemetry", &["otlp"]),
];

/// Valid on a model as well: it compiles to a cluster.
#[rustfmt::skip]
const CLUSTER: &[&str] = &[
    "on_disconnect",
];

/// Whether `key` of such a section is known, but not carried out yet.
pub(super) fn is_unavailable(kind: &str, key: &str) -> bool {
    KEYS.iter().any(|(section, keys)| *section == kind && keys.contains(&key))
}
