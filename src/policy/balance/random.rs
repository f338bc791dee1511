//! Endpoints drawn at random.

use super::{Balancer, Candidates};

impl Balancer {
    /// Each in proportion to its weight.
    pub(super) fn random(&self, candidates: &impl Candidates) -> Option<usize> {
        self.drawn(candidates, None)
    }

    /// Of two drawn by weight the one with less in flight. Weights count in the draw alone:
    /// dividing by them once more would leave a light endpoint idle beside a heavy one.
    pub(super) fn two_choices(&self, candidates: &impl Candidates) -> Option<usize> {
        let first = self.drawn(candidates, None)?;
        let Some(second) = self.drawn(candidates, Some(first)) else { return Some(first) };
        let is_busier = candidates.in_flight(second) >= candidates.in_flight(first);
        Some(if is_busier { first } else { second })
    }

    fn drawn(&self, candidates: &impl Candidates, except: Option<usize>) -> Option<usize> {
        let choices = || self.admitted(candidates).filter(|index| Some(*index) != except);
        let total: u64 = choices().map(|index| self.weight(candidates, index)).sum();
        let mut left = below(candidates.draw(), total);
        let mut last = None;
        for index in choices() {
            last = Some(index);
            match left.checked_sub(self.weight(candidates, index)) {
                Some(rest) => left = rest,
                None => break,
            }
        }
        // The last one too when others have taken what was there at the first look.
        last
    }
}

/// `draw` scaled to `0..bound`; its bias is below `bound / 2^64`.
fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}
