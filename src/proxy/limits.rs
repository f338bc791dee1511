//! Limits on requests, asked in one order, and what an exchange has taken of them.
//!
//! ```text
//! admit      total, listener, route, client_ip          before a byte of the body is awaited
//! attempts   service, model or cluster                  when it is known what is asked for
//! attempt    endpoint                                   each try, also a retry
//! ```
//!
//! In each row all limits are asked before any is taken from: a request that the last one rejects
//! uses nothing of the first, not even for a moment. A request that a later row rejects gives back
//! what it took in the rows above, so only those count that were let through. Sliding windows and
//! warm-ups cannot give back: there a request counts once it got past their row.

mod asking;
pub(super) mod fields;
pub(super) mod handover;
mod sets;
pub mod state;

use std::rc::Rc;
use std::sync::Arc;

pub use self::asking::Scope;
pub(super) use self::asking::{Asking, OverLimit};
pub(super) use self::sets::{Finder, Sets};
use self::state::{LimitState, Taken};
use super::exchange::Exchange;
use super::view::{ClusterView, EndpointView};
use crate::ai::service::Service;
use crate::policy::limit::Level;
use crate::telemetry::worker::{LimitSeries, WorkerMetrics};

/// A limit as a worker uses it.
pub(super) struct LimitView {
    state: Arc<LimitState>,
    series: Arc<LimitSeries>,
}

pub(super) type LimitSet = Box<[Rc<LimitView>]>;

impl LimitView {
    pub(super) fn new(state: &Arc<LimitState>, metrics: &WorkerMetrics) -> Rc<Self> {
        let series = metrics.limit_series(state.scope.label(), &state.name, state.algorithm());
        Rc::new(Self { state: Arc::clone(state), series })
    }

    fn reject(&self, over: OverLimit) -> OverLimit {
        self.series.rejected.inc();
        over
    }
}

impl Sets<Arc<LimitState>> {
    pub(super) fn view(&self, metrics: &WorkerMetrics) -> Sets<Rc<LimitView>> {
        self.map(|state| LimitView::new(state, metrics))
    }
}

/// What an exchange has of limits, until it ends.
#[derive(Default)]
pub(super) struct Held {
    taken: Vec<(Rc<LimitView>, Taken)>,
    /// Of the rate that it used most of, for the client to know.
    pub(super) level: Option<Level>,
}

impl Held {
    /// Takes what the request needs of every limit in turn, or of none.
    fn admit<'l>(
        &mut self,
        limits: impl DoubleEndedIterator<Item = &'l Rc<LimitView>> + Clone,
        asking: &Asking,
    ) -> Result<(), OverLimit> {
        // The last one decides for itself when it is taken from, before all others.
        let mut others = limits.clone();
        others.next_back();
        for limit in others {
            limit.state.check(asking).map_err(|over| limit.reject(over))?;
        }
        let before = self.taken.len();
        for limit in limits.rev() {
            match limit.state.take(asking) {
                Ok(taken) => self.taken.push((Rc::clone(limit), taken)),
                Err(over) => {
                    // Another worker was faster.
                    self.give_back_from(before);
                    return Err(limit.reject(over));
                }
            }
        }
        self.taken[before..].iter().for_each(|(limit, _)| limit.series.admitted.inc());
        Ok(())
    }

    fn give_back_from(&mut self, first: usize) {
        self.taken.drain(first..).for_each(|(limit, taken)| limit.state.give_back(taken));
    }

    /// Notes what is left of that rate of which least is left.
    fn note_level(&mut self, asking: &Asking) {
        let levels = self.taken.iter().filter_map(|(limit, _)| limit.state.level(asking));
        self.level = levels.min_by_key(|level| level.remaining);
    }

    /// The exchange was let through so far, and is not any more.
    pub(super) fn give_back(&mut self) {
        self.give_back_from(0);
        self.level = None;
    }

    /// The exchange has ended.
    pub(super) fn release(&mut self) {
        self.taken.drain(..).for_each(|(limit, taken)| limit.state.release(taken));
        self.level = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

impl Exchange<'_> {
    /// Asks the limits that can be known from the head.
    pub(super) fn admit_by_limits(&mut self, route: usize) -> Result<(), OverLimit> {
        let Some(limits) = &self.view.limits else { return Ok(()) };
        let asking = self.asking(None);
        let of_listener = limits.listeners.get(self.listener_index()).into_iter().flatten();
        let of_route = limits.routes.get(route).into_iter().flatten();
        let all = limits.total.iter().chain(of_listener).chain(of_route).chain(&limits.client_ip);
        self.scratch.held.admit(all, &asking)?;
        self.note_level(&asking);
        Ok(())
    }

    /// Asks the limits of what the request is for.
    pub(super) fn admit_to(
        &mut self,
        cluster: &ClusterView,
        service: Option<Service>,
    ) -> Result<(), OverLimit> {
        let of_service = match (&self.view.limits, service) {
            (Some(limits), Some(service)) => &*limits.services[service.index()],
            _ => &[],
        };
        if of_service.is_empty() && cluster.limits.is_empty() {
            return Ok(());
        }
        let asking = self.asking(service);
        self.scratch.held.admit(of_service.iter().chain(&cluster.limits), &asking)?;
        self.note_level(&asking);
        Ok(())
    }

    fn note_level(&mut self, asking: &Asking) {
        if self.view.snapshot.settings.limits.headers {
            self.scratch.held.note_level(asking);
        }
    }

    fn asking(&self, service: Option<Service>) -> Asking {
        let now = self.downstream.worker.core.now().as_nanos();
        Asking { now, client: self.client.address.ip(), service, cost: 1 }
    }
}

impl EndpointView {
    /// Whether its limits would let an attempt through.
    pub(super) fn check_limits(&self, now: u64) -> Result<(), OverLimit> {
        let asking = Asking::of_anybody(now);
        self.limits.iter().try_for_each(|limit| limit.state.check(&asking))
    }

    /// Takes of its limits what an attempt needs, or nothing.
    pub(super) fn take_limits(&self, now: u64) -> bool {
        let asking = Asking::of_anybody(now);
        for (index, limit) in self.limits.iter().enumerate() {
            if limit.state.take(&asking).is_err() {
                self.limits[..index].iter().for_each(|limit| limit.give_back_one());
                return false;
            }
        }
        self.limits.iter().for_each(|limit| limit.series.admitted.inc());
        true
    }

    /// Counts that an attempt was not let through.
    pub(super) fn count_rejected(&self, now: u64) {
        let asking = Asking::of_anybody(now);
        let mut limits = self.limits.iter();
        if let Some(limit) = limits.find(|limit| limit.state.check(&asking).is_err()) {
            limit.series.rejected.inc();
        }
    }

    /// The attempt was not made.
    pub(super) fn give_back_limits(&self) {
        self.limits.iter().for_each(|limit| limit.give_back_one());
    }
}

impl LimitView {
    /// What one attempt has of a limit that is one for all.
    fn give_back_one(&self) {
        self.state.give_back(Taken::Credits { place: 0, cost: 1 });
    }
}
