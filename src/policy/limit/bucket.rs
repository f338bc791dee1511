//! Token bucket and leaky bucket, in one number.

use std::sync::atomic::AtomicU64;

use super::terms::Terms;
use super::{Carried, Level, Rejected, Word};

/// Admits at most a burst and what has come since, over any stretch of time: the number moves by
/// the price of what is admitted in the same step in which it is compared.
#[derive(Debug)]
// On cache lines of its own: what stands beside it must not be slowed by its traffic.
#[repr(align(128))]
pub struct Bucket<W = AtomicU64> {
    full_at: W,
    terms: Terms,
}

impl<W: Word> Bucket<W> {
    pub fn new(terms: Terms) -> Self {
        Self { full_at: W::default(), terms }
    }

    /// Whether [`Self::take`] would admit.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn check(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        self.terms.spend(self.full_at.load(), cost, now).map(drop)
    }

    /// Takes `cost` credits, all or none.
    ///
    /// # Errors
    ///
    /// There are not that many.
    pub fn take(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        let mut seen = self.full_at.load();
        loop {
            let after = self.terms.spend(seen, cost, now)?;
            match self.full_at.replace(seen, after) {
                Ok(()) => return Ok(()),
                // Somebody else got on.
                Err(now_there) => seen = now_there,
            }
        }
    }

    /// Gives back what was taken: the number goes back by as much as it went ahead. If the bucket
    /// has become full meanwhile, there is nothing to give back to, and nothing changes.
    pub fn give_back(&self, cost: u64) {
        self.full_at.lower(self.terms.price(cost));
    }

    pub fn level(&self, now: u64) -> Level {
        self.terms.level(self.full_at.load(), now)
    }

    pub(super) fn carry(&self, now: u64) -> Carried {
        Carried::of_share(self.terms.used(self.full_at.load(), now))
    }

    pub(super) fn resume(&self, carried: &Carried, now: u64) {
        let used = self.terms.with_used(carried.share(), 0);
        let mut seen = self.full_at.load();
        loop {
            let after = seen.max(super::terms::ticks(now)).saturating_add(used);
            match self.full_at.replace(seen, after) {
                Ok(()) => return,
                Err(now_there) => seen = now_there,
            }
        }
    }
}
