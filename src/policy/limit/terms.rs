//! The arithmetic of buckets: one number says how much is used, and when it will be there again.
//!
//! A bucket is the tick at which it will be full if nobody takes anything more (the "theoretical
//! arrival time" of the generic cell rate algorithm, ITU-T I.371). Taking a credit moves that tick
//! on by the time that one credit takes to come; it must not get further ahead of now than the
//! time that a whole bucket takes. A tick in the past is a full bucket, so time needs no work.

use super::{Level, Rate, Rejected};

/// Sixteenths of a nanosecond: intervals are rounded up to a whole one, which costs a limit of ten
/// million a second less than a thousandth, and 36 years of nanoseconds fit.
const TICKS_PER_NANO: u64 = 16;

/// A rate and a burst, as ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Of one credit. At least 1.
    interval: u64,
    /// Of a whole bucket.
    depth: u64,
}

impl Terms {
    pub fn new(rate: Rate, burst: u64) -> Self {
        let period = rate.period.as_nanos().saturating_mul(u128::from(TICKS_PER_NANO));
        let interval = period.div_ceil(u128::from(rate.credits.max(1)));
        let interval = u64::try_from(interval).unwrap_or(u64::MAX).max(1);
        Self { interval, depth: interval.saturating_mul(burst) }
    }

    /// At a share of the rate, above 0 and up to 1. The bucket is as deep as before in time, which
    /// is fewer credits; but it holds one.
    pub(super) fn slowed_to(self, share: f64) -> Self {
        let interval = (self.interval as f64 / share).ceil() as u64;
        Self { interval, depth: self.depth.max(interval) }
    }

    /// When a bucket that will be full at `full_at` will be full after `cost` more have been taken.
    ///
    /// # Errors
    ///
    /// They are not there.
    pub(super) fn spend(&self, full_at: u64, cost: u64, now: u64) -> Result<u64, Rejected> {
        let price = self.interval.saturating_mul(cost);
        if price > self.depth {
            return Err(Rejected::NEVER);
        }
        let now = ticks(now);
        // At the end of all ticks nobody is admitted any more.
        let after = full_at.max(now).checked_add(price).ok_or(Rejected::NEVER)?;
        match (after - now).saturating_sub(self.depth) {
            0 => Ok(after),
            missing => Err(Rejected { wait_ns: missing.div_ceil(TICKS_PER_NANO) }),
        }
    }

    /// What `cost` credits moved a bucket by.
    pub(super) fn price(&self, cost: u64) -> u64 {
        self.interval.saturating_mul(cost)
    }

    pub(super) fn is_full(full_at: u64, now: u64) -> bool {
        full_at <= ticks(now)
    }

    /// Whether it has been full for `idle_ns`.
    pub(super) fn is_full_since(full_at: u64, idle_ns: u64, now: u64) -> bool {
        full_at <= ticks(now.saturating_sub(idle_ns))
    }

    pub(super) fn level(&self, full_at: u64, now: u64) -> Level {
        let debt = full_at.saturating_sub(ticks(now));
        Level {
            limit: self.depth / self.interval,
            remaining: self.depth.saturating_sub(debt) / self.interval,
            reset_ns: debt.div_ceil(TICKS_PER_NANO),
        }
    }

    /// The used share of a bucket, from 0 to 1.
    pub(super) fn used(&self, full_at: u64, now: u64) -> f64 {
        let debt = full_at.saturating_sub(ticks(now)).min(self.depth);
        debt as f64 / self.depth.max(1) as f64
    }

    /// A bucket of which this share is used; never less than that.
    pub(super) fn with_used(&self, share: f64, now: u64) -> u64 {
        ticks(now).saturating_add(((self.depth as f64 * share).ceil() as u64).min(self.depth))
    }
}

pub(super) fn ticks(now: u64) -> u64 {
    now.saturating_mul(TICKS_PER_NANO)
}
