//! Active health checks: endpoints are asked whether they are well, whether or not anybody else
//! asks them for something.
//!
//! Each endpoint has a task of its own ([`watch`]), which outlives reloads that leave the endpoint
//! and its check as they are. What it finds becomes one bit of the endpoint's availability, which
//! every worker sees with its next pick.

mod check;
mod crossing;
mod http1;
mod http2;
mod plan;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(super) use self::crossing::{export, import};
use self::plan::Plan;
use crate::policy::health::{Health, Initial, first_wait};
use crate::proxy::shared::{EndpointState, Shared};
use crate::proxy::snapshot::Snapshot;
use crate::runtime::clock::Clock;

/// How long a start or a reload waits for endpoints that are not believed to be up unchecked.
const FIRST_RESULTS: Duration = Duration::from_secs(2);
const FIRST_RESULTS_TICK: Duration = Duration::from_millis(1);

/// Checks under way at one time, of endpoints that are up, and as many of others: endpoints that
/// do not answer keep a place for as long as their timeout, and must not keep it from the rest.
const UNDER_WAY_MAX: usize = 256;

/// Where checks wait for their place.
pub(super) struct Lanes {
    up: Semaphore,
    down: Semaphore,
    /// Endpoints that are checked fast.
    in_doubt: AtomicUsize,
}

impl Lanes {
    fn in_doubt(&self) -> usize {
        self.in_doubt.load(Ordering::Relaxed)
    }

    fn of(&self, is_up: bool) -> &Semaphore {
        if is_up { &self.up } else { &self.down }
    }
}

/// The checks that are in force.
pub(super) struct HealthChecks {
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
    /// By the address of the endpoint's state, which is there as long as its watch.
    watches: HashMap<usize, Watch>,
    /// Takes back endpoints that were left alone for a time.
    _returns: Task,
}

struct Watch {
    plan: Arc<Plan>,
    _task: Task,
}

/// A task that ends with this.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HealthChecks {
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let lanes = Lanes {
            up: Semaphore::new(UNDER_WAY_MAX),
            down: Semaphore::new(UNDER_WAY_MAX),
            in_doubt: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::clone(shared),
            lanes: Arc::new(lanes),
            watches: HashMap::new(),
            _returns: Task(tokio::spawn(watch::returns(Arc::clone(shared)))),
        }
    }

    /// Checks the endpoints of this snapshot, which is in force or about to be, and no others.
    pub(super) fn apply(&mut self, snapshot: &Snapshot) {
        let mut before = std::mem::take(&mut self.watches);
        let mut new = Vec::new();
        let mut unchecked = HashSet::new();
        for endpoint in snapshot.endpoints_in_full() {
            let key = Arc::as_ptr(endpoint.state) as usize;
            let Some(plan) = Plan::of(&endpoint) else {
                unchecked.insert(key);
                continue;
            };
            // Several models of one server are several endpoints with one state.
            if self.watches.contains_key(&key) || new.iter().any(|(known, _)| *known == key) {
                continue;
            }
            match before.remove(&key) {
                Some(watch) if *watch.plan == plan => drop(self.watches.insert(key, watch)),
                _ => new.push((key, plan)),
            }
        }
        drop(before);
        self.begin(new);
        forget(snapshot, &unchecked);
    }

    fn begin(&mut self, new: Vec<(usize, Plan)>) {
        let count = new.len();
        for (key, plan) in new {
            let plan = Arc::new(plan);
            let (lanes, shared) = (Arc::clone(&self.lanes), Arc::clone(&self.shared));
            let first = first_wait(plan.seed(), count, &plan.pace);
            let watch = watch::watch(Arc::clone(&plan), lanes, shared, first);
            let task = Task(tokio::spawn(watch));
            self.watches.insert(key, Watch { plan, _task: task });
        }
    }

    /// Waits, for a time, until endpoints have been checked of which nothing is believed before.
    pub(super) async fn first_results(&self) {
        let waits = |watch: &Watch| {
            let is_checked = watch.plan.state.health().is_some_and(|health| health.is_checked);
            watch.plan.pace.initial == Initial::Checked && !is_checked
        };
        let all_there = async {
            while self.watches.values().any(waits) {
                tokio::time::sleep(FIRST_RESULTS_TICK).await;
            }
        };
        // What is not there by then comes later.
        drop(tokio::time::timeout(FIRST_RESULTS, all_there).await);
    }
}

/// Endpoints that are not checked any more are what they are without.
fn forget(snapshot: &Snapshot, unchecked: &HashSet<usize>) {
    let now = Clock::start().now();
    let is_unchecked = |state: &&Arc<EndpointState>| {
        unchecked.contains(&(Arc::as_ptr(state) as usize)) && state.health().is_some()
    };
    let states = snapshot.endpoints().map(|(state, _)| state);
    for state in states.filter(is_unchecked) {
        state.set_health(None::<Health>, now);
    }
}
