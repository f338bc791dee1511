//! Durations sorted into fixed buckets, in the manner of Prometheus.

use super::counter::Counter;

/// Upper bounds, inclusive, in nanoseconds and rising.
#[derive(Debug, PartialEq, Eq)]
pub struct Buckets(pub &'static [u64]);

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Whole requests. The bounds of the Prometheus client libraries (5 ms to 10 s) are all here, so
/// that rules written for those work; a proxy also needs what lies below, a model what lies above.
pub static REQUEST_DURATION: Buckets = Buckets(&[
    MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
]);

/// Time that a request spent in Ringgate itself.
pub static OVERHEAD: Buckets = Buckets(&[
    2 * MICROSECOND,
    5 * MICROSECOND,
    10 * MICROSECOND,
    20 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    200 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2 * MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    50 * MILLISECOND,
]);

/// From the start of an attempt to a connection: 100 µs in a rack, 200 ms across an ocean.
pub static CONNECT: Buckets = Buckets(&[
    100 * MICROSECOND,
    250 * MICROSECOND,
    500 * MICROSECOND,
    MILLISECOND,
    2_500 * MICROSECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    5 * SECOND,
]);

/// Until the first byte or the first event of an answer: from a cached page to a model that loads.
pub static FIRST_BYTE: Buckets = Buckets(&[
    500 * MICROSECOND,
    MILLISECOND,
    5 * MILLISECOND,
    10 * MILLISECOND,
    25 * MILLISECOND,
    50 * MILLISECOND,
    100 * MILLISECOND,
    250 * MILLISECOND,
    500 * MILLISECOND,
    SECOND,
    2_500 * MILLISECOND,
    5 * SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
]);

impl Buckets {
    /// The first bucket whose bound is not below `ns`; past the last one, that of everything else.
    ///
    /// Counts the bounds below `ns` instead of searching: some fifteen comparisons without a
    /// branch to mispredict, which the compiler does several at a time.
    fn index(&self, ns: u64) -> usize {
        self.0.iter().map(|&bound| usize::from(bound < ns)).sum()
    }
}

/// Durations of one kind, written by one thread (see [`Counter`]).
#[derive(Debug)]
pub struct Histogram {
    buckets: &'static Buckets,
    /// One more than there are bounds.
    counts: Box<[Counter]>,
    sum_ns: Counter,
}

impl Histogram {
    pub fn new(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.0.len()).map(|_| Counter::default()).collect();
        Self { buckets, counts, sum_ns: Counter::default() }
    }

    /// Counts one duration, in nanoseconds.
    pub fn record(&self, ns: u64) {
        self.counts[self.buckets.index(ns)].inc();
        self.sum_ns.add(ns);
    }

    /// How many durations there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(Counter::get).sum()
    }
}

/// Durations that half of all, 95 % and 99 % do not exceed, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    pub p50_ns: u64,
    pub p95_ns: u64,
    pub p99_ns: u64,
}

/// What several histograms of one kind say together, at the time of reading.
#[derive(Debug, Clone)]
pub struct HistogramTotal {
    buckets: &'static Buckets,
    counts: Vec<u64>,
    sum_ns: u64,
}

impl HistogramTotal {
    pub fn new(buckets: &'static Buckets) -> Self {
        Self { buckets, counts: vec![0; buckets.0.len() + 1], sum_ns: 0 }
    }

    /// Adds what `histogram` has counted so far.
    pub fn add(&mut self, histogram: &Histogram) {
        debug_assert_eq!(self.buckets, histogram.buckets, "only like can be added to like");
        for (total, counter) in self.counts.iter_mut().zip(&histogram.counts) {
            *total += counter.get();
        }
        self.sum_ns = self.sum_ns.wrapping_add(histogram.sum_ns.get());
    }

    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.buckets, other.buckets, "only like can be added to like");
        for (total, count) in self.counts.iter_mut().zip(&other.counts) {
            *total += count;
        }
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
    }

    /// How many durations there were. Derived from the buckets, so that it equals the last one
    /// even when the worker was in the middle of a `record`.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// What has come since `before`, an earlier reading of the same.
    pub fn since(&self, before: &Self) -> Self {
        debug_assert_eq!(self.buckets, before.buckets, "only like can be taken from like");
        let pairs = self.counts.iter().zip(&before.counts);
        Self {
            buckets: self.buckets,
            counts: pairs.map(|(now, before)| now.saturating_sub(*before)).collect(),
            sum_ns: self.sum_ns.wrapping_sub(before.sum_ns),
        }
    }

    /// `None` if there were no durations.
    pub fn quantiles(&self) -> Option<Quantiles> {
        Some(Quantiles {
            p50_ns: self.quantile(50)?,
            p95_ns: self.quantile(95)?,
            p99_ns: self.quantile(99)?,
        })
    }

    /// The duration that `percent` of all do not exceed, in nanoseconds, as if the durations of a
    /// bucket were spread evenly over it. Of what is beyond the last bound only that is known.
    fn quantile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let (mut below, mut from) = (0, 0);
        for (&to, &count) in self.buckets.0.iter().zip(&self.counts) {
            if below + count >= rank {
                let share = (to - from) as f64 * (rank - below) as f64 / count as f64;
                return Some(from + share as u64);
            }
            (below, from) = (below + count, to);
        }
        (self.count() > 0).then_some(from)
    }

    /// The bounds in nanoseconds, each with the number of durations up to it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        self.buckets.0.iter().copied().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [&Buckets; 4] = [&REQUEST_DURATION, &OVERHEAD, &CONNECT, &FIRST_BYTE];

    fn total(histograms: &[Histogram]) -> HistogramTotal {
        let mut total = HistogramTotal::new(histograms[0].buckets);
        histograms.iter().for_each(|histogram| total.add(histogram));
        total
    }

    #[test]
    fn bounds_rise() {
        for buckets in ALL {
            assert!(buckets.0.is_sorted_by(|a, b| a < b), "{buckets:?}");
        }
    }

    #[test]
    fn a_duration_equal_to_a_bound_counts_below_it() {
        let histogram = Histogram::new(&OVERHEAD);
        histogram.record(2_000);
        histogram.record(2_001);
        let counted: Vec<_> = total(&[histogram]).cumulative().take(2).collect();
        assert_eq!(counted, [(2_000, 1), (5_000, 2)]);
    }

    #[test]
    fn a_duration_beyond_all_bounds_is_in_the_count_and_the_sum_only() {
        let histogram = Histogram::new(&OVERHEAD);
        histogram.record(SECOND);
        let total = total(&[histogram]);
        assert_eq!(total.cumulative().last(), Some((50 * MILLISECOND, 0)));
        assert_eq!((total.count(), total.sum_ns()), (1, SECOND));
    }

    #[test]
    fn workers_add_up() {
        let workers = [Histogram::new(&REQUEST_DURATION), Histogram::new(&REQUEST_DURATION)];
        workers[0].record(MILLISECOND);
        workers[1].record(2 * MILLISECOND);
        workers[1].record(400 * SECOND);
        let total = total(&workers);
        assert_eq!(total.count(), 3);
        assert_eq!(total.sum_ns(), 3 * MILLISECOND + 400 * SECOND);
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_rank() {
        let histogram = Histogram::new(&CONNECT);
        (0..90).for_each(|_| histogram.record(80 * MICROSECOND));
        (0..9).for_each(|_| histogram.record(2 * MILLISECOND));
        histogram.record(60 * SECOND);
        let quantiles = total(&[histogram]).quantiles().unwrap();
        assert!(quantiles.p50_ns < 100 * MICROSECOND, "{quantiles:?}");
        let slow = MILLISECOND..=2_500 * MICROSECOND;
        assert!(slow.contains(&quantiles.p95_ns) && slow.contains(&quantiles.p99_ns));
    }

    #[test]
    fn no_durations_have_no_quantiles_and_endless_ones_the_last_bound() {
        assert_eq!(HistogramTotal::new(&CONNECT).quantiles(), None);
        let histogram = Histogram::new(&CONNECT);
        histogram.record(u64::MAX);
        assert_eq!(total(&[histogram]).quantiles().unwrap().p50_ns, 5 * SECOND);
    }

    proptest! {
        #[test]
        fn the_bucket_is_the_one_that_a_search_finds(ns: u64) {
            for buckets in ALL {
                prop_assert_eq!(buckets.index(ns), buckets.0.partition_point(|&b| b < ns));
            }
        }
    }
}
