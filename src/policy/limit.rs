//! How much may be asked for in a time: rate limits, exact however many threads ask.
//!
//! Each algorithm answers admit, or reject with the time after which asking again makes sense.
//! Nothing is counted for who is rejected, so a client that keeps asking does not keep itself out.
//! `now` is in nanoseconds on any clock that all who ask share. A clock that stands gives nothing
//! back; one that steps back gives nothing either until it is where it was.

mod bucket;
mod keyed;
mod table;
mod terms;
mod warm_up;
mod window;
mod word;

use std::time::Duration;

pub use bucket::Bucket;
pub use keyed::{KeyedBuckets, KeyedCounts};
pub use table::Entry;
pub use terms::Terms;
pub use warm_up::WarmUp;
pub use window::Window;
pub use word::Word;

/// So many credits come back in so much time, evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub credits: u64,
    pub period: Duration,
}

/// What one limiter is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub algorithm: Algorithm,
    pub rate: Rate,
    /// Credits that are there at once after a rest. A sliding window has as many as its rate.
    pub burst: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Algorithm {
    /// Saves up a burst, and gives credits back evenly.
    TokenBucket,
    /// The same with a depth of its own: by default one, so that requests are spaced evenly.
    LeakyBucket,
    /// Never more than the rate's credits in any stretch of its period.
    SlidingWindow,
    /// A token bucket whose rate grows.
    WarmUp(Warming),
}

/// How a rate grows with use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warming {
    /// From cold to the full rate. As much time without use makes it cold again.
    pub time: Duration,
    /// The share of the rate that it begins with: above 0 and up to 1.
    pub cold: f64,
}

impl Algorithm {
    /// As the configuration and the metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::LeakyBucket => "leaky_bucket",
            Self::SlidingWindow => "sliding_window",
            Self::WarmUp(_) => "warm_up",
        }
    }
}

/// There is not enough credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Nanoseconds after which there would be enough, if nobody else asks.
    pub wait_ns: u64,
}

impl Rejected {
    /// It costs more than there ever is.
    pub const NEVER: Self = Self { wait_ns: u64::MAX };
}

/// How far a limiter is used, for whoever wants to pace itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Credits at most.
    pub limit: u64,
    /// Credits at this moment.
    pub remaining: u64,
    /// Nanoseconds until all are there, if nobody asks.
    pub reset_ns: u64,
}

/// What a limiter hands to the one that takes its place, whose settings may be others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Carried {
    /// What is used of the limit. The shares add up to at most 1.
    pub used: Vec<Part>,
    /// How warm it is, from 0 to 1.
    pub warmth: f64,
}

/// A share of a limit that comes back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// When, as a share of the time that a window is long.
    pub left: f64,
    pub share: f64,
}

impl Carried {
    /// The share of the limit that is used.
    pub fn share(&self) -> f64 {
        self.used.iter().map(|part| part.share).sum::<f64>().clamp(0.0, 1.0)
    }

    /// Of a limiter that only knows how much is used.
    pub(crate) fn of_share(share: f64) -> Self {
        let used = if share > 0.0 { vec![Part { left: 1.0, share }] } else { Vec::new() };
        Self { used, warmth: 1.0 }
    }
}

/// One limit's state, whatever its algorithm.
#[derive(Debug)]
pub enum Limiter {
    Bucket(Bucket),
    Window(Window),
    WarmUp(WarmUp),
}

impl Limiter {
    /// Nothing is used yet.
    pub fn new(settings: &Settings) -> Self {
        let terms = Terms::new(settings.rate, settings.burst);
        match settings.algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => Self::Bucket(Bucket::new(terms)),
            Algorithm::SlidingWindow => Self::Window(Window::new(settings.rate)),
            Algorithm::WarmUp(warming) => Self::WarmUp(WarmUp::new(terms, warming)),
        }
    }

    /// Whether [`Self::take`] would admit. Takes nothing.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn check(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        match self {
            Self::Bucket(bucket) => bucket.check(cost, now),
            Self::Window(window) => window.check(cost, now),
            Self::WarmUp(warm_up) => warm_up.check(cost, now),
        }
    }

    /// Takes `cost` credits, all or none.
    ///
    /// # Errors
    ///
    /// There are not that many.
    pub fn take(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        match self {
            Self::Bucket(bucket) => bucket.take(cost, now),
            Self::Window(window) => window.take(cost, now),
            Self::WarmUp(warm_up) => warm_up.take(cost, now),
        }
    }

    /// Gives back what [`Self::take`] took and nobody used. Never gives more than was taken. A
    /// window and a warm-up keep it: what a place cost when it was taken is not known any more.
    pub fn give_back(&self, cost: u64) {
        match self {
            Self::Bucket(bucket) => bucket.give_back(cost),
            Self::Window(_) | Self::WarmUp(_) => {}
        }
    }

    pub fn level(&self, now: u64) -> Level {
        match self {
            Self::Bucket(bucket) => bucket.level(now),
            Self::Window(window) => window.level(now),
            Self::WarmUp(warm_up) => warm_up.level(now),
        }
    }

    pub fn carry(&self, now: u64) -> Carried {
        match self {
            Self::Bucket(bucket) => bucket.carry(now),
            Self::Window(window) => window.carry(now),
            Self::WarmUp(warm_up) => warm_up.carry(now),
        }
    }

    /// Goes on from where another one was: the same share of the limit is used. To be called
    /// before anybody asks; what was taken meanwhile counts on top.
    pub fn resume(&self, carried: &Carried, now: u64) {
        match self {
            Self::Bucket(bucket) => bucket.resume(carried, now),
            Self::Window(window) => window.resume(carried, now),
            Self::WarmUp(warm_up) => warm_up.resume(carried, now),
        }
    }
}

#[cfg(test)]
mod tests;
