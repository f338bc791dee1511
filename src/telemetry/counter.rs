//! Numbers that go up.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count with one writing thread and any number of readers.
///
/// The writer loads and stores; it needs no locked instruction. Two writers at once would lose
/// counts (never more than that), so several writers take a [`SharedCounter`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.set(self.get().wrapping_add(n));
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// A number that goes up and down; one writer, as a [`Counter`] has.
#[derive(Debug, Default)]
pub struct Gauge(Counter);

impl Gauge {
    /// Moves it by the difference between what a part of it was and is.
    pub fn change(&self, was: u64, is: u64) {
        self.0.set((self.0.get() + is).saturating_sub(was));
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// A count that several threads write.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One [`Counter`] for each value of a label. The values are those of an enum, known beforehand.
#[derive(Debug)]
pub struct Labelled {
    labels: &'static [&'static str],
    counters: Box<[Counter]>,
}

impl Labelled {
    pub fn new(labels: &'static [&'static str]) -> Self {
        Self { labels, counters: labels.iter().map(|_| Counter::default()).collect() }
    }

    /// Counts one for the label at `index`, usually an enum's discriminant.
    pub fn inc(&self, index: usize) {
        debug_assert!(index < self.counters.len(), "label {index} of {:?}", self.labels);
        if let Some(counter) = self.counters.get(index) {
            counter.inc();
        }
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.counters.iter().map(Counter::get).sum()
    }

    /// Every label with its count, also those at zero.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.labels.iter().copied().zip(self.counters.iter().map(Counter::get))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_adds_up() {
        let counter = Counter::default();
        counter.inc();
        counter.add(41);
        assert_eq!(counter.get(), 42);
    }

    #[test]
    fn a_shared_counter_loses_nothing_between_threads() {
        let counter = SharedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), 40_000);
    }

    #[test]
    fn labels_are_listed_even_when_they_were_never_counted() {
        let refused = Labelled::new(&["head_too_large", "no_route"]);
        refused.inc(1);
        let listed: Vec<_> = refused.iter().collect();
        assert_eq!(listed, [("head_too_large", 0), ("no_route", 1)]);
    }
}
