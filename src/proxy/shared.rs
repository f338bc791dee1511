//! What all workers share and what outlives a snapshot: found by name, changed by atomics.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;

use super::alarm::Alarm;
use super::availability::Availability;
use super::failure::{FailureLog, SeenFailure};
use super::limits;
use super::limits::state::LimitState;
use super::queue::Queue;
use super::settings::{Address, Limit};
use super::snapshot::Snapshot;
use crate::net::socket::Peer;
use crate::net::tls::{ClientTls, TicketKeys, UpstreamTls};
use crate::policy::balance::FULL;
use crate::policy::balance::ewma::PeakEwma;
use crate::policy::circuit::{Phase, Reason};
use crate::policy::failure_rate::FailureRate;
use crate::policy::health::{Health, Outcome};
use crate::policy::retry_budget::RetryBudget;
use crate::policy::slow_start::ramp;
use crate::runtime::clock::{Clock, Instant};
use crate::telemetry::SharedCounter;

/// The instance: one for all workers of a process.
pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// The snapshot's version, where a worker can look without touching a shared count.
    version: AtomicU64,
    states: States,
    /// Bytes of request bodies held at this moment.
    buffered: AtomicU64,
    /// Connections by worker: who has fewest gets the next.
    loads: Box<[AtomicUsize]>,
    /// Which workers accept connections.
    accepting: Box<[AtomicBool]>,
    draining: AtomicBool,
    alarm: Alarm,
    /// Requests of this process are told apart from those of others by this.
    nonce: u64,
}

/// What snapshots are compiled with and what outlives them.
pub(super) struct States {
    endpoints: Mutex<HashMap<EndpointKey, Arc<EndpointState>>>,
    clusters: Mutex<HashMap<String, Arc<ClusterState>>>,
    limits: Mutex<HashMap<String, Arc<LimitState>>>,
    /// Those that a snapshot holds. They remember sessions, and pooled connections are theirs.
    clients_tls: Mutex<Vec<(UpstreamTls, Weak<ClientTls>)>>,
    ticket_keys: Arc<TicketKeys>,
}

impl Default for States {
    fn default() -> Self {
        Self {
            endpoints: Mutex::default(),
            clusters: Mutex::default(),
            limits: Mutex::default(),
            clients_tls: Mutex::default(),
            ticket_keys: TicketKeys::generate(),
        }
    }
}

/// One cluster as every worker sees it.
pub struct ClusterState {
    pub name: Arc<str>,
    /// Which turn of round robin is next.
    pub(super) turn: AtomicU64,
    /// Exchanges in flight, counted where the cluster has a limit.
    pub(super) in_flight: AtomicU32,
    pub(super) queue: Queue,
    pub(super) retry_budget: RetryBudget,
    /// Held by who is about to leave an endpoint alone that must not be the last.
    ejecting: Mutex<()>,
}

impl ClusterState {
    fn new(name: &str) -> Self {
        Self {
            name: Arc::from(name),
            turn: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            queue: Queue::new(Clock::start()),
            retry_budget: RetryBudget::default(),
            ejecting: Mutex::default(),
        }
    }

    pub(super) fn ejecting(&self) -> MutexGuard<'_, ()> {
        lock(&self.ejecting)
    }

    /// Lets all who wait look again: an endpoint has come or gone. Costs a load when nobody waits.
    pub fn call_waiting(&self) {
        self.queue.call_all();
    }

    /// Exchanges that wait for room.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Exchanges in flight; 0 where the cluster has no limit.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Retries that could be made at this moment.
    pub fn retries_available(&self) -> u64 {
        self.retry_budget.available()
    }
}

/// An endpoint keeps its state for as long as its cluster and address stay the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EndpointKey {
    cluster: String,
    address: Address,
    /// Which address of a name.
    at: Option<SocketAddr>,
}

/// One endpoint as every worker and the control thread see it.
#[derive(Debug)]
// On cache lines of its own: traffic of other endpoints must not slow its counting.
#[repr(align(128))]
pub struct EndpointState {
    pub cluster: Arc<str>,
    /// As the operator wrote it; for one address of a name `NAME/IP:PORT`.
    pub label: Arc<str>,
    /// As the operator wrote it.
    pub address: Address,
    /// Exchanges begun and not settled.
    pub in_flight: AtomicU32,
    /// Whether it takes requests, as far as its operator, its checks and its answers say.
    pub availability: Availability,
    /// What came of its recent attempts, where the cluster looks at shares.
    pub(super) failures: FailureRate,
    pub events: Events,
    /// What its checks say; `None` while nobody checks it.
    health: Mutex<Option<Health>>,
    /// Recent time to first byte, where the balancing asks for it.
    pub(super) latency: PeakEwma,
    /// When it came, in nanoseconds of the process's clocks; 0 if it has its whole share.
    came_ns: AtomicU64,
    /// Which address of a name it is.
    pub(super) at: Option<SocketAddr>,
    /// Where to connect; `None` stands for a name that has not been resolved.
    peer: Option<Peer>,
    /// What went wrong lately.
    pub(super) failure_log: FailureLog,
}

impl EndpointKey {
    fn peer(&self) -> Option<Peer> {
        match &self.address {
            Address::Unix(path) => Some(Peer::Unix(path.clone())),
            Address::Abstract(name) => Some(Peer::Abstract(name.clone())),
            Address::Tcp { host, port } => {
                let written = || host.parse().ok().map(|ip| SocketAddr::new(ip, *port));
                self.at.or_else(written).map(Peer::Tcp)
            }
            Address::Service(_) => self.at.map(Peer::Tcp),
        }
    }
}

impl EndpointState {
    fn new(key: &EndpointKey) -> Self {
        Self {
            cluster: Arc::from(key.cluster.as_str()),
            label: Arc::from(key.address.label(key.at)),
            address: key.address.clone(),
            in_flight: AtomicU32::new(0),
            availability: Availability::default(),
            failures: FailureRate::default(),
            events: Events::default(),
            health: Mutex::default(),
            latency: PeakEwma::default(),
            came_ns: AtomicU64::new(0),
            at: key.at,
            peer: key.peer(),
            failure_log: FailureLog::default(),
        }
    }

    /// What went wrong lately, the last first.
    pub fn last_failures(&self) -> Vec<SeenFailure> {
        self.failure_log.latest_first()
    }

    /// Where to connect, if that is known.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// What its checks said last.
    pub fn health(&self) -> Option<Health> {
        *lock(&self.health)
    }

    /// Puts in force what its checks say; `None` if there are none. Whether that changes what is
    /// thought of it.
    pub fn set_health(&self, health: Option<Health>, now: Instant) -> bool {
        *lock(&self.health) = health;
        let is_up = health.is_none_or(|health| health.is_up);
        let is_news = self.availability.set_checked(is_up);
        if is_news && is_up {
            self.come(now);
        }
        is_news
    }

    /// Until when it is left alone because it has failed, in milliseconds of the process's clocks.
    pub fn left_alone_until_ms(&self) -> Option<u64> {
        match self.availability.circuit().phase {
            Phase::Open { until_ms } => Some(until_ms),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// Whether it is left alone at `now`.
    pub fn is_left_alone(&self, now: Instant) -> bool {
        self.left_alone_until_ms().is_some_and(|until_ms| now.as_millis() < until_ms)
    }

    /// Begins its slow start.
    pub(super) fn come(&self, now: Instant) {
        self.came_ns.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    /// How much of its weight counts at `now`, of [`FULL`], with a slow start of `window_ns`.
    pub(super) fn ramp(&self, now: Instant, window_ns: u64) -> u32 {
        match self.came_ns.load(Ordering::Relaxed) {
            0 => FULL,
            came => ramp(now.as_nanos().saturating_sub(came), window_ns),
        }
    }
}

/// What has happened to an endpoint, counted.
#[derive(Debug, Default)]
pub struct Events {
    opened: [SharedCounter; Reason::LABELS.len()],
    checks: [SharedCounter; Outcome::LABELS.len()],
}

impl Events {
    pub(super) fn opened(&self, reason: Reason) {
        self.opened[reason.index()].inc();
    }

    pub fn checked(&self, outcome: Outcome) {
        self.checks[outcome.index()].inc();
    }

    /// How often it was left alone, by reason.
    pub fn openings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Reason::LABELS.into_iter().zip(self.opened.iter().map(SharedCounter::get))
    }

    /// How its checks ended.
    pub fn checks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::LABELS.into_iter().zip(self.checks.iter().map(SharedCounter::get))
    }
}

impl Shared {
    /// `first` makes the first snapshot, with the endpoint states it asks for.
    pub fn new(workers: usize, nonce: u64, first: impl FnOnce(&Registry<'_>) -> Snapshot) -> Self {
        let states = States::default();
        let snapshot = first(&Registry(&states));
        Self {
            version: AtomicU64::new(snapshot.version),
            snapshot: ArcSwap::from_pointee(snapshot),
            states,
            buffered: AtomicU64::new(0),
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            accepting: (0..workers).map(|_| AtomicBool::new(false)).collect(),
            draining: AtomicBool::new(false),
            alarm: Alarm::default(),
            nonce,
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Which configuration is in force.
    pub fn generation(&self) -> u64 {
        self.snapshot.load().generation
    }

    /// Which snapshot is in force.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes the next snapshot with the endpoint states that there are. Nobody sees it yet.
    pub fn prepare(&self, next: impl FnOnce(&Registry<'_>) -> Snapshot) -> Snapshot {
        next(&Registry(&self.states))
    }

    /// Puts a snapshot in force: every exchange that begins from now on sees it.
    pub fn publish(&self, mut snapshot: Snapshot) {
        let version = self.version() + 1;
        snapshot.version = version;
        let now = Clock::start().now().as_nanos();
        self.limits().iter().for_each(|limit| limit.succeed(now));
        self.snapshot.store(Arc::new(snapshot));
        self.version.store(version, Ordering::Release);
        self.states.forget_unused();
        // There may be endpoints that the old one would have let wait longer.
        self.alarm.ring();
    }

    /// The state of every limit.
    pub fn limits(&self) -> Vec<Arc<LimitState>> {
        lock(&self.states.limits).values().map(Arc::clone).collect()
    }

    /// What limits know, for a process that takes over.
    pub fn export_limits(&self) -> String {
        let now = Clock::start().now().as_nanos();
        limits::handover::write(lock(&self.states.limits).iter(), now)
    }

    /// Takes over what another process knew of limits. To be called before a request is admitted.
    pub fn import_limits(&self, text: &str) {
        let now = Clock::start().now().as_nanos();
        let limits = lock(&self.states.limits);
        limits::handover::read(text, now, |name| limits.get(name).map(Arc::clone));
    }

    /// What session tickets are sealed with, in this process and the next.
    pub fn ticket_keys(&self) -> &Arc<TicketKeys> {
        &self.states.ticket_keys
    }

    /// Takes `bytes` from what all held bodies together may have, which is `limit`.
    pub fn hold(self: &Arc<Self>, bytes: u64, limit: u64) -> Option<Hold> {
        let mut held = self.buffered.load(Ordering::Relaxed);
        loop {
            let wanted = held.checked_add(bytes).filter(|wanted| *wanted <= limit)?;
            let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.buffered.compare_exchange_weak(held, wanted, set, fetch) {
                Ok(_) => return Some(Hold { bytes, shared: Arc::clone(self) }),
                Err(now) => held = now,
            }
        }
    }

    /// Bytes of request bodies held at this moment.
    pub fn buffered(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }

    pub(crate) fn load_of(&self, worker: usize) -> &AtomicUsize {
        &self.loads[worker]
    }

    /// The worker with the fewest connections, and how many those are.
    pub(crate) fn least_loaded(&self) -> (usize, usize) {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        loads.enumerate().min_by_key(|(_, load)| *load).unwrap_or((0, 0))
    }

    pub fn workers(&self) -> usize {
        self.loads.len()
    }

    /// Connections of all workers.
    pub fn connections(&self) -> usize {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).sum()
    }

    /// How many workers accept connections.
    pub fn accepting(&self) -> usize {
        self.accepting.iter().filter(|accepts| accepts.load(Ordering::Relaxed)).count()
    }

    /// Whether this worker accepts connections, or has yet to serve those that are queued.
    pub fn accepts(&self, worker: usize) -> bool {
        self.accepting[worker].load(Ordering::Relaxed)
    }

    pub(crate) fn set_accepting(&self, worker: usize, accepts: bool) {
        self.accepting[worker].store(accepts, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Rings when an endpoint has been left alone, or may have to be taken back.
    pub fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn nonce(&self) -> u64 {
        self.nonce
    }
}

/// Finds or makes what outlives a snapshot while one is built.
pub struct Registry<'a>(&'a States);

impl Registry<'_> {
    #[cfg(test)]
    pub(super) fn for_tests(states: &States) -> Registry<'_> {
        Registry(states)
    }

    /// The state of a cluster, and whether there was one before.
    pub(super) fn cluster(&self, name: &str) -> (Arc<ClusterState>, bool) {
        let mut clusters = lock(&self.0.clusters);
        if let Some(known) = clusters.get(name) {
            return (Arc::clone(known), true);
        }
        let state = Arc::new(ClusterState::new(name));
        clusters.insert(name.to_owned(), Arc::clone(&state));
        (state, false)
    }

    /// The state of an endpoint, or of one address of it. `joins`: its cluster has been there
    /// before, so that it starts slowly if it is new.
    pub(super) fn endpoint(
        &self,
        cluster: &str,
        address: &Address,
        at: Option<SocketAddr>,
        joins: bool,
    ) -> Arc<EndpointState> {
        let key = EndpointKey { cluster: cluster.to_owned(), address: address.clone(), at };
        let mut endpoints = lock(&self.0.endpoints);
        let state = endpoints.entry(key).or_insert_with_key(|key| {
            let state = EndpointState::new(key);
            if joins {
                state.come(Clock::start().now());
            }
            Arc::new(state)
        });
        Arc::clone(state)
    }

    /// The state of a limit with these settings. `new` makes it, from the one that had the name
    /// with others if there was one.
    pub(super) fn limit(
        &self,
        name: &str,
        settings: &Limit,
        new: impl FnOnce(Option<&Arc<LimitState>>) -> LimitState,
    ) -> Arc<LimitState> {
        let mut limits = lock(&self.0.limits);
        let known = limits.get(name);
        if let Some(same) = known.filter(|known| known.has(settings)) {
            return Arc::clone(same);
        }
        let state = Arc::new(new(known));
        limits.insert(name.to_owned(), Arc::clone(&state));
        state
    }

    pub(super) fn ticket_keys(&self) -> &Arc<TicketKeys> {
        &self.0.ticket_keys
    }

    /// The same for the same rules, for as long as a snapshot holds it.
    pub(super) fn client_tls(&self, rules: &UpstreamTls) -> Arc<ClientTls> {
        let mut clients = lock(&self.0.clients_tls);
        clients.retain(|(_, client)| client.strong_count() > 0);
        let known = clients.iter().find(|(known, _)| known == rules);
        known.and_then(|(_, client)| client.upgrade()).unwrap_or_else(|| {
            let client = Arc::new(ClientTls::new(rules));
            clients.push((rules.clone(), Arc::downgrade(&client)));
            client
        })
    }
}

impl States {
    /// Forgets what neither a snapshot nor an exchange holds any more.
    fn forget_unused(&self) {
        lock(&self.endpoints).retain(|_, state| Arc::strong_count(state) > 1);
        lock(&self.clusters).retain(|_, state| Arc::strong_count(state) > 1);
        lock(&self.limits).retain(|_, state| Arc::strong_count(state) > 1);
    }
}

/// What these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes taken from the instance's allowance for held bodies; given back on drop.
pub struct Hold {
    bytes: u64,
    shared: Arc<Shared>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.buffered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Service(name) => write!(f, "srv:{name}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxy::snapshot::Snapshot;

    fn shared() -> Arc<Shared> {
        Arc::new(Shared::new(2, 0, |_| Snapshot::empty()))
    }

    #[test]
    fn held_bytes_never_exceed_the_limit_and_come_back() {
        let shared = shared();
        let first = shared.hold(60, 100).expect("60 of 100 are free");
        assert!(shared.hold(41, 100).is_none());
        assert!(shared.hold(u64::MAX, 100).is_none());
        let second = shared.hold(40, 100).expect("40 of 100 are free");
        assert_eq!(shared.buffered(), 100);
        drop((first, second));
        assert_eq!(shared.buffered(), 0);
    }

    #[test]
    fn an_endpoint_keeps_its_state_across_snapshots_and_is_forgotten_when_unused() {
        let shared = shared();
        let address = Address::Tcp { host: "10.0.0.1".into(), port: 80 };
        let before = Registry(&shared.states).endpoint("docs", &address, None, false);
        shared.publish(Snapshot::empty());
        let after = Registry(&shared.states).endpoint("docs", &address, None, false);
        assert!(Arc::ptr_eq(&before, &after));
        drop((before, after));
        shared.publish(Snapshot::empty());
        assert!(lock(&shared.states.endpoints).is_empty());
    }

    #[test]
    fn only_an_endpoint_that_joins_a_cluster_starts_slowly() {
        const WINDOW_NS: u64 = 30_000_000_000;
        let shared = shared();
        let address = |port| Address::Tcp { host: "10.0.0.1".into(), port };
        let registry = Registry(&shared.states);
        let first = registry.endpoint("docs", &address(1), None, false);
        let joined = registry.endpoint("docs", &address(2), None, true);
        let now = Clock::start().now();
        assert_eq!(first.ramp(now, WINDOW_NS), FULL);
        assert!(joined.ramp(now, WINDOW_NS) < FULL / 10);
        assert_eq!(joined.ramp(now + Duration::from_secs(31), WINDOW_NS), FULL);
        let again = registry.endpoint("docs", &address(1), None, true);
        assert_eq!(again.ramp(now, WINDOW_NS), FULL);
    }

    #[test]
    fn each_address_of_a_name_is_an_endpoint_of_its_own() {
        let shared = shared();
        let registry = Registry(&shared.states);
        let name = Address::Tcp { host: "a.example".into(), port: 80 };
        let endpoint = |at| registry.endpoint("docs", &name, at, false);
        let at = |text: &str| Some(text.parse().unwrap());

        let unresolved = endpoint(None);
        assert_eq!((unresolved.peer(), &*unresolved.label), (None, "a.example:80"));
        let first = endpoint(at("10.0.0.1:80"));
        assert_eq!(&*first.label, "a.example/10.0.0.1:80");
        assert_eq!(first.peer(), at("10.0.0.1:80").map(Peer::Tcp).as_ref());
        assert!(!Arc::ptr_eq(&first, &endpoint(at("[::1]:80"))));
        assert!(Arc::ptr_eq(&first, &endpoint(at("10.0.0.1:80"))));
    }
}
