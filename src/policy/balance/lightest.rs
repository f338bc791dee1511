//! The endpoint with the least to do.

use std::sync::atomic::AtomicU64;

use super::{Balancer, Candidates, has_ramped};

/// What an endpoint that has not answered yet is taken for when no other has either.
const LATENCY_UNKNOWN_NS: f32 = 1e6;

impl Balancer {
    pub(super) fn least_requests(
        &self,
        candidates: &impl Candidates,
        turn: &AtomicU64,
    ) -> Option<usize> {
        self.lightest(candidates, turn, |index| f64::from(candidates.in_flight(index)))
    }

    /// Without an answer yet, an endpoint is taken to be as fast as the fastest: it is tried, but
    /// what is in flight there counts, so that it is not flooded before it has shown itself.
    pub(super) fn peak_ewma(
        &self,
        candidates: &impl Candidates,
        turn: &AtomicU64,
    ) -> Option<usize> {
        let known = self.admitted(candidates).filter_map(|index| candidates.latency(index));
        let fastest = known.reduce(f32::min).unwrap_or(LATENCY_UNKNOWN_NS);
        self.lightest(candidates, turn, |index| {
            let latency = candidates.latency(index).unwrap_or(fastest);
            f64::from(latency) * (f64::from(candidates.in_flight(index)) + 1.0)
        })
    }

    /// The smallest load for its weight. Those that tie take turns.
    fn lightest(
        &self,
        candidates: &impl Candidates,
        turn: &AtomicU64,
        load: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let load = |index| load(index) / self.weight(candidates, index) as f64;
        let mut best: Option<(usize, f64)> = None;
        let mut ties = 0;
        for index in self.admitted(candidates) {
            let load = load(index);
            match best {
                Some((_, least)) if load > least => {}
                Some((_, least)) if load == least => ties += 1,
                _ => (best, ties) = (Some((index, load)), 0),
            }
        }
        let (best, least) = best?;
        if ties == 0 {
            return Some(best);
        }
        let among = |index| candidates.admits(index) && load(index) <= least;
        let in_turn = self.turns.next(turn, among, |index| has_ramped(candidates, index));
        // Other workers pick at the same time: the ties may be broken by now.
        in_turn.or(Some(best))
    }
}
