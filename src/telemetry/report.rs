//! What `/metrics` shows, gathered in one place by whoever can see it all.

use std::sync::Arc;

use super::counter::SharedCounter;
use super::hand_over::HandOvers;
use super::lookups::Lookups;
use super::worker::WorkerMetrics;

/// The state of one instance at the time of reading.
pub struct Report<'a> {
    /// The label `service` of the families that have one.
    pub service: &'a str,
    /// Labels on every series; a metric's own label of the same name wins.
    pub tags: &'a [(String, String)],
    pub version: &'a str,
    pub workers: &'a [Arc<WorkerMetrics>],
    pub endpoints: &'a [EndpointReport],
    pub certificates: &'a [CertificateReport],
    pub clusters: &'a [ClusterReport],
    pub limits: &'a [LimitReport],
    pub process: &'a ProcessStats,
    pub log_entries: &'a LogEntries,
    /// Access log lines that the log thread could not write.
    pub access_log_unwritten: u64,
    /// Number of the snapshot in force.
    pub generation: u64,
    pub reload_failures: u64,
    pub hand_overs: &'a HandOvers,
    pub lookups: &'a Lookups,
}

/// One endpoint of a cluster, as the balancer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointReport {
    pub cluster: String,
    /// Its address.
    pub endpoint: String,
    pub up: bool,
    pub in_flight: u64,
    pub weight: u32,
    /// How its checks ended, by outcome; empty if nobody checks it.
    pub checks: Vec<(&'static str, u64)>,
    /// Where its cluster leaves endpoints alone that fail.
    pub passive: Option<PassiveReport>,
}

/// What has come of an endpoint's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassiveReport {
    /// Whether it is a breaker that looks at them, and not an outlier.
    pub is_breaker: bool,
    pub circuit: CircuitState,
    /// How often it was left alone, by reason.
    pub openings: Vec<(&'static str, u64)>,
}

/// The number of a state is its value in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}

/// A certificate that is shown to others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateReport {
    pub file: String,
    /// In seconds since 1970.
    pub not_after: i64,
}

/// One cluster at the time of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterReport {
    pub cluster: String,
    /// Exchanges that wait for room.
    pub queued: usize,
}

/// The table of clients of one limit at the time of reading.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitReport {
    /// What it stands on, such as `route`.
    pub scope: &'static str,
    /// Which of them.
    pub name: String,
    /// Clients that have asked lately or are in debt.
    pub clients: usize,
    /// How many there can be.
    pub capacity: usize,
    /// Requests of clients that found no place.
    pub overflowed: u64,
}

/// What the kernel knows of this process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time of all threads.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    /// What the process may use before the kernel ends it: a cgroup's limit, or all memory.
    pub memory_limit_bytes: u64,
    pub open_fds: u64,
    pub max_fds: u64,
    pub threads: u64,
    /// Seconds since 1970.
    pub start_time_seconds: f64,
}

/// Entries of the program's own log, by level.
#[derive(Debug, Default)]
pub struct LogEntries {
    pub error: SharedCounter,
    pub warn: SharedCounter,
    pub info: SharedCounter,
    pub debug: SharedCounter,
    pub trace: SharedCounter,
}

impl LogEntries {
    pub(super) fn by_level(&self) -> [(&'static str, u64); 5] {
        [
            ("error", self.error.get()),
            ("warn", self.warn.get()),
            ("info", self.info.get()),
            ("debug", self.debug.get()),
            ("trace", self.trace.get()),
        ]
    }
}
