//! How requests spread, over simulated endpoints.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::{Algorithm, Balancer, Candidates, FULL, hash};

/// Endpoints as a test wants them.
struct Endpoints {
    in_flight: RefCell<Vec<u32>>,
    latency: Vec<Option<f32>>,
    ramp: Vec<u32>,
    absent: Option<usize>,
    random: Cell<u64>,
}

impl Endpoints {
    fn idle(count: usize) -> Self {
        Self {
            in_flight: RefCell::new(vec![0; count]),
            latency: vec![None; count],
            ramp: vec![FULL; count],
            absent: None,
            random: Cell::new(1),
        }
    }

    fn begin(&self, index: usize) {
        self.in_flight.borrow_mut()[index] += 1;
    }

    fn end(&self, index: usize) {
        self.in_flight.borrow_mut()[index] -= 1;
    }
}

impl Candidates for Endpoints {
    fn admits(&self, index: usize) -> bool {
        self.absent != Some(index)
    }

    fn ramp(&self, index: usize) -> u32 {
        self.ramp[index]
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.in_flight.borrow()[index]
    }

    fn latency(&self, index: usize) -> Option<f32> {
        self.latency[index]
    }

    fn draw(&self) -> u64 {
        let next = self.random.get().wrapping_mul(0xd129_42f2_e2a6_7d33).wrapping_add(1);
        self.random.set(next);
        hash(&next.to_le_bytes())
    }
}

fn balancer(algorithm: Algorithm, weights: &[u32]) -> Balancer {
    let names: Vec<String> = (0..weights.len()).map(|n| format!("10.0.0.{n}:80")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Balancer::new(algorithm, weights, &names, 1.25)
}

/// Picks one after the other, each ended before the next.
fn one_by_one(balancer: &Balancer, endpoints: &Endpoints, count: usize) -> Vec<usize> {
    let turn = AtomicU64::new(0);
    (0..count).map(|_| balancer.pick(endpoints, &turn, None).expect("one is there")).collect()
}

fn share(picks: &[usize], index: usize) -> f64 {
    picks.iter().filter(|pick| **pick == index).count() as f64 / picks.len() as f64
}

/// Requests served by each endpoint when `clients` always have one in flight, and an endpoint
/// takes `times[i]` for each.
fn saturated(balancer: &Balancer, times: &[u64], clients: usize, requests: usize) -> Vec<usize> {
    let endpoints = Endpoints::idle(times.len());
    let turn = AtomicU64::new(0);
    let mut served = vec![0; times.len()];
    let mut ends = BinaryHeap::new();
    let begin = |ends: &mut BinaryHeap<_>, now: u64| {
        let index = balancer.pick(&endpoints, &turn, None).expect("one is there");
        endpoints.begin(index);
        ends.push(Reverse((now + times[index], index)));
    };
    (0..clients).for_each(|_| begin(&mut ends, 0));
    for _ in 0..requests {
        let Reverse((now, index)) = ends.pop().expect("every client has one in flight");
        endpoints.end(index);
        served[index] += 1;
        begin(&mut ends, now);
    }
    served
}

#[test]
fn a_slow_endpoint_gets_at_most_a_twelfth_under_least_requests() {
    for algorithm in [Algorithm::LeastRequests, Algorithm::TwoChoices] {
        let balancer = balancer(algorithm, &[1; 4]);
        for clients in [8, 32, 64] {
            let served = saturated(&balancer, &[10, 10, 10, 100], clients, 20_000);
            assert!(served[3] * 12 <= 20_000, "{algorithm:?} with {clients}: {served:?}");
        }
    }
}

#[test]
fn least_requests_gives_a_double_weight_twice_as_much_in_flight() {
    let balancer = balancer(Algorithm::LeastRequests, &[2, 1]);
    let endpoints = Endpoints::idle(2);
    let turn = AtomicU64::new(0);
    for _ in 0..30 {
        let index = balancer.pick(&endpoints, &turn, None).unwrap();
        endpoints.begin(index);
    }
    assert_eq!(*endpoints.in_flight.borrow(), [20, 10]);
}

#[test]
fn idle_endpoints_take_turns_by_weight_under_least_requests() {
    let picks = one_by_one(&balancer(Algorithm::LeastRequests, &[3, 1]), &Endpoints::idle(2), 400);
    assert_eq!(share(&picks, 0), 0.75);
}

#[test]
fn random_picks_follow_the_weights() {
    for algorithm in [Algorithm::Random, Algorithm::TwoChoices] {
        let picks = one_by_one(&balancer(algorithm, &[3, 1, 0]), &Endpoints::idle(3), 20_000);
        assert!((0.73..0.77).contains(&share(&picks, 0)), "{algorithm:?}");
        assert_eq!(share(&picks, 2), 0.0);
    }
}

#[test]
fn peak_ewma_prefers_the_fast_one_and_counts_what_is_in_flight() {
    let balancer = balancer(Algorithm::PeakEwma, &[1, 1]);
    let turn = AtomicU64::new(0);
    let mut endpoints = Endpoints::idle(2);
    endpoints.latency = vec![Some(1e6), Some(10e6)];
    for _ in 0..11 {
        let index = balancer.pick(&endpoints, &turn, None).unwrap();
        endpoints.begin(index);
    }
    assert_eq!(*endpoints.in_flight.borrow(), [10, 1]);
}

#[test]
fn peak_ewma_does_not_flood_an_endpoint_that_has_not_answered_yet() {
    let balancer = balancer(Algorithm::PeakEwma, &[1, 1]);
    let turn = AtomicU64::new(0);
    let mut endpoints = Endpoints::idle(2);
    endpoints.latency = vec![Some(1e6), None];
    for _ in 0..20 {
        let index = balancer.pick(&endpoints, &turn, None).unwrap();
        endpoints.begin(index);
    }
    assert_eq!(*endpoints.in_flight.borrow(), [10, 10]);
}

#[test]
fn an_endpoint_that_starts_slowly_gets_a_part_of_its_share() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random, Algorithm::LeastRequests] {
        let mut endpoints = Endpoints::idle(4);
        endpoints.ramp[0] = FULL / 4;
        let picks = one_by_one(&balancer(algorithm, &[1; 4]), &endpoints, 20_000);
        // A quarter of a share beside three whole ones.
        let got = share(&picks, 0);
        assert!((0.06..0.09).contains(&got), "{algorithm:?}: {got}");
    }
}

#[test]
fn a_request_without_a_key_takes_its_turn() {
    let picks = one_by_one(&balancer(Algorithm::ConsistentHash, &[1; 3]), &Endpoints::idle(3), 6);
    assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
}

/// The endpoint of each of many keys.
fn homes(balancer: &Balancer, endpoints: &Endpoints) -> Vec<usize> {
    let turn = AtomicU64::new(0);
    let keys = (0..50_000u64).map(|key| hash(&key.to_le_bytes()));
    keys.map(|key| balancer.pick(endpoints, &turn, Some(key)).expect("one is there")).collect()
}

#[test]
fn keys_spread_evenly_and_by_weight() {
    for algorithm in [Algorithm::IpHash, Algorithm::ConsistentHash] {
        let homes = homes(&balancer(algorithm, &[2, 1, 1, 0]), &Endpoints::idle(4));
        assert!((0.48..0.52).contains(&share(&homes, 0)), "{algorithm:?}");
        assert!((0.23..0.27).contains(&share(&homes, 1)), "{algorithm:?}");
        assert_eq!(share(&homes, 3), 0.0);
    }
}

#[test]
fn a_leaving_endpoint_moves_its_own_keys_only_and_to_all_others() {
    let balancer = balancer(Algorithm::IpHash, &[1; 10]);
    let mut endpoints = Endpoints::idle(10);
    let before = homes(&balancer, &endpoints);
    endpoints.absent = Some(3);
    let after = homes(&balancer, &endpoints);
    let moved: Vec<usize> =
        before.iter().zip(&after).filter(|(a, b)| a != b).map(|(_, to)| *to).collect();
    assert!(before.iter().zip(&after).all(|(a, b)| a == b || *a == 3));
    assert!(moved.len() as f64 <= before.len() as f64 * 1.2 / 10.0, "{}", moved.len());
    assert!((0..10).filter(|index| *index != 3).all(|index| share(&moved, index) > 0.08));
}

#[test]
fn the_same_endpoints_in_another_order_keep_their_keys() {
    let names = ["a:80", "b:80", "c:80"];
    let mut turned = names;
    turned.rotate_left(1);
    let endpoints = Endpoints::idle(3);
    let one = homes(&Balancer::new(Algorithm::IpHash, &[1; 3], &names, 1.25), &endpoints);
    let other = homes(&Balancer::new(Algorithm::IpHash, &[1; 3], &turned, 1.25), &endpoints);
    assert!(one.iter().zip(&other).all(|(a, b)| names[*a] == turned[*b]));
}

#[test]
fn two_endpoints_of_one_name_both_get_keys() {
    let balancer = Balancer::new(Algorithm::IpHash, &[1; 2], &["a:80", "a:80"], 1.25);
    let homes = homes(&balancer, &Endpoints::idle(2));
    assert!((0.45..0.55).contains(&share(&homes, 0)));
}

proptest! {
    #[test]
    fn one_hot_key_never_takes_an_endpoint_beyond_its_bound(
        endpoints in 2usize..9,
        requests in 1u32..300,
        key: u64,
    ) {
        let balancer = balancer(Algorithm::ConsistentHash, &vec![1; endpoints]);
        let candidates = Endpoints::idle(endpoints);
        let turn = AtomicU64::new(0);
        for begun in 1..=requests {
            let index = balancer.pick(&candidates, &turn, Some(key)).unwrap();
            candidates.begin(index);
            let bound = (1.25 * f64::from(begun) / endpoints as f64).ceil();
            prop_assert!(f64::from(candidates.in_flight(index)) <= bound);
        }
    }

    #[test]
    fn nothing_that_is_drained_or_absent_is_ever_picked(
        weights in prop::collection::vec(0u32..4, 1..7),
        absent in 0usize..7,
        key: u64,
    ) {
        let mut endpoints = Endpoints::idle(weights.len());
        endpoints.absent = Some(absent);
        let possible = weights.iter().enumerate().any(|(n, weight)| *weight > 0 && n != absent);
        for algorithm in [
            Algorithm::RoundRobin,
            Algorithm::LeastRequests,
            Algorithm::Random,
            Algorithm::TwoChoices,
            Algorithm::IpHash,
            Algorithm::ConsistentHash,
            Algorithm::PeakEwma,
        ] {
            let turn = AtomicU64::new(key);
            let picked = balancer(algorithm, &weights).pick(&endpoints, &turn, Some(key));
            prop_assert_eq!(picked.is_some(), possible);
            prop_assert!(picked.is_none_or(|n| weights[n] > 0 && n != absent));
        }
    }
}
