//! When a name is looked up again, and how long its last addresses hold. Time is an argument.

use std::time::Duration;

/// What bounds the word of a DNS server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bounds {
    /// An answer counts for at least so long, whatever its time to live.
    pub min_ttl: Duration,
    /// An answer counts for at most so long.
    pub max_ttl: Duration,
    /// How long the last good answer stays while lookups fail; `None` is for ever.
    pub hold: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min_ttl: Duration::from_secs(1), max_ttl: Duration::from_secs(300), hold: None }
    }
}

/// The pause after a first failure. It doubles with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How much earlier than it has to be a lookup may come, as a share of its time: names that were
/// first looked up together part.
const SPREAD: f64 = 0.1;

/// The timetable of one name.
#[derive(Debug)]
pub(super) struct Schedule {
    bounds: Bounds,
    /// Failures in a row.
    failures: u32,
    /// When the last good answer came. Emptied when it does not hold any more.
    good_at: Option<Duration>,
}

/// What follows a failed lookup.
#[derive(Debug, PartialEq)]
pub(super) struct AfterFailure {
    pub(super) pause: Duration,
    /// The last good answer has just ceased to hold.
    pub(super) expires: bool,
}

impl Schedule {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, failures: 0, good_at: None }
    }

    /// How long to wait after a good answer. `now` is on any clock that never goes back; `draw` is
    /// at random from 0 to 1.
    pub(super) fn answered(&mut self, now: Duration, ttl: Duration, draw: f64) -> Duration {
        let Bounds { min_ttl, max_ttl, .. } = self.bounds;
        self.failures = 0;
        self.good_at = Some(now);
        ttl.min(max_ttl).mul_f64(1.0 - SPREAD * draw).max(min_ttl)
    }

    /// What to do after no answer, or after one that there is no such name.
    pub(super) fn failed(&mut self, now: Duration, draw: f64) -> AfterFailure {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(PAUSE_MAX).mul_f64(1.0 - SPREAD * draw).max(self.bounds.min_ttl);
        let Some((good_at, hold)) = self.good_at.zip(self.bounds.hold) else {
            return AfterFailure { pause, expires: false };
        };
        let left = (good_at + hold).saturating_sub(now);
        if left.is_zero() {
            self.good_at = None;
            return AfterFailure { pause, expires: true };
        }
        AfterFailure { pause: pause.min(left), expires: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(hold: Option<Duration>) -> Schedule {
        Schedule::new(Bounds { min_ttl: secs(2), max_ttl: secs(100), hold })
    }

    #[test]
    fn an_answer_counts_for_its_time_within_the_bounds() {
        let mut schedule = schedule(None);
        for (ttl, wait) in [(0, 2), (1, 2), (2, 2), (30, 30), (100, 100), (86_400, 100)] {
            assert_eq!(schedule.answered(secs(0), secs(ttl), 0.0), secs(wait), "{ttl}");
        }
    }

    #[test]
    fn names_looked_up_together_part_without_counting_for_longer() {
        let mut schedule = schedule(None);
        assert_eq!(schedule.answered(secs(0), secs(60), 1.0), secs(54));
        assert_eq!(schedule.answered(secs(0), secs(0), 1.0), secs(2));
    }

    #[test]
    fn failures_are_asked_after_less_and_less_until_an_answer_comes() {
        let mut schedule = schedule(None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let AfterFailure { pause, expires } = schedule.failed(secs(0), 0.0);
            assert!(!expires);
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [2, 2, 4, 8, 16, 30, 30, 30]);
        schedule.answered(secs(1), secs(60), 0.0);
        assert_eq!(schedule.failed(secs(2), 0.0).pause, secs(2));
    }

    #[test]
    fn an_answer_holds_for_ever_unless_told_otherwise() {
        let mut schedule = schedule(None);
        schedule.answered(secs(0), secs(60), 0.0);
        assert!((1..100).all(|day| !schedule.failed(secs(day * 86_400), 0.0).expires));
    }

    #[test]
    fn an_answer_that_holds_for_a_time_expires_once_and_on_time() {
        let mut schedule = schedule(Some(secs(20)));
        schedule.answered(secs(100), secs(60), 0.0);
        for _ in 0..6 {
            schedule.failed(secs(101), 0.0);
        }
        assert_eq!(
            schedule.failed(secs(117), 0.0),
            AfterFailure { pause: secs(3), expires: false }
        );
        assert!(schedule.failed(secs(120), 0.0).expires);
        assert!(!schedule.failed(secs(150), 0.0).expires);
        schedule.answered(secs(200), secs(60), 0.0);
        assert!(!schedule.failed(secs(219), 0.0).expires);
        assert!(schedule.failed(secs(220), 0.0).expires);
    }
}
