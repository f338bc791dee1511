//! One limit as all workers share it; it outlives snapshots.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::asking::{Asking, OverLimit, Scope};
use super::handover::State;
use crate::ai::service::Service;
use crate::policy::limit::{Entry, KeyedBuckets, KeyedCounts, Level, Limiter, Rejected, Terms};
use crate::proxy::client_address::network;
use crate::proxy::settings::{Clients, Limit, LimitKind, Per};

/// What becomes of a permit is not known in advance; most requests take less than this.
const PERMIT_WAIT_NS: u64 = 1_000_000_000;

/// The state of one configured limit.
pub struct LimitState {
    pub scope: Scope,
    /// What it stands on, such as a route's label or a model's name; empty where there is but one.
    pub name: Arc<str>,
    pub(super) settings: Limit,
    buckets: Buckets,
    /// Whose place it takes when it comes into force.
    predecessor: Mutex<Option<Arc<Self>>>,
}

/// In lists there is one element, or one for each service.
enum Buckets {
    Rate(Box<[Limiter]>),
    RateByClient(KeyedBuckets),
    /// Shared with the limit that this one follows on: who was let in by that still counts.
    InFlight(Arc<[AtomicU32]>),
    InFlightByClient(Arc<KeyedCounts>),
}

/// What a request has of a limit.
#[derive(Debug, Clone, Copy)]
pub(in crate::proxy) enum Taken {
    Credits { place: usize, cost: u64 },
    CreditsOfClient { entry: Entry, cost: u64 },
    Permit { place: usize },
    PermitOfClient(Entry),
}

impl LimitState {
    /// `predecessor` had the same name and other settings.
    pub(in crate::proxy) fn new(
        scope: Scope,
        name: &str,
        settings: &Limit,
        predecessor: Option<&Arc<Self>>,
    ) -> Self {
        let shared = predecessor.filter(|before| before.settings.per == settings.per);
        Self {
            scope,
            name: Arc::from(name),
            settings: *settings,
            buckets: Buckets::new(settings, shared.map(|before| &before.buckets)),
            predecessor: Mutex::new(predecessor.cloned()),
        }
    }

    pub(in crate::proxy) fn has(&self, settings: &Limit) -> bool {
        self.settings == *settings
    }

    /// Goes on from where the one before it is. To be called when it comes into force.
    pub(in crate::proxy) fn succeed(&self, now: u64) {
        let mut predecessor = self.predecessor.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = predecessor.take() else { return };
        match (&before.buckets, &self.buckets) {
            (Buckets::Rate(old), Buckets::Rate(new)) if old.len() == new.len() => {
                old.iter().zip(new).for_each(|(old, new)| new.resume(&old.carry(now), now));
            }
            (Buckets::RateByClient(old), Buckets::RateByClient(new))
                if before.ipv6_prefix() == self.ipv6_prefix() =>
            {
                new.resume(old.carry(now), now);
            }
            // Counts are shared, and what else has changed its meaning begins anew.
            _ => {}
        }
    }

    /// What another process should know of it. Counts of what is in flight mean nothing there, and
    /// limits by service are few and left out.
    pub(super) fn carry(&self, now: u64) -> Option<State> {
        match &self.buckets {
            Buckets::Rate(limiters) => match &**limiters {
                [one] => Some(State::One(one.carry(now))),
                _ => None,
            },
            Buckets::RateByClient(buckets) => Some(State::ByClient(buckets.carry(now))),
            Buckets::InFlight(_) | Buckets::InFlightByClient(_) => None,
        }
    }

    /// Goes on from what another process knew.
    pub(super) fn resume(&self, state: &State, now: u64) {
        match (&self.buckets, state) {
            (Buckets::Rate(limiters), State::One(carried)) => {
                if let [one] = &**limiters {
                    one.resume(carried, now);
                }
            }
            (Buckets::RateByClient(buckets), State::ByClient(clients)) => {
                buckets.resume(clients.iter().copied(), now);
            }
            _ => {}
        }
    }

    fn ipv6_prefix(&self) -> Option<u8> {
        self.clients().map(|clients| clients.ipv6_prefix)
    }

    fn clients(&self) -> Option<Clients> {
        match self.settings.per {
            Per::Client(clients) => Some(clients),
            Per::Whole | Per::Service => None,
        }
    }

    fn place(&self, service: Option<Service>) -> usize {
        match self.settings.per {
            Per::Service => service.map_or(0, Service::index),
            Per::Whole | Per::Client(_) => 0,
        }
    }

    fn key(&self, client: IpAddr) -> u128 {
        network(client, self.ipv6_prefix().unwrap_or(128))
    }

    /// Whether [`Self::take`] would admit. Takes nothing.
    ///
    /// # Errors
    ///
    /// It would not.
    pub(in crate::proxy) fn check(&self, asking: &Asking) -> Result<(), OverLimit> {
        let Asking { now, client, service, cost } = *asking;
        let place = self.place(service);
        match &self.buckets {
            Buckets::Rate(limiters) => {
                let limiter = &limiters[place];
                limiter.check(cost, now).map_err(|why| self.spent(why, limiter.level(now)))
            }
            Buckets::RateByClient(buckets) => {
                let key = self.key(client);
                let checked = buckets.check(key, cost, now);
                checked.map_err(|why| self.spent(why, buckets.level(key, now)))
            }
            Buckets::InFlight(counts) => {
                let has_room = counts[place].load(Ordering::Relaxed) < self.most();
                has_room.then_some(()).ok_or_else(|| self.full())
            }
            Buckets::InFlightByClient(counts) => {
                let has_room = counts.has_room(self.key(client), self.most());
                has_room.then_some(()).ok_or_else(|| self.full())
            }
        }
    }

    /// Takes what a request needs, or nothing.
    ///
    /// # Errors
    ///
    /// There is not enough.
    pub(in crate::proxy) fn take(&self, asking: &Asking) -> Result<Taken, OverLimit> {
        let Asking { now, client, service, cost } = *asking;
        let place = self.place(service);
        match &self.buckets {
            Buckets::Rate(limiters) => {
                let limiter = &limiters[place];
                let taken = limiter.take(cost, now);
                taken.map_err(|why| self.spent(why, limiter.level(now)))?;
                Ok(Taken::Credits { place, cost })
            }
            Buckets::RateByClient(buckets) => {
                let key = self.key(client);
                let entry = buckets.take(key, cost, now);
                let entry = entry.map_err(|why| self.spent(why, buckets.level(key, now)))?;
                Ok(Taken::CreditsOfClient { entry, cost })
            }
            Buckets::InFlight(counts) => {
                let one_more = |count| (count < self.most()).then_some(count + 1);
                let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
                let taken = counts[place].fetch_update(set, fetch, one_more);
                taken.map(|_| Taken::Permit { place }).map_err(|_| self.full())
            }
            Buckets::InFlightByClient(counts) => {
                let entry = counts.take(self.key(client), self.most());
                entry.map(Taken::PermitOfClient).ok_or_else(|| self.full())
            }
        }
    }

    /// Undoes a [`Self::take`]: nobody has used it.
    pub(in crate::proxy) fn give_back(&self, taken: Taken) {
        match (&self.buckets, taken) {
            (Buckets::Rate(limiters), Taken::Credits { place, cost }) => {
                limiters[place].give_back(cost);
            }
            (Buckets::RateByClient(buckets), Taken::CreditsOfClient { entry, cost }) => {
                buckets.give_back(entry, cost);
            }
            _ => self.release(taken),
        }
    }

    /// The request has ended: its permits come back, what it used of a rate does not.
    pub(in crate::proxy) fn release(&self, taken: Taken) {
        match (&self.buckets, taken) {
            (Buckets::InFlight(counts), Taken::Permit { place }) => {
                counts[place].fetch_sub(1, Ordering::Relaxed);
            }
            (Buckets::InFlightByClient(counts), Taken::PermitOfClient(entry)) => {
                counts.give_back(entry);
            }
            _ => {}
        }
    }

    /// What is left for whoever asks; `None` where it is no rate.
    pub(in crate::proxy) fn level(&self, asking: &Asking) -> Option<Level> {
        match &self.buckets {
            Buckets::Rate(limiters) => Some(limiters[self.place(asking.service)].level(asking.now)),
            Buckets::RateByClient(buckets) => {
                Some(buckets.level(self.key(asking.client), asking.now))
            }
            Buckets::InFlight(_) | Buckets::InFlightByClient(_) => None,
        }
    }

    fn most(&self) -> u32 {
        match self.settings.kind {
            LimitKind::Concurrency(most) => most,
            LimitKind::Rate(_) => u32::MAX,
        }
    }

    fn spent(&self, why: Rejected, level: Level) -> OverLimit {
        let Rejected { wait_ns } = why;
        OverLimit { scope: self.scope, is_capacity: false, level, wait_ns }
    }

    fn full(&self) -> OverLimit {
        let limit = u64::from(self.most());
        OverLimit {
            scope: self.scope,
            // One client's share is its own affair.
            is_capacity: self.clients().is_none(),
            level: Level { limit, remaining: 0, reset_ns: PERMIT_WAIT_NS },
            wait_ns: PERMIT_WAIT_NS,
        }
    }

    /// As metrics call what it does.
    pub(in crate::proxy) fn algorithm(&self) -> &'static str {
        match self.settings.kind {
            LimitKind::Rate(settings) => settings.algorithm.name(),
            LimitKind::Concurrency(_) => "concurrency",
        }
    }

    /// How full the table of clients is, if it has one.
    pub fn fill(&self, now: u64) -> Option<Fill> {
        let clients = self.clients()?;
        let idle_ns = u64::try_from(clients.idle.as_nanos()).unwrap_or(u64::MAX);
        match &self.buckets {
            Buckets::RateByClient(buckets) => Some(Fill {
                clients: buckets.known(idle_ns, now),
                capacity: buckets.capacity(),
                overflowed: buckets.overflowed(),
            }),
            Buckets::InFlightByClient(counts) => Some(Fill {
                clients: counts.known(),
                capacity: counts.capacity(),
                overflowed: counts.overflowed(),
            }),
            Buckets::Rate(_) | Buckets::InFlight(_) => None,
        }
    }
}

/// A table of clients at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Clients that have asked lately or are in debt.
    pub clients: usize,
    pub capacity: usize,
    /// Requests so far of clients that found no place and had to share one.
    pub overflowed: u64,
}

impl Buckets {
    fn new(settings: &Limit, before: Option<&Self>) -> Self {
        let places = match settings.per {
            Per::Service => Service::ALL.len(),
            Per::Whole | Per::Client(_) => 1,
        };
        match (settings.kind, settings.per, before) {
            (LimitKind::Rate(rate), Per::Client(clients), _) => {
                let terms = Terms::new(rate.rate, rate.burst);
                Self::RateByClient(KeyedBuckets::new(terms, clients.max))
            }
            (LimitKind::Rate(rate), ..) => {
                Self::Rate((0..places).map(|_| Limiter::new(&rate)).collect())
            }
            (LimitKind::Concurrency(_), Per::Client(_), Some(Self::InFlightByClient(counts))) => {
                Self::InFlightByClient(Arc::clone(counts))
            }
            (LimitKind::Concurrency(_), Per::Client(clients), _) => {
                Self::InFlightByClient(Arc::new(KeyedCounts::new(clients.max)))
            }
            (LimitKind::Concurrency(_), _, Some(Self::InFlight(counts))) => {
                Self::InFlight(Arc::clone(counts))
            }
            (LimitKind::Concurrency(_), ..) => {
                Self::InFlight((0..places).map(|_| AtomicU32::new(0)).collect())
            }
        }
    }
}
