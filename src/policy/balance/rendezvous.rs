//! Consistent hashing by the highest random weight (Thaler and Ravishankar, 1998).
//!
//! Every endpoint has a score for a key, and the highest wins. When an endpoint leaves, its keys
//! alone move, to all others alike: no ring does better than that, and there is no table to
//! build. The price is a look at each endpoint: some 20 ns, most of it the logarithm.

use super::{Balancer, Candidates};

#[derive(Debug)]
pub(super) struct Rendezvous {
    /// A number for each endpoint that depends on its name only.
    seeds: Box<[u64]>,
    load_bound: f64,
}

impl Rendezvous {
    pub(super) fn new(names: &[&str], load_bound: f64) -> Self {
        // Two endpoints may have one name, such as two models behind one address.
        let seed = |(index, name): (usize, &&str)| {
            let same_before = names[..index].iter().filter(|other| *other == name).count();
            mix(hash(name.as_bytes()) ^ same_before as u64)
        };
        Self { seeds: names.iter().enumerate().map(seed).collect(), load_bound }
    }
}

impl Balancer {
    pub(super) fn by_key(&self, candidates: &impl Candidates, key: u64) -> Option<usize> {
        self.highest(candidates, key, |_| true)
    }

    /// Among those whose requests in flight, this one included, are at most `load_bound` times
    /// their share (Mirrokni, Thorup and Zadimoghaddam, 2016). There always is one below its
    /// bound; if others fill it meanwhile, the bound gives way.
    pub(super) fn by_key_within_bound(
        &self,
        candidates: &impl Candidates,
        key: u64,
    ) -> Option<usize> {
        let mut in_flight = 1;
        let mut weights = 0;
        for index in self.admitted(candidates) {
            in_flight += u64::from(candidates.in_flight(index));
            weights += self.weight(candidates, index);
        }
        let bound_for_weight = self.rendezvous.load_bound * in_flight as f64 / weights as f64;
        let is_within = |index| {
            let bound = bound_for_weight * self.weight(candidates, index) as f64;
            f64::from(candidates.in_flight(index)) < bound.ceil()
        };
        let within = self.highest(candidates, key, is_within);
        within.or_else(|| self.by_key(candidates, key))
    }

    fn highest(
        &self,
        candidates: &impl Candidates,
        key: u64,
        allows: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for index in self.admitted(candidates).filter(|index| allows(*index)) {
            let score = score(key ^ self.rendezvous.seeds[index], self.weight(candidates, index));
            if best.is_none_or(|(_, highest)| score > highest) {
                best = Some((index, score));
            }
        }
        best.map(|(index, _)| index)
    }
}

/// An endpoint of twice the weight wins twice the keys: `-weight / ln(u)`, `u` uniform in (0, 1).
fn score(seed: u64, weight: u64) -> f64 {
    // 53 bits fill the mantissa; the half keeps the logarithm away from 0 and 1.
    let uniform = ((mix(seed) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    weight as f64 / -uniform.ln()
}

/// A number for a key, the same on every machine and in every run: 8 bytes at a time.
pub fn hash(key: &[u8]) -> u64 {
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let begin = mix(key.len() as u64);
    let words = words.iter().chain([&last]);
    words.fold(begin, |state, word| mix(state ^ u64::from_le_bytes(*word)))
}

/// Spreads every bit over all others (the finalizer of SplitMix64).
fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
