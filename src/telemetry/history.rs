//! How fast counts have gone up lately, and how long things have taken lately.
//!
//! Workers only count. Whoever keeps a [`History`] looks at the counts once a second; what the last
//! minute brought is the difference to what was seen then.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::histogram::{HistogramTotal, Quantiles};
use super::totals::{EndpointName, EndpointTotal, Totals, requests};
use super::worker::WorkerMetrics;

const SECOND_NS: u64 = 1_000_000_000;

/// The windows of [`Rates`].
const WINDOWS: [u64; 3] = [SECOND_NS, 10 * SECOND_NS, 60 * SECOND_NS];

/// Every look is remembered for this long, to tell the rate of ten seconds.
const FINE_NS: u64 = 11 * SECOND_NS;
/// Of older looks one is remembered for each such time, to tell the rate of a minute.
const COARSE_NS: u64 = 10 * SECOND_NS;
/// Nothing older is asked for. A look that comes late must not lose the minute.
const OLDEST_NS: u64 = 75 * SECOND_NS;

/// Quantiles are of what has happened since this long ago, and up to twice as long.
pub const LATELY: Duration = Duration::from_secs(60);

/// What happened in a second, on the average over the last second, ten seconds, and minute. Less
/// if there has been less.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    pub last_second: f64,
    pub last_10_seconds: f64,
    pub last_minute: f64,
}

/// Past values of one count; at most some twenty.
#[derive(Debug, Default)]
struct Track(VecDeque<Look>);

#[derive(Debug, Clone, Copy)]
struct Look {
    at_ns: u64,
    count: u64,
}

impl Track {
    fn observe(&mut self, at_ns: u64, count: u64) {
        self.0.push_back(Look { at_ns, count });
        self.thin(at_ns);
    }

    /// Of three looks that are all old, the middle one goes if the outer two are near enough.
    fn thin(&mut self, now_ns: u64) {
        while self.0.front().is_some_and(|look| look.at_ns + OLDEST_NS < now_ns) {
            self.0.pop_front();
        }
        let mut index = 1;
        while index + 1 < self.0.len() && self.0[index + 1].at_ns + FINE_NS < now_ns {
            match self.0[index + 1].at_ns - self.0[index - 1].at_ns <= COARSE_NS {
                true => drop(self.0.remove(index)),
                false => index += 1,
            }
        }
    }

    fn rates(&self) -> Rates {
        let [last_second, last_10_seconds, last_minute] = WINDOWS.map(|window| self.rate(window));
        Rates { last_second, last_10_seconds, last_minute }
    }

    fn rate(&self, window_ns: u64) -> f64 {
        let Some(last) = self.0.back() else { return 0.0 };
        // Looks come at about the full second: one that is a little early is the one that is meant.
        let since = (last.at_ns + SECOND_NS / 4).saturating_sub(window_ns);
        let is_inside = |look: &&Look| look.at_ns > since && look.at_ns < last.at_ns;
        let before = self.0.iter().rev().find(|look| look.at_ns <= since);
        let Some(before) = before.or_else(|| self.0.iter().find(is_inside)) else { return 0.0 };
        let elapsed_ns = last.at_ns - before.at_ns;
        last.count.saturating_sub(before.count) as f64 * SECOND_NS as f64 / elapsed_ns.max(1) as f64
    }
}

/// What an endpoint had counted a minute ago and two minutes ago.
#[derive(Debug, Default)]
struct EndpointTrack {
    requests: Track,
    newer: Option<Latencies>,
    older: Option<Latencies>,
}

#[derive(Debug, Clone)]
struct Latencies {
    connect: HistogramTotal,
    first_byte: HistogramTotal,
}

/// The looks so far, of those clusters and endpoints that the workers have series of: a bounded
/// number.
#[derive(Debug, Default)]
pub struct History {
    clusters: HashMap<Arc<str>, Track>,
    endpoints: HashMap<EndpointName, EndpointTrack>,
    turned_ns: u64,
}

impl History {
    /// Looks at the counts. To be called about once a second.
    pub fn observe(&mut self, now_ns: u64, workers: &[Arc<WorkerMetrics>]) {
        let (clusters, endpoints) = requests(workers);
        for (name, count) in clusters {
            self.clusters.entry(name).or_default().observe(now_ns, count);
        }
        for (name, count) in endpoints {
            self.endpoints.entry(name).or_default().requests.observe(now_ns, count);
        }
        if now_ns >= self.turned_ns + LATELY.as_nanos() as u64 {
            self.turned_ns = now_ns;
            self.turn(&Totals::of(workers));
        }
    }

    /// Remembers the histograms of now, and forgets endpoints that are gone.
    fn turn(&mut self, totals: &Totals) {
        self.endpoints.retain(|name, track| {
            let Some(total) = totals.endpoints.get(name) else { return false };
            let (connect, first_byte) = (total.connect.clone(), total.first_byte.clone());
            track.older = track.newer.replace(Latencies { connect, first_byte });
            true
        });
    }

    pub fn cluster(&self, name: &str) -> Rates {
        self.clusters.get(name).map(Track::rates).unwrap_or_default()
    }

    pub fn endpoint(&self, name: &EndpointName) -> Rates {
        self.endpoints.get(name).map(|track| track.requests.rates()).unwrap_or_default()
    }

    /// How long connecting and the first byte have taken since a minute or two ago.
    pub fn latencies(&self, name: &EndpointName, total: &EndpointTotal) -> [Option<Quantiles>; 2] {
        let before = self.endpoints.get(name).and_then(|track| track.older.as_ref());
        match before {
            Some(before) => [
                total.connect.since(&before.connect).quantiles(),
                total.first_byte.since(&before.first_byte).quantiles(),
            ],
            None => [total.connect.quantiles(), total.first_byte.quantiles()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A look each second at a count that grows by what `step` says.
    fn track(seconds: u64, step: impl Fn(u64) -> u64) -> Track {
        let mut track = Track::default();
        let mut count = 0;
        for second in 0..=seconds {
            count += step(second);
            track.observe(second * SECOND_NS, count);
        }
        track
    }

    #[test]
    fn a_steady_pace_is_the_same_over_all_windows() {
        let rates = track(100, |_| 7).rates();
        assert_eq!(rates, Rates { last_second: 7.0, last_10_seconds: 7.0, last_minute: 7.0 });
    }

    #[test]
    fn a_burst_leaves_the_windows_one_after_the_other() {
        let burst = |at: u64| move |second: u64| if second == at { 60 } else { 0 };
        let rates = track(90, burst(90)).rates();
        assert_eq!((rates.last_second, rates.last_10_seconds, rates.last_minute), (60.0, 6.0, 1.0));
        let rates = track(90, burst(85)).rates();
        assert_eq!((rates.last_second, rates.last_10_seconds, rates.last_minute), (0.0, 6.0, 1.0));
        let rates = track(200, burst(120)).rates();
        assert_eq!(rates, Rates::default());
    }

    #[test]
    fn a_minute_is_told_to_within_the_distance_of_two_looks() {
        for end in 101..300 {
            let looks = track(end, |second| u64::from(second == 100) * 1000);
            let rate = looks.rates().last_minute;
            let (age, expected) = (end - 100, 1000.0 / 60.0);
            match age {
                0..60 => assert!((rate - expected).abs() < expected / 5.0, "{age} s: {rate}"),
                76.. => assert_eq!(rate, 0.0, "{age} s"),
                _ => assert!(rate <= expected, "{age} s: {rate}"),
            }
        }
    }

    #[test]
    fn few_looks_are_kept_however_often_one_looks() {
        assert!(track(1000, |_| 1).0.len() <= 22, "{}", track(1000, |_| 1).0.len());
    }

    #[test]
    fn one_look_tells_nothing_and_two_tell_what_was_between_them() {
        assert_eq!(track(0, |_| 5).rates(), Rates::default());
        let rates = track(1, |_| 5).rates();
        assert_eq!((rates.last_second, rates.last_minute), (5.0, 5.0));
    }

    #[test]
    fn latencies_forget_what_is_older_than_two_minutes() {
        let worker = Arc::new(WorkerMetrics::new(0, &[], &[]));
        let series = worker.upstream_series("docs", "a:1", &[]);
        let name: EndpointName = ("docs".into(), "a:1".into());
        let mut history = History::default();
        let mut look = |seconds: u64| {
            let workers = std::slice::from_ref(&worker);
            history.observe(seconds * SECOND_NS, workers);
            let totals = Totals::of(workers);
            history.latencies(&name, &totals.endpoints[&name])
        };
        series.first_byte.record(8 * SECOND_NS);
        let [connect, first_byte] = look(60);
        assert!(connect.is_none());
        assert!(first_byte.is_some_and(|slow| slow.p50_ns > SECOND_NS));
        look(120);
        series.first_byte.record(600_000);
        let [_, first_byte] = look(180);
        assert!(first_byte.is_some_and(|fast| fast.p99_ns <= 1_000_000));
    }
}
