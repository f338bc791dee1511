//! Everything one worker counts.
//!
//! The worker holds an `Arc` of its [`WorkerMetrics`]; so does whoever reads. It outlives the
//! worker: one that is replaced goes on where its predecessor stopped, and nothing counts backwards.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::counter::{Counter, Gauge, Labelled};
use super::event_loop::LoopStats;
use super::histogram::{CONNECT, FIRST_BYTE, Histogram, OVERHEAD, REQUEST_DURATION};

/// Label sets of one kind that one worker keeps. Routes, models and endpoints come from the
/// configuration, but reloads may bring new ones for ever, and an upstream may answer with any
/// status: beyond this bound, what is new is counted under [`OVERFLOW`].
const SERIES_MAX: usize = 10_000;

/// The label value of everything beyond the bound on series.
pub const OVERFLOW: &str = "other";

/// What connections are switched to; the constants are indices.
pub const UPGRADE_LABELS: [&str; 2] = ["websocket", "other"];
pub const UPGRADE_WEBSOCKET: usize = 0;
pub const UPGRADE_OTHER: usize = 1;

/// Counters of one worker. Every field has the worker's thread as its only writer.
// On cache lines of its own: a neighbour's writes must not slow this worker's.
#[repr(align(128))]
pub struct WorkerMetrics {
    /// Which worker, from 0.
    pub index: usize,

    /// Taken from a listening socket, to be served here or handed over.
    pub connections_accepted: Counter,
    /// Accepted here and given to a less loaded worker.
    pub connections_handed_over: Counter,
    /// Accepted by another worker and given to this one.
    pub connections_received: Counter,
    /// Served to their end, by whomever they were accepted.
    pub connections_closed: Counter,
    /// Closed at once because a limit was reached. In none of the above.
    pub connections_refused: Counter,

    /// Shared with the runtime, which knows nothing else of this.
    pub event_loop: Arc<LoopStats>,

    /// Exchanges begun.
    pub requests: Counter,
    /// Bytes from clients, heads and framing included.
    pub downstream_bytes_in: Counter,
    /// Bytes to clients, heads and framing included.
    pub downstream_bytes_out: Counter,
    /// Requests refused, by reason.
    pub refused: Labelled,
    /// Connections of clients that speak HTTP/2.
    pub http2_connections: Counter,
    /// Requests that came on them.
    pub http2_requests: Counter,
    /// Those whose response did not reach its end.
    pub http2_unfinished: Counter,
    /// Connections to endpoints that speak HTTP/2.
    pub http2_upstream_connections: Counter,
    /// Time spent in Ringgate, for each exchange that reached an upstream.
    pub overhead: Histogram,

    /// Connections opened to endpoints.
    pub upstream_connects: Counter,
    pub upstream_connect_failures: Counter,
    /// Attempts that found an idle connection in the pool.
    pub upstream_reused: Counter,
    /// What was wrong with responses or their connections, by kind.
    pub upstream_faults: Labelled,

    /// Connections switched to another protocol, by [`UPGRADE_LABELS`].
    pub upgrades: Labelled,
    /// Those of them that have ended.
    pub upgrades_ended: Counter,

    /// Access log lines lost because the log thread was behind.
    pub access_log_dropped: Counter,

    driver: Mutex<Driver>,
    requests_by: Series<RequestKey, RequestSeries>,
    upstreams_by: Series<(Arc<str>, Arc<str>), UpstreamSeries>,
    models_by: Series<Arc<str>, AiSeries>,
    handshakes_by: Series<Arc<str>, HandshakeSeries>,
    clusters_by: Series<Arc<str>, ClusterSeries>,
    limits_by: Series<LimitKey, LimitSeries>,
}

/// What moves a worker's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Driver {
    /// `io_uring` or `epoll`; empty before the worker has chosen.
    pub name: &'static str,
    /// Such as `single_issuer,defer_taskrun`.
    pub flags: String,
}

impl WorkerMetrics {
    /// The labels are all reasons for which a request can be refused, and all kinds of fault an
    /// upstream can have, in the order of the indices given to [`Labelled::inc`].
    pub fn new(
        index: usize,
        refusal_labels: &'static [&'static str],
        fault_labels: &'static [&'static str],
    ) -> Self {
        Self {
            index,
            connections_accepted: Counter::default(),
            connections_handed_over: Counter::default(),
            connections_received: Counter::default(),
            connections_closed: Counter::default(),
            connections_refused: Counter::default(),
            event_loop: Arc::default(),
            requests: Counter::default(),
            downstream_bytes_in: Counter::default(),
            downstream_bytes_out: Counter::default(),
            refused: Labelled::new(refusal_labels),
            http2_connections: Counter::default(),
            http2_requests: Counter::default(),
            http2_unfinished: Counter::default(),
            http2_upstream_connections: Counter::default(),
            overhead: Histogram::new(&OVERHEAD),
            upstream_connects: Counter::default(),
            upstream_connect_failures: Counter::default(),
            upstream_reused: Counter::default(),
            upstream_faults: Labelled::new(fault_labels),
            upgrades: Labelled::new(&UPGRADE_LABELS),
            upgrades_ended: Counter::default(),
            access_log_dropped: Counter::default(),
            driver: Mutex::default(),
            requests_by: Series::default(),
            upstreams_by: Series::default(),
            models_by: Series::default(),
            handshakes_by: Series::default(),
            clusters_by: Series::default(),
            limits_by: Series::default(),
        }
    }

    pub fn set_driver(&self, driver: Driver) {
        *lock(&self.driver) = driver;
    }

    pub fn driver(&self) -> Driver {
        lock(&self.driver).clone()
    }

    /// Connections that this worker is serving.
    pub fn connections_active(&self) -> u64 {
        // What left is read first: a connection that comes and goes meanwhile must not make the
        // difference negative.
        let left = self.connections_closed.get() + self.connections_handed_over.get();
        let came = self.connections_accepted.get() + self.connections_received.get();
        came.saturating_sub(left)
    }

    /// Connections of this worker that have been switched to another protocol.
    pub fn upgrades_active(&self) -> u64 {
        let ended = self.upgrades_ended.get();
        let begun: u64 = self.upgrades.iter().map(|(_, count)| count).sum();
        begun.saturating_sub(ended)
    }

    /// Counts the connections that died with a worker as closed. For the replacing thread, before
    /// it serves any of its own.
    pub fn close_lost_connections(&self) {
        self.connections_closed.add(self.connections_active());
        self.upgrades_ended.add(self.upgrades_active());
    }

    /// The series of one label set. Takes a lock and may allocate: ask once and keep the answer.
    pub fn request_series(&self, key: &RequestKey) -> Arc<RequestSeries> {
        self.requests_by.find(key, RequestKey::overflow, RequestSeries::new)
    }

    /// The series of one endpoint of a cluster; `failures` are all labels of failed attempts. The
    /// rest as [`Self::request_series`].
    pub fn upstream_series(
        &self,
        cluster: &str,
        endpoint: &str,
        failures: &'static [&'static str],
    ) -> Arc<UpstreamSeries> {
        let key = (Arc::from(cluster), Arc::from(endpoint));
        let overflow = || (Arc::from(OVERFLOW), Arc::from(OVERFLOW));
        let new = |key: &(Arc<str>, Arc<str>)| UpstreamSeries::new(key, failures);
        self.upstreams_by.find(&key, overflow, new)
    }

    /// The series of one model of the configuration; the rest as [`Self::request_series`].
    pub fn ai_series(&self, model: &str) -> Arc<AiSeries> {
        self.models_by.find(&Arc::from(model), || Arc::from(OVERFLOW), AiSeries::new)
    }

    /// The TLS handshakes on one listener; `faults` are all labels of failed ones. The rest as
    /// [`Self::request_series`].
    pub fn handshake_series(
        &self,
        listener: &str,
        faults: &'static [&'static str],
    ) -> Arc<HandshakeSeries> {
        let new = |listener: &Arc<str>| HandshakeSeries::new(listener, faults);
        self.handshakes_by.find(&Arc::from(listener), || Arc::from(OVERFLOW), new)
    }

    pub(super) fn all_handshake_series(&self) -> Vec<Arc<HandshakeSeries>> {
        self.handshakes_by.all()
    }

    /// The series of one cluster; the rest as [`Self::request_series`]. The labels are all reasons
    /// for which an exchange can be turned away.
    pub fn cluster_series(
        &self,
        cluster: &str,
        reasons: &'static [&'static str],
    ) -> Arc<ClusterSeries> {
        let new = |cluster: &Arc<str>| ClusterSeries::new(cluster, reasons);
        self.clusters_by.find(&Arc::from(cluster), || Arc::from(OVERFLOW), new)
    }

    pub(super) fn all_cluster_series(&self) -> Vec<Arc<ClusterSeries>> {
        self.clusters_by.all()
    }

    /// The series of one limit: what it stands on, its name there, and what it does. The rest as
    /// [`Self::request_series`].
    pub fn limit_series(
        &self,
        scope: &'static str,
        name: &str,
        algorithm: &'static str,
    ) -> Arc<LimitSeries> {
        let key = LimitKey { scope, name: Arc::from(name), algorithm };
        let overflow = || LimitKey { name: Arc::from(OVERFLOW), ..key.clone() };
        self.limits_by.find(&key, overflow, |key| LimitSeries::new(key.clone()))
    }

    pub(super) fn all_limit_series(&self) -> Vec<Arc<LimitSeries>> {
        self.limits_by.all()
    }

    pub(super) fn all_request_series(&self) -> Vec<Arc<RequestSeries>> {
        self.requests_by.all()
    }

    pub(super) fn all_upstream_series(&self) -> Vec<Arc<UpstreamSeries>> {
        self.upstreams_by.all()
    }

    pub(super) fn all_ai_series(&self) -> Vec<Arc<AiSeries>> {
        self.models_by.all()
    }
}

/// What tells finished requests apart. Every value comes from the configuration or from an enum,
/// never from a request as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The path pattern of the route, such as `/v1/`; `none` if no route matched.
    pub route: Arc<str>,
    /// Empty when no cluster was chosen.
    pub cluster: Arc<str>,
    /// A method of RFC 9110 or `other`.
    pub method: &'static str,
    /// 0 if no response head went out.
    pub status: u16,
}

impl RequestKey {
    fn overflow() -> Self {
        Self { route: Arc::from(OVERFLOW), cluster: Arc::from(""), method: OVERFLOW, status: 0 }
    }
}

/// Finished requests of one label set.
pub struct RequestSeries {
    pub key: RequestKey,
    /// From the first byte of the request to the last of the response.
    pub duration: Histogram,
}

impl RequestSeries {
    fn new(key: &RequestKey) -> Self {
        Self { key: key.clone(), duration: Histogram::new(&REQUEST_DURATION) }
    }
}

/// Attempts on one endpoint.
pub struct UpstreamSeries {
    pub cluster: Arc<str>,
    /// Its address.
    pub endpoint: Arc<str>,
    pub requests: Counter,
    /// Attempts that brought no whole response, by what went wrong.
    pub failures: Labelled,
    /// Connections to it that lie idle, as of the last housekeeping.
    pub idle: Gauge,
    pub connect: Histogram,
    /// From the last byte of the request to the first of the response.
    pub first_byte: Histogram,
}

impl UpstreamSeries {
    fn new((cluster, endpoint): &(Arc<str>, Arc<str>), failures: &'static [&'static str]) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            requests: Counter::default(),
            failures: Labelled::new(failures),
            idle: Gauge::default(),
            connect: Histogram::new(&CONNECT),
            first_byte: Histogram::new(&FIRST_BYTE),
        }
    }
}

/// What happened to the exchanges of one cluster besides their attempts.
pub struct ClusterSeries {
    pub cluster: Arc<str>,
    /// Attempts after an exchange's first.
    pub retries: Counter,
    /// Attempts that failed and were the last because the retry budget was spent.
    pub retries_over_budget: Counter,
    /// How long exchanges waited, whether or not their turn came.
    pub waited: Histogram,
    /// Exchanges turned away, by reason.
    pub rejected: Labelled,
}

impl ClusterSeries {
    fn new(cluster: &Arc<str>, reasons: &'static [&'static str]) -> Self {
        Self {
            cluster: Arc::clone(cluster),
            retries: Counter::default(),
            retries_over_budget: Counter::default(),
            waited: Histogram::new(&FIRST_BYTE),
            rejected: Labelled::new(reasons),
        }
    }
}

/// What tells limits apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitKey {
    /// What it stands on, such as `route`.
    pub scope: &'static str,
    /// Which of them; empty where there is but one.
    pub name: Arc<str>,
    /// Such as `token_bucket` or `concurrency`.
    pub algorithm: &'static str,
}

/// What limits decided that share a label set.
pub struct LimitSeries {
    pub key: LimitKey,
    pub admitted: Counter,
    pub rejected: Counter,
}

impl LimitSeries {
    fn new(key: LimitKey) -> Self {
        Self { key, admitted: Counter::default(), rejected: Counter::default() }
    }
}

/// AI requests for one model, by the name in the configuration.
pub struct AiSeries {
    pub model: Arc<str>,
    pub requests: Counter,
    /// From the first byte of the request to the first event of a streamed answer.
    pub time_to_first_event: Histogram,
}

impl AiSeries {
    fn new(model: &Arc<str>) -> Self {
        Self {
            model: Arc::clone(model),
            requests: Counter::default(),
            time_to_first_event: Histogram::new(&FIRST_BYTE),
        }
    }
}

/// TLS handshakes on one listener.
pub struct HandshakeSeries {
    pub listener: Arc<str>,
    /// By version, then by whether a session was resumed.
    pub(super) done: [[Counter; 2]; 2],
    pub failures: Labelled,
}

/// The labels of [`HandshakeSeries::done`].
pub(super) const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

impl HandshakeSeries {
    fn new(listener: &Arc<str>, faults: &'static [&'static str]) -> Self {
        let failures = Labelled::new(faults);
        Self { listener: Arc::clone(listener), done: Default::default(), failures }
    }

    /// Counts one that came to its end. `version` is `1.2` or `1.3`.
    pub fn count(&self, version: &str, resumed: bool) {
        if let Some(index) = TLS_VERSIONS.iter().position(|known| *known == version) {
            self.done[index][usize::from(resumed)].inc();
        }
    }
}

/// Series by label set, at most [`SERIES_MAX`] and one for what is beyond.
struct Series<K, S>(Mutex<HashMap<K, Arc<S>>>);

impl<K, S> Default for Series<K, S> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Clone + Eq + Hash, S> Series<K, S> {
    fn find(&self, key: &K, overflow: impl Fn() -> K, new: impl Fn(&K) -> S) -> Arc<S> {
        let mut series = lock(&self.0);
        if let Some(known) = series.get(key) {
            return Arc::clone(known);
        }
        if series.len() >= SERIES_MAX {
            // Of what is gone, as endpoints go with the addresses of names.
            series.retain(|_, series| Arc::strong_count(series) > 1);
        }
        let key = if series.len() < SERIES_MAX { key.clone() } else { overflow() };
        let made = series.entry(key.clone()).or_insert_with(|| Arc::new(new(&key)));
        Arc::clone(made)
    }

    fn all(&self) -> Vec<Arc<S>> {
        lock(&self.0).values().map(Arc::clone).collect()
    }
}

/// What these locks guard is whole between any two statements: a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> WorkerMetrics {
        WorkerMetrics::new(0, &["no_route"], &["reset"])
    }

    fn key(status: u16) -> RequestKey {
        RequestKey { route: "/v1/".into(), cluster: "docs".into(), method: "GET", status }
    }

    #[test]
    fn one_label_set_has_one_series() {
        let worker = worker();
        worker.request_series(&key(200)).duration.record(1);
        let again = worker.request_series(&key(200));
        assert!(Arc::ptr_eq(&again, &worker.request_series(&key(200))));
        assert!(!Arc::ptr_eq(&again, &worker.request_series(&key(404))));
        assert_eq!(worker.all_request_series().len(), 2);
    }

    #[test]
    fn new_label_sets_beyond_the_bound_share_one_series() {
        let worker = worker();
        let held: Vec<_> =
            (0..SERIES_MAX).map(|n| worker.ai_series(&format!("model-{n}"))).collect();
        let beyond = worker.ai_series("one-more");
        assert_eq!(&*beyond.model, OVERFLOW);
        assert!(Arc::ptr_eq(&beyond, &worker.ai_series("and-another")));
        assert_eq!(&*worker.ai_series("model-7").model, "model-7");
        assert_eq!(worker.all_ai_series().len(), SERIES_MAX + 1);
        drop(held);
    }

    #[test]
    fn series_that_nobody_counts_in_any_more_give_their_room_to_new_ones() {
        let worker = worker();
        for n in 0..SERIES_MAX {
            worker.upstream_series("docs", &format!("docs.internal/10.0.0.1:{n}"), &[]);
        }
        let new = worker.upstream_series("docs", "docs.internal/10.0.0.2:80", &[]);
        assert_eq!(&*new.endpoint, "docs.internal/10.0.0.2:80");
        assert_eq!(worker.all_upstream_series().len(), 1);
    }

    #[test]
    fn connections_handed_over_are_active_where_they_went() {
        let (from, to) = (worker(), worker());
        from.connections_accepted.add(3);
        from.connections_handed_over.inc();
        to.connections_received.inc();
        assert_eq!((from.connections_active(), to.connections_active()), (2, 1));
        to.connections_closed.inc();
        assert_eq!(to.connections_active(), 0);
    }

    #[test]
    fn connections_of_a_dead_worker_do_not_stay_active() {
        let worker = worker();
        worker.connections_accepted.add(5);
        worker.connections_closed.add(2);
        worker.close_lost_connections();
        assert_eq!(worker.connections_active(), 0);
        assert_eq!(worker.connections_closed.get(), 5);
    }
}
