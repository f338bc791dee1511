//! The running gateway, as the admin server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::admin::Instance;
use crate::net::tls::Chain;
use crate::proxy::shared::Shared;
use crate::telemetry::{
    CertificateReport, ClusterReport, EndpointReport, HandOvers, LogEntries, Lookups, WorkerMetrics,
};

/// What the control thread keeps up to date for whoever asks.
pub struct Gateway {
    pub shared: Arc<Shared>,
    pub metrics: Vec<Arc<WorkerMetrics>>,
    pub log_entries: Arc<LogEntries>,
    pub reload_failures: AtomicU64,
    pub hand_overs: HandOvers,
    pub lookups: Arc<Lookups>,
    pub alive: AtomicUsize,
    pub access_log_unwritten: AtomicU64,
}

impl Instance for Gateway {
    fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        self.metrics.clone()
    }

    fn workers_alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
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
        let report =
            |(state, weight): (&Arc<crate::proxy::shared::EndpointState>, u32)| EndpointReport {
                cluster: state.cluster.to_string(),
                endpoint: state.label.to_string(),
                up: weight > 0 && state.peer().is_some(),
                in_flight: u64::from(state.in_flight.load(Ordering::Relaxed)),
                weight,
            };
        let mut reports: Vec<EndpointReport> = Vec::new();
        for report in snapshot.endpoints().map(report) {
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
}
