//! What all workers have counted for clusters and endpoints, added up at the time of reading.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::histogram::{CONNECT, FIRST_BYTE, HistogramTotal};
use super::worker::{UpstreamSeries, WorkerMetrics};

/// A cluster and an endpoint's address.
pub type EndpointName = (Arc<str>, Arc<str>);

/// Counts by cluster and by endpoint, of all workers and since the process started.
#[derive(Debug, Default)]
pub struct Totals {
    pub clusters: HashMap<Arc<str>, ClusterTotal>,
    pub endpoints: HashMap<EndpointName, EndpointTotal>,
}

/// Exchanges of one cluster.
#[derive(Debug, Default)]
pub struct ClusterTotal {
    /// Finished ones, however they ended.
    pub requests: u64,
    pub retries: u64,
    pub retries_over_budget: u64,
    /// Turned away for want of room, by reason.
    pub shed: BTreeMap<&'static str, u64>,
}

/// Attempts on one endpoint.
#[derive(Debug)]
pub struct EndpointTotal {
    pub requests: u64,
    /// By what went wrong.
    pub failures: BTreeMap<&'static str, u64>,
    /// Connections that lie idle.
    pub idle: u64,
    pub connect: HistogramTotal,
    pub first_byte: HistogramTotal,
}

impl Default for EndpointTotal {
    fn default() -> Self {
        Self {
            requests: 0,
            failures: BTreeMap::new(),
            idle: 0,
            connect: HistogramTotal::new(&CONNECT),
            first_byte: HistogramTotal::new(&FIRST_BYTE),
        }
    }
}

impl EndpointTotal {
    pub fn add(&mut self, series: &UpstreamSeries) {
        self.requests += series.requests.get();
        for (kind, count) in series.failures.iter() {
            *self.failures.entry(kind).or_default() += count;
        }
        self.idle += series.idle.get();
        self.connect.add(&series.connect);
        self.first_byte.add(&series.first_byte);
    }
}

impl Totals {
    pub fn of(workers: &[Arc<WorkerMetrics>]) -> Self {
        let mut totals = Self::default();
        for worker in workers {
            totals.add(worker);
        }
        totals
    }

    fn add(&mut self, worker: &WorkerMetrics) {
        for series in worker.all_request_series() {
            let total = self.clusters.entry(Arc::clone(&series.key.cluster)).or_default();
            total.requests += series.duration.count();
        }
        for series in worker.all_cluster_series() {
            let total = self.clusters.entry(Arc::clone(&series.cluster)).or_default();
            total.retries += series.retries.get();
            total.retries_over_budget += series.retries_over_budget.get();
            for (reason, count) in series.rejected.iter() {
                *total.shed.entry(reason).or_default() += count;
            }
        }
        for series in worker.all_upstream_series() {
            let name = (Arc::clone(&series.cluster), Arc::clone(&series.endpoint));
            self.endpoints.entry(name).or_default().add(&series);
        }
    }
}

/// Exchanges finished by cluster, and attempts begun by endpoint: what is looked at every second, a
/// small part of [`Totals`].
pub(super) fn requests(
    workers: &[Arc<WorkerMetrics>],
) -> (HashMap<Arc<str>, u64>, HashMap<EndpointName, u64>) {
    let (mut clusters, mut endpoints) = (HashMap::new(), HashMap::new());
    for worker in workers {
        for series in worker.all_request_series() {
            *clusters.entry(Arc::clone(&series.key.cluster)).or_default() +=
                series.duration.count();
        }
        for series in worker.all_upstream_series() {
            let name = (Arc::clone(&series.cluster), Arc::clone(&series.endpoint));
            *endpoints.entry(name).or_default() += series.requests.get();
        }
    }
    (clusters, endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::RequestKey;

    fn worker(requests: u64) -> Arc<WorkerMetrics> {
        let worker = WorkerMetrics::new(0, &[], &[]);
        let key = |route: &str, status| RequestKey {
            route: route.into(),
            cluster: "docs".into(),
            method: "GET",
            status,
        };
        for _ in 0..requests {
            worker.request_series(&key("/a", 200)).duration.record(1);
            worker.request_series(&key("/b", 502)).duration.record(1);
        }
        let series = worker.upstream_series("docs", "10.0.0.1:80", &["cut", "closed"]);
        series.requests.add(requests);
        series.failures.inc(1);
        series.idle.change(0, 3);
        series.first_byte.record(2_000_000);
        worker.cluster_series("docs", &["queue_full"]).rejected.inc(0);
        Arc::new(worker)
    }

    #[test]
    fn routes_statuses_and_workers_add_up_to_clusters_and_endpoints() {
        let totals = Totals::of(&[worker(2), worker(5)]);
        let cluster = &totals.clusters["docs"];
        assert_eq!((cluster.requests, cluster.shed["queue_full"]), (14, 2));
        let endpoint = &totals.endpoints[&("docs".into(), "10.0.0.1:80".into())];
        assert_eq!((endpoint.requests, endpoint.idle), (7, 6));
        assert_eq!((endpoint.failures["cut"], endpoint.failures["closed"]), (0, 2));
        assert_eq!(endpoint.first_byte.count(), 2);
    }
}
