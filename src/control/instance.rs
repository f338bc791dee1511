//! The running gateway, as the admin server sees it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time;
use serde_json::Value;

use super::status;
use crate::admin::Instance;
use crate::net::tls::Chain;
use crate::policy::circuit::{Kind, Phase};
use crate::proxy::limits::state::LimitState;
use crate::proxy::shared::Shared;
use crate::proxy::snapshot::EndpointInFull;
use crate::proxy::worker::ListenerState;
use crate::runtime::clock::Clock;
use crate::telemetry::history::History;
use crate::telemetry::{
    CertificateReport, CircuitState, ClusterReport, EndpointReport, HandOvers, LimitReport,
    LogEntries, Lookups, PassiveReport, WorkerMetrics,
};

/// A listener and where it accepts.
pub(super) type KnownListener = (Arc<ListenerState>, SocketAddr);

/// What the control thread keeps up to date for whoever asks.
pub struct Gateway {
    pub shared: Arc<Shared>,
    pub metrics: Vec<Arc<WorkerMetrics>>,
    pub log_entries: Arc<LogEntries>,
    pub reload_failures: AtomicU64,
    pub hand_overs: HandOvers,
    pub lookups: Arc<Lookups>,
    /// For each worker, whether its heartbeat is recent.
    pub alive: Box<[AtomicBool]>,
    pub access_log_unwritten: AtomicU64,
    history: Mutex<History>,
    listeners: Mutex<Vec<KnownListener>>,
}

impl Gateway {
    /// With all workers alive, and before anything has happened.
    pub fn new(
        shared: Arc<Shared>,
        metrics: Vec<Arc<WorkerMetrics>>,
        log_entries: Arc<LogEntries>,
        lookups: Arc<Lookups>,
    ) -> Self {
        Self {
            shared,
            log_entries,
            lookups,
            reload_failures: AtomicU64::new(0),
            hand_overs: HandOvers::default(),
            alive: metrics.iter().map(|_| AtomicBool::new(true)).collect(),
            access_log_unwritten: AtomicU64::new(0),
            history: Mutex::default(),
            listeners: Mutex::default(),
            metrics,
        }
    }

    /// Looks at what the workers have counted. To be called once a second.
    pub(super) fn observe(&self) {
        self.history().observe(Clock::start().now().as_nanos(), &self.metrics);
    }

    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    pub(super) fn set_listeners(&self, listeners: Vec<KnownListener>) {
        *lock(&self.listeners) = listeners;
    }

    pub(super) fn listeners(&self) -> Vec<KnownListener> {
        lock(&self.listeners).clone()
    }
}

/// What these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Instance for Gateway {
    fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        self.metrics.clone()
    }

    fn workers_alive(&self) -> usize {
        self.alive.iter().filter(|alive| alive.load(Ordering::Relaxed)).count()
    }

    fn workers_accepting(&self) -> usize {
        self.shared.accepting()
    }

    fn is_draining(&self) -> bool {
        self.shared.is_draining()
    }

    fn generation(&self) -> u64 {
        self.shared.generation()
    }

    fn reload_failures(&self) -> u64 {
        self.reload_failures.load(Ordering::Relaxed)
    }

    fn hand_overs(&self) -> &HandOvers {
        &self.hand_overs
    }

    fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    fn endpoints(&self) -> Vec<EndpointReport> {
        let snapshot = self.shared.snapshot();
        let mut reports: Vec<EndpointReport> = Vec::new();
        for report in snapshot.endpoints_in_full().map(|endpoint| report_of(&endpoint)) {
            // Several models of one server are several endpoints of a cluster on one address.
            let is_same = |known: &&mut EndpointReport| {
                known.cluster == report.cluster && known.endpoint == report.endpoint
            };
            match reports.iter_mut().rev().find(is_same) {
                Some(known) => known.weight += report.weight,
                None => reports.push(report),
            }
        }
        reports
    }

    fn certificates(&self) -> Vec<CertificateReport> {
        let snapshot = self.shared.snapshot();
        let report = |chain: &Chain| CertificateReport {
            file: chain.file.display().to_string(),
            not_after: chain.validity.not_after,
        };
        let mut reports: Vec<_> = snapshot.settings.certificates().map(report).collect();
        reports.sort();
        reports.dedup_by(|a, b| a.file == b.file);
        reports
    }

    fn clusters(&self) -> Vec<ClusterReport> {
        let snapshot = self.shared.snapshot();
        let report = |state: &Arc<crate::proxy::shared::ClusterState>| ClusterReport {
            cluster: state.name.to_string(),
            queued: state.queued(),
        };
        snapshot.clusters().map(report).collect()
    }

    fn limits(&self) -> Vec<LimitReport> {
        let now = Clock::start().now().as_nanos();
        let report = |limit: Arc<LimitState>| {
            let fill = limit.fill(now)?;
            Some(LimitReport {
                scope: limit.scope.label(),
                name: limit.name.to_string(),
                clients: fill.clients,
                capacity: fill.capacity,
                overflowed: fill.overflowed,
            })
        };
        let mut reports: Vec<_> = self.shared.limits().into_iter().filter_map(report).collect();
        reports.sort();
        reports
    }

    fn service(&self) -> String {
        self.shared.snapshot().settings.telemetry.service.clone()
    }

    fn tags(&self) -> Vec<(String, String)> {
        self.shared.snapshot().settings.telemetry.tags.clone()
    }

    fn log_entries(&self) -> &LogEntries {
        &self.log_entries
    }

    fn access_log_unwritten(&self) -> u64 {
        self.access_log_unwritten.load(Ordering::Relaxed)
    }

    fn status(&self, cluster: Option<&str>) -> Result<Value, String> {
        status::of(self, cluster)
    }

    fn is_admin_token(&self, given: &[u8]) -> Option<bool> {
        let snapshot = self.shared.snapshot();
        let token = snapshot.settings.admin.token.as_ref()?.0.as_bytes();
        Some(constant_time::verify_slices_are_equal(token, given).is_ok())
    }
}

fn report_of(full: &EndpointInFull<'_>) -> EndpointReport {
    let EndpointInFull { cluster, state, endpoint, .. } = full;
    EndpointReport {
        cluster: state.cluster.to_string(),
        endpoint: state.label.to_string(),
        up: status::state_of(state, endpoint.weight) == "up",
        in_flight: u64::from(state.in_flight.load(Ordering::Relaxed)),
        weight: endpoint.weight,
        checks: match cluster.health_check {
            Some(_) => state.events.checks().collect(),
            None => Vec::new(),
        },
        passive: cluster.passive.as_ref().map(|passive| PassiveReport {
            is_breaker: matches!(passive.kind, Kind::Breaker { .. }),
            circuit: match state.availability.circuit().phase {
                Phase::Closed { .. } => CircuitState::Closed,
                Phase::Open { .. } => CircuitState::Open,
                Phase::HalfOpen { .. } => CircuitState::HalfOpen,
            },
            openings: state.events.openings().collect(),
        }),
    }
}
