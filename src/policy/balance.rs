//! Which endpoint is next.

/// Smooth weighted round robin: every endpoint in proportion to its weight, spread as evenly as
/// that allows (the order nginx made popular: weights 5, 1, 1 give a a b a c a a).
///
/// Each turn adds every weight to its endpoint's score, picks the highest, and takes the sum of
/// the weights from the one that was picked. After `sum` turns all scores are where they began.
#[derive(Debug, Clone)]
pub struct RoundRobin {
    scores: Vec<i64>,
}

impl RoundRobin {
    pub fn new(endpoints: usize) -> Self {
        Self { scores: vec![0; endpoints] }
    }

    /// The next endpoint with a weight above 0 that `usable` admits, by its index.
    pub fn next(
        &mut self,
        weight: impl Fn(usize) -> u32,
        usable: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        if self.scores.len() == 1 {
            return (weight(0) > 0 && usable(0)).then_some(0);
        }
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..self.scores.len() {
            let weight = i64::from(weight(index));
            if weight == 0 || !usable(index) {
                continue;
            }
            total += weight;
            self.scores[index] += weight;
            if best.is_none_or(|best| self.scores[index] > self.scores[best]) {
                best = Some(index);
            }
        }
        let best = best?;
        self.scores[best] -= total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], usable: impl Fn(usize) -> bool, count: usize) -> Vec<usize> {
        let mut balance = RoundRobin::new(weights.len());
        (0..count).filter_map(|_| balance.next(|i| weights[i], &usable)).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(turns(&[1, 1, 1], |_| true, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn weights_are_kept_in_every_cycle_and_spread_out() {
        assert_eq!(turns(&[5, 1, 1], |_| true, 7), [0, 0, 1, 0, 2, 0, 0]);
        let many = turns(&[3, 2, 1], |_| true, 600);
        for cycle in many.chunks(6) {
            let count = |wanted| cycle.iter().filter(|i| **i == wanted).count();
            assert_eq!([count(0), count(1), count(2)], [3, 2, 1]);
        }
    }

    #[test]
    fn what_is_drained_or_unusable_is_passed_over() {
        assert_eq!(turns(&[1, 0, 1], |i| i != 2, 3), [0, 0, 0]);
        assert_eq!(turns(&[0], |_| true, 1), Vec::<usize>::new());
        assert_eq!(turns(&[1, 1], |_| false, 1), Vec::<usize>::new());
    }
}
