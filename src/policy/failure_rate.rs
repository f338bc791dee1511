//! Which share of the attempts of the last time has failed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::circuit::Rate;

/// Attempts of one endpoint, counted in halves of the window: the current one and the one before.
/// So a share is of at least half a window, and of one window at most.
///
/// Every worker counts into the same halves. A count is exact but for attempts that end in the
/// instant in which a half begins anew.
#[derive(Debug, Default)]
pub struct FailureRate([AtomicU64; 2]);

/// One half, in one word: which one it is, what ended in it, and how much of that was a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Half {
    /// By its place in time, from 0; wraps at 2^16.
    number: u16,
    attempts: u32,
    failures: u32,
}

const COUNT_BITS: u32 = 24;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

impl Half {
    fn unpack(word: u64) -> Self {
        Self {
            number: (word >> (2 * COUNT_BITS)) as u16,
            attempts: (word >> COUNT_BITS) as u32 & COUNT_MAX,
            failures: word as u32 & COUNT_MAX,
        }
    }

    fn pack(self) -> u64 {
        let number = u64::from(self.number) << (2 * COUNT_BITS);
        number | u64::from(self.attempts) << COUNT_BITS | u64::from(self.failures)
    }

    fn with(self, number: u16, failed: bool) -> Self {
        let known = if self.number == number { self } else { Self { number, ..Self::default() } };
        // One that is full keeps its share.
        let known = match known.attempts {
            COUNT_MAX => {
                Self { attempts: known.attempts / 2, failures: known.failures / 2, ..known }
            }
            _ => known,
        };
        Self { attempts: known.attempts + 1, failures: known.failures + u32::from(failed), ..known }
    }
}

impl FailureRate {
    /// Counts an attempt that has ended, and says whether the share is too high with that.
    pub fn count(&self, failed: bool, rate: &Rate, now_ns: u64) -> bool {
        let number = number(rate.window, now_ns);
        let word = &self.0[usize::from(number % 2)];
        let count = |word| Some(Half::unpack(word).with(number, failed).pack());
        // The closure never declines, so both sides of the result are the word as it was.
        let (Ok(before) | Err(before)) =
            word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        failed && self.is_high(Half::unpack(before).with(number, failed), rate)
    }

    fn is_high(&self, now: Half, rate: &Rate) -> bool {
        let other = Half::unpack(self.0[usize::from((now.number + 1) % 2)].load(Ordering::Relaxed));
        let last = if other.number == now.number.wrapping_sub(1) { other } else { Half::default() };
        let attempts = now.attempts + last.attempts;
        let failures = now.failures + last.failures;
        attempts >= rate.requests && f64::from(failures) >= rate.share * f64::from(attempts)
    }

    /// Forgets all: what comes back is judged by what it does from then on.
    pub fn clear(&self) {
        self.0.iter().for_each(|half| half.store(0, Ordering::Relaxed));
    }
}

fn number(window: Duration, now_ns: u64) -> u16 {
    let half = (window.as_nanos() / 2).max(1);
    (u128::from(now_ns) / half) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const RATE: Rate = Rate { share: 0.5, window: Duration::from_secs(10), requests: 10 };

    fn count(rate: &FailureRate, failed: bool, times: u32, now: u64) -> bool {
        (0..times).fold(false, |_, _| rate.count(failed, &RATE, now))
    }

    #[test]
    fn half_of_the_attempts_is_too_much_where_half_is_the_bound() {
        let rate = FailureRate::default();
        assert!(!count(&rate, false, 10, 0));
        assert!(!count(&rate, true, 9, SECOND));
        assert!(count(&rate, true, 1, 2 * SECOND));
    }

    #[test]
    fn a_few_attempts_say_nothing() {
        let rate = FailureRate::default();
        assert!(!count(&rate, true, 9, 0));
        assert!(count(&rate, true, 1, 0));
    }

    #[test]
    fn the_half_before_counts_and_what_was_earlier_does_not() {
        let rate = FailureRate::default();
        count(&rate, true, 9, 0);
        assert!(count(&rate, true, 1, 9 * SECOND), "the half before");
        let rate = FailureRate::default();
        count(&rate, true, 9, 0);
        assert!(!count(&rate, true, 1, 11 * SECOND), "two halves before");
        assert!(!count(&rate, true, 1, 1_000_000 * SECOND));
    }

    #[test]
    fn a_half_that_is_full_keeps_its_share() {
        let full = Half { number: 3, attempts: COUNT_MAX, failures: COUNT_MAX / 2 };
        let next = full.with(3, true);
        assert_eq!(next.attempts, COUNT_MAX / 2 + 1);
        assert_eq!(next.failures, COUNT_MAX / 4 + 1);
        assert_eq!(Half::unpack(full.pack()), full);
    }

    #[test]
    fn no_attempt_is_lost_between_threads() {
        let rate = FailureRate::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| count(&rate, false, 10_000, 0));
            }
        });
        assert_eq!(Half::unpack(rate.0[0].load(Ordering::Relaxed)).attempts, 40_000);
    }

    proptest! {
        #[test]
        fn it_is_high_exactly_when_the_share_of_both_halves_is(
            results in proptest::collection::vec((any::<bool>(), 0..3u64), 1..80),
        ) {
            let rate = FailureRate::default();
            let mut seen: Vec<(u64, bool)> = Vec::new();
            let mut now = 0;
            for (failed, later) in results {
                now += later * SECOND;
                let half = now / (5 * SECOND);
                seen.push((half, failed));
                let counted = seen.iter().filter(|(at, _)| at + 1 >= half);
                let attempts = counted.clone().count();
                let failures = counted.filter(|(_, failed)| *failed).count();
                let expected = failed && attempts >= 10 && 2 * failures >= attempts;
                prop_assert_eq!(rate.count(failed, &RATE, now), expected);
            }
        }
    }
}
