//! When a name is looked up again, and how long its last addresses hold. Time is an argument.

use std::time::Duration;

use crate::proxy::settings::Resolver;

/// The pause after a failure: at first `min_ttl`, doubled with each that follows, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How much earlier than it has to be a lookup may come, as a share of its time: names that were
/// first looked up together part.
const SPREAD: f64 = 0.1;

/// The timetable of one name.
#[derive(Debug)]
pub(super) struct Schedule {
    min_ttl: Duration,
    max_ttl: Duration,
    /// How long the last good answer stays; `None` is for ever.
    hold: Option<Duration>,
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
    /// `is_known`: there is a good answer from before.
    pub(super) fn new(settings: &Resolver, is_known: bool) -> Self {
        let Resolver { min_ttl, max_ttl, hold, .. } = *settings;
        Self { min_ttl, max_ttl, hold, failures: 0, good_at: is_known.then_some(Duration::ZERO) }
    }

    /// How long to wait after a good answer. `now` counts from the beginning; `draw` is at random
    /// from 0 to 1.
    pub(super) fn answered(&mut self, now: Duration, ttl: Duration, draw: f64) -> Duration {
        self.failures = 0;
        self.good_at = Some(now);
        ttl.min(self.max_ttl).mul_f64(1.0 - SPREAD * draw).max(self.min_ttl)
    }

    /// What to do after no answer, or after one that there is no such name.
    pub(super) fn failed(&mut self, now: Duration, draw: f64) -> AfterFailure {
        let doubled = self.min_ttl.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(PAUSE_MAX).mul_f64(1.0 - SPREAD * draw).max(self.min_ttl);
        let Some((good_at, hold)) = self.good_at.zip(self.hold) else {
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
        let bounds = Resolver { min_ttl: secs(2), max_ttl: secs(100), hold, ..Resolver::default() };
        Schedule::new(&bounds, false)
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
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30, 30]);
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

    #[test]
    fn what_was_known_before_holds_from_the_beginning() {
        let settings = Resolver { hold: Some(secs(20)), ..Resolver::default() };
        let mut schedule = Schedule::new(&settings, true);
        assert!(!schedule.failed(secs(19), 0.0).expires);
        assert!(schedule.failed(secs(20), 0.0).expires);
    }
}
