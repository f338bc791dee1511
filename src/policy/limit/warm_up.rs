//! Warm-up: a token bucket whose rate grows from a share of it to all of it.

use std::sync::atomic::AtomicU64;

use super::terms::{Terms, ticks};
use super::{Carried, Level, Rejected, Warming, Word};

/// Admits never more than a bucket of its present rate would: what it admitted earlier was taken
/// at a slower rate, and cost more.
#[derive(Debug)]
#[repr(align(128))]
pub struct WarmUp<W = AtomicU64> {
    full_at: W,
    /// When it was cold, in nanoseconds.
    cold_at: W,
    terms: Terms,
    cold: f64,
    /// Nanoseconds from cold to warm, and of rest until it is cold again.
    time: u64,
}

impl<W: Word> WarmUp<W> {
    pub fn new(terms: Terms, warming: Warming) -> Self {
        let time = u64::try_from(warming.time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let cold = warming.cold.clamp(f64::EPSILON, 1.0);
        Self { full_at: W::default(), cold_at: W::default(), terms, cold, time }
    }

    /// Whether [`Self::take`] would admit.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn check(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        let full_at = self.full_at.load();
        self.terms_at(full_at, now).spend(full_at, cost, now).map(drop)
    }

    /// Takes `cost` credits, all or none.
    ///
    /// # Errors
    ///
    /// There are not that many.
    pub fn take(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        let mut seen = self.full_at.load();
        loop {
            let after = self.terms_at(seen, now).spend(seen, cost, now)?;
            if self.has_rested(seen, now) {
                // Before the bucket tells that it is in use again, or others would find it warm.
                // Two that do this at once agree within the time between them.
                let before = self.cold_at.load();
                let _ = self.cold_at.replace(before, now.max(before));
            }
            match self.full_at.replace(seen, after) {
                Ok(()) => return Ok(()),
                Err(now_there) => seen = now_there,
            }
        }
    }

    /// Whether it has been full for as long as it takes to warm up, or was never used.
    fn has_rested(&self, full_at: u64, now: u64) -> bool {
        full_at == 0 || Terms::is_full_since(full_at, self.time, now)
    }

    fn warmth(&self, full_at: u64, now: u64) -> f64 {
        if self.has_rested(full_at, now) {
            return 0.0;
        }
        let warm_for = now.saturating_sub(self.cold_at.load());
        (warm_for as f64 / self.time as f64).min(1.0)
    }

    fn terms_at(&self, full_at: u64, now: u64) -> Terms {
        let share = self.cold + (1.0 - self.cold) * self.warmth(full_at, now);
        self.terms.slowed_to(share)
    }

    pub fn level(&self, now: u64) -> Level {
        let full_at = self.full_at.load();
        self.terms_at(full_at, now).level(full_at, now)
    }

    pub(super) fn carry(&self, now: u64) -> Carried {
        let full_at = self.full_at.load();
        let used = Carried::of_share(self.terms.used(full_at, now));
        Carried { warmth: self.warmth(full_at, now), ..used }
    }

    pub(super) fn resume(&self, carried: &Carried, now: u64) {
        if carried.used.is_empty() && carried.warmth <= 0.0 {
            return;
        }
        let warm_for = (carried.warmth.clamp(0.0, 1.0) * self.time as f64) as u64;
        let _ = self.cold_at.replace(self.cold_at.load(), now.saturating_sub(warm_for));
        let full_at = self.full_at.load();
        let after = self.terms.with_used(carried.share(), now).max(ticks(now)).max(full_at);
        let _ = self.full_at.replace(full_at, after);
    }
}
