//! One worker's side of a snapshot: the rules, with the worker's own pools, turns and series.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::failure::EndpointFailure;
use super::limits::state::LimitState;
use super::limits::{LimitSet, LimitView, Sets};
use super::pool::Pool;
use super::queue::ShedReason;
use super::settings::{self, EndpointTls, HashOn, Provider};
use super::shared::{ClusterState, EndpointState};
use super::snapshot::{Balancers, Cluster, Snapshot};
use super::sticky::Sticky;
use super::worker::ListenerState;
use crate::http::proxy_protocol::Version;
use crate::net::tls::{ClientTls, HandshakeFailure, ServerTls};
use crate::policy::balance::Algorithm;
use crate::policy::{circuit, retry};
use crate::runtime::clock::Instant;
use crate::telemetry::access_log::LineFormat;
use crate::telemetry::record::Outcome;
use crate::telemetry::worker::{
    AiSeries, ClusterSeries, RequestKey, RequestSeries, UpstreamSeries, WorkerMetrics,
};

/// Held by every exchange from its first to its last byte.
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    /// Those that stand on no cluster; `None` if there are none.
    pub(super) limits: Option<Box<Sets<Rc<LimitView>>>>,
    clusters: Vec<Rc<ClusterView>>,
    ops: Rc<ClusterView>,
    models: Vec<Arc<AiSeries>>,
    /// For each route, and once more for requests that match none, the series met so far.
    series: Vec<RefCell<Vec<Arc<RequestSeries>>>>,
}

/// A cluster as this worker uses it.
pub(super) struct ClusterView {
    pub(super) name: Arc<str>,
    pub(super) timeouts: settings::ClusterTimeouts,
    /// Endpoints are told by it whose connection they get.
    pub(super) proxy_protocol: Option<Version>,
    pub(super) endpoints: Vec<EndpointView>,
    pub(super) state: Arc<ClusterState>,
    pub(super) balancers: Arc<Balancers>,
    /// What requests are balanced by, if the algorithm hashes.
    pub(super) hash_on: Option<HashOn>,
    /// The cookie that keeps a client with its endpoint.
    pub(super) sticky: Option<Arc<Sticky>>,
    pub(super) slow_start_ns: u64,
    pub(super) observes_latency: bool,
    pub(super) retry: retry::Settings,
    /// What becomes of endpoints that fail.
    pub(super) passive: Option<circuit::Settings>,
    pub(super) max_in_flight: Option<u32>,
    /// Whether the cluster or an endpoint has a limit: without one nobody ever waits.
    pub(super) is_limited: bool,
    /// Exchanges that may wait.
    pub(super) queue: usize,
    pub(super) limits: LimitSet,
    pub(super) series: Arc<ClusterSeries>,
    keys: RandomState,
    /// How many random numbers have been drawn.
    drawn: Cell<u64>,
    /// Exchanges whose share of the retry budget has not been paid in yet.
    unpaid: Cell<u32>,
}

pub(super) struct EndpointView {
    pub(super) state: Arc<EndpointState>,
    pub(super) pool: Rc<Pool>,
    pub(super) series: Arc<UpstreamSeries>,
    pub(super) provider: Option<Provider>,
    /// How its connections are made private, if they are.
    pub(super) tls: Option<(Arc<ClientTls>, EndpointTls)>,
    pub(super) http2: bool,
    pub(super) max_in_flight: Option<u32>,
    pub(super) limits: LimitSet,
    /// When the log was last told that its handshakes fail.
    complained: Cell<Option<Instant>>,
}

/// The log is told of failing handshakes that often for each endpoint and worker.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The idle connections of a worker: they outlive views as long as their endpoint does.
#[derive(Default)]
pub(super) struct Pools {
    pools: Vec<KnownPool>,
}

/// Connections are told apart by where they go and by how they were made private.
struct KnownPool {
    state: Arc<EndpointState>,
    tls: Option<(Arc<ClientTls>, EndpointTls)>,
    pool: Rc<Pool>,
}

impl Pools {
    fn find(
        &self,
        state: &Arc<EndpointState>,
        tls: Option<&(Arc<ClientTls>, EndpointTls)>,
        series: &Arc<UpstreamSeries>,
    ) -> Rc<Pool> {
        let has_same_tls = |known: &KnownPool| match (&known.tls, tls) {
            (None, None) => true,
            (Some((known, known_settings)), Some((tls, settings))) => {
                Arc::ptr_eq(known, tls) && known_settings.server_name == settings.server_name
            }
            _ => false,
        };
        let mut same = self.pools.iter().filter(|known| Arc::ptr_eq(&known.state, state));
        same.find(|known| has_same_tls(known))
            .map_or_else(|| Rc::new(Pool::new(series)), |known| Rc::clone(&known.pool))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.pools.iter().map(|known| &known.pool)
    }
}

impl View {
    /// The view of a new snapshot; pools of endpoints that are gone close their connections.
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        before: Option<&Self>,
        pools: &mut Pools,
        metrics: &WorkerMetrics,
    ) -> Self {
        let new = |cluster: &Arc<Cluster>| Rc::new(ClusterView::new(cluster, pools, metrics));
        let cluster = |(index, cluster): (usize, &Arc<Cluster>)| {
            let before = before.and_then(|before| before.same_cluster(index, cluster));
            before.unwrap_or_else(|| new(cluster))
        };
        let clusters: Vec<_> = snapshot.clusters.iter().enumerate().map(cluster).collect();
        let ops = new(&snapshot.ops);
        let models = snapshot.model_names.iter().map(|name| metrics.ai_series(name)).collect();
        let routes = snapshot.route_labels.len();
        let in_use = clusters.iter().chain([&ops]).flat_map(|cluster| &cluster.endpoints);
        pools.pools = in_use.map(EndpointView::known_pool).collect();
        Self {
            limits: snapshot.limits.as_ref().map(|limits| Box::new(limits.view(metrics))),
            clusters,
            ops,
            models,
            series: (0..=routes).map(|_| RefCell::default()).collect(),
            snapshot,
        }
    }

    /// The view of a cluster that is the same in another snapshot.
    fn same_cluster(&self, index: usize, cluster: &Arc<Cluster>) -> Option<Rc<ClusterView>> {
        let is_same = Arc::ptr_eq(self.snapshot.clusters.get(index)?, cluster);
        is_same.then(|| Rc::clone(&self.clusters[index]))
    }

    /// The settings of a listener and their index; `None` once it is configured no more.
    pub(super) fn listener(&self, state: &ListenerState) -> Option<(usize, &settings::Listener)> {
        let listeners = self.snapshot.settings.listeners.iter().enumerate();
        let mut same = listeners.filter(|(_, listener)| state.is_of(listener));
        same.next()
    }

    /// What handshakes on a listener are made with, if it has any.
    pub(super) fn listener_tls(&self, index: usize) -> Option<&ServerTls> {
        self.snapshot.listeners_tls.get(index)?.as_ref()
    }

    /// Whether an exchange that ended so is written to the access log, and how.
    pub(super) fn logs(
        &self,
        route: Option<usize>,
        outcome: Outcome,
        status: u16,
        number: u64,
    ) -> Option<LineFormat> {
        let log = self.snapshot.settings.access_log.as_ref()?;
        if route.is_some_and(|route| !self.snapshot.routes.get(route).access_log) {
            return None;
        }
        // Every so many of the successful ones, by their number: a share without dice.
        let due = |n: u64| (n as f64 * log.sample) as u64;
        let is_written = !outcome.is_success()
            || status >= 400
            || log.sample >= 1.0
            || due(number) != due(number + 1);
        is_written.then_some(log.format)
    }

    pub(super) fn cluster(&self, index: usize) -> &Rc<ClusterView> {
        &self.clusters[index]
    }

    pub(super) fn ops(&self) -> &Rc<ClusterView> {
        &self.ops
    }

    pub(super) fn model_series(&self, model: usize) -> &AiSeries {
        &self.models[model]
    }

    /// The label of a route, `none` for requests that match none.
    pub(super) fn route_label(&self, route: Option<usize>) -> &str {
        route.map_or("none", |route| &self.snapshot.route_labels[route])
    }

    /// The series of a finished request. Few label sets meet on one route: a short list is
    /// searched faster than a table.
    pub(super) fn request_series(
        &self,
        route: Option<usize>,
        cluster: Option<&ClusterView>,
        method: &'static str,
        status: u16,
        metrics: &WorkerMetrics,
    ) -> Arc<RequestSeries> {
        let cluster = cluster.map_or("", |cluster| &cluster.name);
        let slot = route.unwrap_or(self.series.len() - 1);
        let mut met = self.series[slot].borrow_mut();
        let known = met.iter().find(|series| {
            let key = &series.key;
            key.status == status && key.method == method && *key.cluster == *cluster
        });
        if let Some(series) = known {
            return Arc::clone(series);
        }
        let key = RequestKey {
            route: self.route_label(route).into(),
            cluster: cluster.into(),
            method,
            status,
        };
        let series = metrics.request_series(&key);
        met.push(Arc::clone(&series));
        series
    }
}

/// Exchanges whose share is paid into the retry budget at once: the budget is shared by all
/// workers, and need not be touched for each.
const PAID_AT_ONCE: u32 = 32;

impl ClusterView {
    fn new(cluster: &Cluster, pools: &Pools, metrics: &WorkerMetrics) -> Self {
        let limits = |states: &[Arc<LimitState>]| -> LimitSet {
            states.iter().map(|state| LimitView::new(state, metrics)).collect()
        };
        let pairs = cluster.endpoints.iter().zip(&cluster.settings.endpoints);
        let endpoints: Vec<_> = pairs
            .zip(&cluster.endpoints_tls)
            .zip(&cluster.endpoints_limits)
            .map(|(((state, settings), tls), limit)| {
                (state, settings, tls.clone().zip(settings.tls.clone()), limit)
            })
            .map(|(state, settings, tls, limit)| {
                let (name, label) = (&cluster.name, &state.label);
                let series = metrics.upstream_series(name, label, EndpointFailure::LABELS);
                EndpointView {
                    pool: pools.find(state, tls.as_ref(), &series),
                    tls,
                    series,
                    provider: settings.provider.clone(),
                    http2: settings.http2,
                    max_in_flight: settings.max_in_flight,
                    limits: limits(limit),
                    complained: Cell::new(None),
                    state: Arc::clone(state),
                }
            })
            .collect();
        let settings = &cluster.settings;
        let balance = &settings.balance;
        let limited_endpoint = endpoints.iter().any(|endpoint| endpoint.max_in_flight.is_some());
        Self {
            name: Arc::clone(&cluster.name),
            timeouts: settings.timeouts.clone(),
            proxy_protocol: settings.proxy_protocol,
            endpoints,
            state: Arc::clone(&cluster.state),
            balancers: Arc::clone(&cluster.balancers),
            hash_on: match balance.algorithm {
                Algorithm::IpHash => Some(HashOn::ClientIp),
                Algorithm::ConsistentHash => Some(balance.hash_on.clone()),
                _ => None,
            },
            sticky: cluster.sticky.clone(),
            slow_start_ns: nanos(balance.slow_start.unwrap_or_default()),
            observes_latency: balance.algorithm == Algorithm::PeakEwma,
            retry: settings.retry.clone(),
            passive: settings.passive.clone(),
            max_in_flight: settings.max_in_flight,
            is_limited: settings.max_in_flight.is_some() || limited_endpoint,
            queue: settings.queue,
            limits: limits(&cluster.limits),
            series: metrics.cluster_series(&cluster.name, ShedReason::LABELS),
            keys: RandomState::new(),
            drawn: Cell::new(0),
            unpaid: Cell::new(0),
        }
    }

    /// Whether there are endpoints, and none of them takes WebSockets.
    pub(super) fn speaks_http2_only(&self) -> bool {
        !self.endpoints.is_empty() && self.endpoints.iter().all(|endpoint| endpoint.http2)
    }

    /// 64 random bits, from the keys that the standard library seeds its tables with.
    pub(super) fn draw(&self) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(self.drawn.replace(self.drawn.get().wrapping_add(1)));
        hasher.finish()
    }

    /// Lets an exchange that begins here pay for the retries of others.
    pub(super) fn pay_in(&self) {
        let unpaid = self.unpaid.get() + 1;
        self.unpaid.set(unpaid);
        if unpaid >= PAID_AT_ONCE {
            self.settle_budget();
        }
    }

    fn settle_budget(&self) {
        self.state.retry_budget.deposit(self.unpaid.take(), self.retry.budget);
    }

    /// Pays for a retry, if the budget has enough.
    pub(super) fn pay_for_retry(&self) -> bool {
        self.settle_budget();
        self.state.retry_budget.withdraw(self.retry.budget)
    }
}

impl EndpointView {
    fn known_pool(&self) -> KnownPool {
        let (state, tls, pool) = (Arc::clone(&self.state), self.tls.clone(), Rc::clone(&self.pool));
        KnownPool { state, tls, pool }
    }

    /// Tells the log why a handshake failed, now and then: every request may bring the same news.
    pub(super) fn complain(&self, now: Instant, failure: &HandshakeFailure) {
        if self.complained.get().is_some_and(|last| now < last + COMPLAINT_INTERVAL) {
            return;
        }
        self.complained.set(Some(now));
        tracing::warn!(
            cluster = &*self.state.cluster,
            endpoint = &*self.state.label,
            reason = failure.fault.label(),
            %failure,
            "the TLS handshake with an endpoint failed"
        );
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
