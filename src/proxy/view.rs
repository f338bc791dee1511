//! One worker's side of a snapshot: the rules, with the worker's own pools, turns and series.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::pool::Pool;
use super::settings::{self, EndpointTls, Provider};
use super::shared::EndpointState;
use super::snapshot::{Cluster, Snapshot};
use super::worker::ListenerState;
use crate::http::proxy_protocol::Version;
use crate::net::tls::{ClientTls, HandshakeFailure, ServerTls};
use crate::policy::balance::RoundRobin;
use crate::runtime::clock::Instant;
use crate::telemetry::record::Outcome;
use crate::telemetry::worker::{
    AiSeries, RequestKey, RequestSeries, UpstreamSeries, WorkerMetrics,
};

/// Held by every exchange from its first to its last byte.
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
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
    balance: RefCell<RoundRobin>,
}

pub(super) struct EndpointView {
    pub(super) state: Arc<EndpointState>,
    pub(super) pool: Rc<Pool>,
    pub(super) series: Arc<UpstreamSeries>,
    pub(super) provider: Option<Provider>,
    /// How its connections are made private, if they are.
    pub(super) tls: Option<(Arc<ClientTls>, EndpointTls)>,
    pub(super) http2: bool,
    weight: u32,
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
            .map(|known| Rc::clone(&known.pool))
            .unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Pool>> {
        self.pools.iter().map(|known| &known.pool)
    }
}

impl View {
    /// The view of a new snapshot; pools of endpoints that are gone close their connections.
    pub(super) fn new(snapshot: Arc<Snapshot>, pools: &mut Pools, metrics: &WorkerMetrics) -> Self {
        let cluster = |c: &Cluster| Rc::new(ClusterView::new(c, pools, metrics));
        let clusters: Vec<_> = snapshot.clusters.iter().map(cluster).collect();
        let ops = cluster(&snapshot.ops);
        let models = snapshot.model_names.iter().map(|name| metrics.ai_series(name)).collect();
        let routes = snapshot.route_labels.len();
        let in_use = clusters.iter().chain([&ops]).flat_map(|cluster| &cluster.endpoints);
        pools.pools = in_use.map(EndpointView::known_pool).collect();
        Self {
            clusters,
            ops,
            models,
            series: (0..=routes).map(|_| RefCell::default()).collect(),
            snapshot,
        }
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

    /// Whether an exchange that ended so is written to the access log.
    pub(super) fn logs(
        &self,
        route: Option<usize>,
        outcome: Outcome,
        status: u16,
        number: u64,
    ) -> bool {
        let Some(log) = &self.snapshot.settings.access_log else { return false };
        if route.is_some_and(|route| !self.snapshot.routes.get(route).access_log) {
            return false;
        }
        // Every so many of the successful ones, by their number: a share without dice.
        let due = |n: u64| (n as f64 * log.sample) as u64;
        !outcome.is_success()
            || status >= 400
            || log.sample >= 1.0
            || due(number) != due(number + 1)
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

impl ClusterView {
    fn new(cluster: &Cluster, pools: &Pools, metrics: &WorkerMetrics) -> Self {
        let pairs = cluster.endpoints.iter().zip(&cluster.settings.endpoints);
        let endpoints: Vec<_> = pairs
            .zip(&cluster.endpoints_tls)
            .map(|((state, settings), tls)| {
                (state, settings, tls.clone().zip(settings.tls.clone()))
            })
            .map(|(state, settings, tls)| EndpointView {
                pool: pools.find(state, tls.as_ref()),
                tls,
                series: metrics.upstream_series(&cluster.name, &state.label),
                provider: settings.provider.clone(),
                http2: settings.http2,
                weight: settings.weight,
                complained: Cell::new(None),
                state: Arc::clone(state),
            })
            .collect();
        let mut balance = RoundRobin::new(endpoints.len());
        // Workers that all began with the first endpoint would meet there after every reload.
        for _ in 0..metrics.index {
            balance.next(|index| endpoints[index].weight, |_| true);
        }
        Self {
            name: Arc::clone(&cluster.name),
            timeouts: cluster.settings.timeouts.clone(),
            proxy_protocol: cluster.settings.proxy_protocol,
            balance: RefCell::new(balance),
            endpoints,
        }
    }

    /// The next endpoint that has an address and has not been tried.
    pub(super) fn pick(
        &self,
        tried: &[usize],
        fits: impl Fn(&EndpointView) -> bool,
    ) -> Option<usize> {
        self.balance.borrow_mut().next(
            |index| self.endpoints[index].weight,
            |index| {
                let endpoint = &self.endpoints[index];
                !tried.contains(&index) && endpoint.state.has_peers() && fits(endpoint)
            },
        )
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

    /// Counts an exchange as in flight on this endpoint until the permit is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.state.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.state))
    }
}

/// One exchange in flight on an endpoint.
pub(super) struct InFlight(Arc<EndpointState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
