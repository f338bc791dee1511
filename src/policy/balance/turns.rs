//! Weighted round robin by a table: exact for all workers together, at the price of one shared
//! counter.

use std::sync::atomic::{AtomicU64, Ordering};

/// Turns in a cycle. Where the weights add up to more, they are scaled down to about this, which
/// changes a share by less than one part in six hundred for every weight of 1 % and more.
const CYCLE_MAX: u64 = 65_536;

/// The order of one cycle: every endpoint as often as its weight says, spread out.
#[derive(Debug)]
pub(super) struct Turns {
    /// Endpoint by turn.
    order: Box<[u32]>,
    endpoints: usize,
}

impl Turns {
    pub(super) fn new(weights: &[u32]) -> Self {
        let weights = reduced(weights);
        let mut due: Vec<(f64, u32)> = Vec::new();
        for (index, weight) in (0u32..).zip(&weights) {
            // Equal weights begin one after the other, so their order is that of the file.
            let phase = (f64::from(index) + 0.5) / weights.len() as f64;
            let turns = (0..*weight).map(|turn| (turn as f64 + phase) / *weight as f64);
            due.extend(turns.map(|at| (at, index)));
        }
        due.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let order = due.into_iter().map(|(_, index)| index).collect();
        Self { order, endpoints: weights.len() }
    }

    /// The next endpoint in turn that is admitted. A turn that is not used is used up: so the
    /// turns of an endpoint that is down go to all others alike, not to its successor.
    ///
    /// `takes`: whether an admitted endpoint takes this turn, or lets another one have it.
    pub(super) fn next(
        &self,
        turn: &AtomicU64,
        admits: impl Fn(usize) -> bool,
        takes: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut at = 0;
        for _ in 0..2 * self.endpoints.min(self.order.len()) {
            at = self.position(turn);
            let index = self.order[at] as usize;
            if admits(index) && takes(index) {
                return Some(index);
            }
        }
        // Few are admitted, or those have few turns: whoever comes first.
        let (before, from) = self.order.split_at(at);
        from.iter().chain(before).map(|index| *index as usize).find(|index| admits(*index))
    }

    fn position(&self, turn: &AtomicU64) -> usize {
        (turn.fetch_add(1, Ordering::Relaxed) % self.order.len() as u64) as usize
    }
}

/// The same proportions in the smallest numbers, or in numbers small enough.
fn reduced(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight))).max(1);
    let weights: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
    let total: u64 = weights.iter().sum();
    if total <= CYCLE_MAX {
        return weights;
    }
    let scaled = |weight: u64| (weight * CYCLE_MAX / total).max(u64::from(weight > 0));
    weights.into_iter().map(scaled).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(turns: &Turns, count: usize, admits: impl Fn(usize) -> bool) -> Vec<usize> {
        let turn = AtomicU64::new(0);
        (0..count).filter_map(|_| turns.next(&turn, &admits, |_| true)).collect()
    }

    fn counts(picks: &[usize], endpoints: usize) -> Vec<usize> {
        (0..endpoints).map(|index| picks.iter().filter(|pick| **pick == index).count()).collect()
    }

    #[test]
    fn equal_weights_take_turns_in_the_order_of_the_file() {
        assert_eq!(take(&Turns::new(&[4, 4, 4]), 6, |_| true), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavy_endpoint_does_not_take_its_turns_in_one_go() {
        let picks = take(&Turns::new(&[5, 1, 1]), 14, |_| true);
        let longest = picks.chunk_by(|a, b| a == b).map(<[usize]>::len).max();
        assert!(longest <= Some(4), "{picks:?}");
    }

    #[test]
    fn the_turns_of_an_absent_endpoint_go_to_all_others_alike() {
        let picks = take(&Turns::new(&[1, 1, 1, 1]), 300, |index| index != 1);
        assert_eq!(counts(&picks, 4), [100, 0, 100, 100]);
    }

    #[test]
    fn without_an_endpoint_there_is_no_pick() {
        assert_eq!(take(&Turns::new(&[0, 0]), 1, |_| true), [0usize; 0]);
        assert_eq!(take(&Turns::new(&[1, 1]), 1, |_| false), [0usize; 0]);
        assert_eq!(take(&Turns::new(&[]), 1, |_| true), [0usize; 0]);
    }

    #[test]
    fn the_only_one_admitted_is_found_however_few_turns_it_has() {
        assert_eq!(take(&Turns::new(&[1000, 1]), 3, |index| index == 1), [1, 1, 1]);
    }

    #[test]
    fn a_cycle_is_bounded() {
        let weights: Vec<u32> = (1..=1000).collect();
        let turns = Turns::new(&weights);
        assert!(turns.order.len() as u64 <= CYCLE_MAX + 1000);
        let order: Vec<usize> = turns.order.iter().map(|index| *index as usize).collect();
        assert!(counts(&order, 1000).iter().all(|count| *count > 0));
    }

    proptest! {
        #[test]
        fn every_window_of_one_cycle_is_exact(
            weights in prop::collection::vec(0u32..7, 1..8),
            start in 0usize..100,
        ) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            let picks = take(&Turns::new(&weights), start + total as usize, |_| true);
            let window = counts(&picks[start..], weights.len());
            prop_assert_eq!(window, weights.iter().map(|w| *w as usize).collect::<Vec<_>>());
        }
    }
}
