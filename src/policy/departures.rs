//! How fast a line moves, and how long a place in it will take.

use std::time::Duration;

/// After this much time in which somebody waited, a departure has 37 % of its influence left.
/// Longer than the bursts in which slow requests end together.
const MEMORY_NS: f64 = 10e9;

/// Departures seen while somebody waited, both forgotten slowly.
#[derive(Debug, Default)]
pub struct Departures {
    count: f64,
    /// Time in which somebody waited, in ns.
    time_ns: f64,
    /// Up to when both have been counted; `None` while nobody waits.
    counted_to_ns: Option<u64>,
}

/// With fewer departures than this, their rate is a guess, and nobody is turned away for a guess.
const KNOWN_MIN: f64 = 4.0;

impl Departures {
    /// Somebody waits from now on.
    pub fn start(&mut self, now_ns: u64) {
        self.counted_to_ns.get_or_insert(now_ns);
    }

    /// Nobody waits any more: what departs from now on says nothing about a line.
    pub fn stop(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.counted_to_ns = None;
    }

    /// Room was made for one who waits.
    pub fn count(&mut self, now_ns: u64) {
        self.pass(now_ns);
        self.count += 1.0;
    }

    fn pass(&mut self, now_ns: u64) {
        let Some(from) = self.counted_to_ns else { return };
        let elapsed = now_ns.saturating_sub(from) as f64;
        let kept = (-elapsed / MEMORY_NS).exp();
        self.count *= kept;
        self.time_ns = self.time_ns * kept + MEMORY_NS * (1.0 - kept);
        self.counted_to_ns = Some(now_ns.max(from));
    }

    /// How long one waits who has `ahead` before it; `None` before that is known.
    pub fn wait(&mut self, ahead: usize, now_ns: u64) -> Option<Duration> {
        self.pass(now_ns);
        let each_ns = self.time_ns / self.count;
        let known = self.count >= KNOWN_MIN;
        known.then(|| Duration::from_nanos((each_ns * (ahead + 1) as f64) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Departures every `gap` for `count` times, from time 0 on.
    fn steady(gap: u64, count: u64) -> Departures {
        let mut departures = Departures::default();
        departures.start(0);
        (1..=count).for_each(|n| departures.count(n * gap));
        departures
    }

    #[test]
    fn a_steady_line_moves_at_its_pace() {
        let wait = steady(10 * MS, 200).wait(99, 2000 * MS).unwrap();
        assert!((990..1010).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn bursts_count_by_their_mean() {
        let mut departures = Departures::default();
        departures.start(0);
        for second in 1..=30 {
            (0..10).for_each(|_| departures.count(second * 1000 * MS));
        }
        let wait = departures.wait(9, 30_500 * MS).unwrap();
        assert!((900..1100).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn a_line_that_stands_still_gets_slower() {
        let mut departures = steady(10 * MS, 200);
        let before = departures.wait(0, 2000 * MS).unwrap();
        let after = departures.wait(0, 7000 * MS).unwrap();
        assert!(after > before * 2, "{before:?} {after:?}");
    }

    #[test]
    fn time_in_which_nobody_waits_does_not_count() {
        let mut departures = steady(10 * MS, 200);
        departures.stop(2000 * MS);
        departures.start(3_600_000 * MS);
        let wait = departures.wait(0, 3_600_000 * MS).unwrap();
        assert!((9..=11).contains(&wait.as_millis()), "{wait:?}");
    }

    #[test]
    fn nothing_is_foretold_from_a_few_departures() {
        assert_eq!(Departures::default().wait(1000, 5000 * MS), None);
        assert_eq!(steady(10 * MS, 2).wait(1000, 20 * MS), None);
    }
}
