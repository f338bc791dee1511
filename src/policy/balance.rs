//! Which endpoint is next.
//!
//! A [`Balancer`] is immutable and shared by all workers. What moves is handed in: the cluster's
//! turn, and the endpoints as they are at the time of the pick.

mod lightest;
mod random;
mod rendezvous;
mod turns;

pub mod ewma;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;

pub use self::rendezvous::hash;

use self::rendezvous::Rendezvous;
use self::turns::Turns;

/// How endpoints share the requests of a cluster. All but the hashes respect weights over time;
/// the hashes do over many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// By turns, spread as evenly as the weights allow.
    #[default]
    RoundRobin,
    /// The one with the fewest exchanges in flight for its weight.
    LeastRequests,
    Random,
    /// The less busy of two drawn at random.
    TwoChoices,
    /// The same endpoint for the same client address.
    IpHash,
    /// The same endpoint for the same key, unless it has more than its bounded share.
    ConsistentHash,
    /// The one with the shortest expected wait: recent time to first byte, times in flight.
    PeakEwma,
}

/// A whole share in units of [`Candidates::ramp`].
pub const FULL: u32 = 1024;

/// The endpoints of a cluster at the time of a pick, by index.
pub trait Candidates {
    /// Whether this request may go there at this moment.
    fn admits(&self, index: usize) -> bool;

    /// How much of its weight counts while it starts slowly, from 1 to [`FULL`].
    fn ramp(&self, index: usize) -> u32;

    /// Exchanges in flight there, of all workers.
    fn in_flight(&self, index: usize) -> u32;

    /// Recent time to first byte in nanoseconds; `None` before the first answer.
    fn latency(&self, index: usize) -> Option<f32>;

    /// 64 random bits.
    fn draw(&self) -> u64;
}

/// Picks endpoints of one cluster.
#[derive(Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    /// By endpoint; 0 is never picked.
    weights: Box<[u32]>,
    turns: Turns,
    rendezvous: Rendezvous,
}

impl Balancer {
    /// `names` tell endpoints apart for hashing, on every machine alike. `load_bound`: how many
    /// times its fair share of what is in flight an endpoint may have under consistent hashing.
    pub fn new(algorithm: Algorithm, weights: &[u32], names: &[&str], load_bound: f64) -> Self {
        debug_assert_eq!(weights.len(), names.len(), "every endpoint has a weight and a name");
        Self {
            algorithm,
            weights: weights.into(),
            turns: Turns::new(weights),
            rendezvous: Rendezvous::new(names, load_bound),
        }
    }

    /// The endpoint for a request whose hashed key, if it has one, is `key`. `turn` is the
    /// cluster's, shared by all who pick from it.
    pub fn pick(
        &self,
        candidates: &impl Candidates,
        turn: &AtomicU64,
        key: Option<u64>,
    ) -> Option<usize> {
        match (self.algorithm, key) {
            (Algorithm::RoundRobin, _) => self.in_turn(candidates, turn),
            (Algorithm::LeastRequests, _) => self.least_requests(candidates, turn),
            (Algorithm::PeakEwma, _) => self.peak_ewma(candidates, turn),
            (Algorithm::Random, _) => self.random(candidates),
            (Algorithm::TwoChoices, _) => self.two_choices(candidates),
            (Algorithm::IpHash, Some(key)) => self.by_key(candidates, key),
            (Algorithm::ConsistentHash, Some(key)) => self.by_key_within_bound(candidates, key),
            // Nothing to stick to: a request without the header or cookie that is hashed.
            (Algorithm::IpHash | Algorithm::ConsistentHash, None) => self.in_turn(candidates, turn),
        }
    }

    /// Those that can be picked at all: their weight is above 0.
    pub fn endpoints(&self) -> impl Iterator<Item = usize> {
        let weighted = self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        weighted.map(|(index, _)| index)
    }

    fn in_turn(&self, candidates: &impl Candidates, turn: &AtomicU64) -> Option<usize> {
        self.turns.next(
            turn,
            |index| candidates.admits(index),
            |index| has_ramped(candidates, index),
        )
    }

    /// Those that can be picked now.
    fn admitted(&self, candidates: &impl Candidates) -> impl Iterator<Item = usize> {
        self.endpoints().filter(|index| candidates.admits(*index))
    }

    /// Weight at this moment: at most 2^20.
    fn weight(&self, candidates: &impl Candidates, index: usize) -> u64 {
        u64::from(self.weights[index]) * u64::from(candidates.ramp(index))
    }
}

/// Whether an endpoint takes its turn: always, or as often as its slow start has come far.
fn has_ramped(candidates: &impl Candidates, index: usize) -> bool {
    let ramp = candidates.ramp(index);
    ramp >= FULL || candidates.draw() % u64::from(FULL) < u64::from(ramp)
}
