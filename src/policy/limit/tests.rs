//! The promises of the algorithms: never more than a burst and what came since, nothing lost.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn rate(credits: u64, period_ms: u64) -> Rate {
    Rate { credits, period: Duration::from_millis(period_ms) }
}

fn limiter(algorithm: Algorithm, rate: Rate, burst: u64) -> Limiter {
    Limiter::new(&Settings { algorithm, rate, burst })
}

fn bucket(credits: u64, period_ms: u64, burst: u64) -> Limiter {
    limiter(Algorithm::TokenBucket, rate(credits, period_ms), burst)
}

fn window(credits: u64, period_ms: u64) -> Limiter {
    limiter(Algorithm::SlidingWindow, rate(credits, period_ms), credits)
}

fn warm_up(credits: u64, burst: u64, seconds: u64) -> Limiter {
    let warming = Warming { time: Duration::from_secs(seconds), cold: 0.1 };
    limiter(Algorithm::WarmUp(warming), rate(credits, 1000), burst)
}

/// How many are admitted one by one at `now`.
fn admitted(limiter: &Limiter, now: u64) -> u64 {
    std::iter::repeat_with(|| limiter.take(1, now)).take_while(Result::is_ok).count() as u64
}

#[test]
fn a_bucket_has_its_burst_and_then_its_rate() {
    let bucket = bucket(10, 1000, 5);
    assert_eq!(admitted(&bucket, SECOND), 5);
    assert_eq!(bucket.take(1, SECOND), Err(Rejected { wait_ns: 100 * MS }));
    assert_eq!(admitted(&bucket, SECOND + 99 * MS), 0);
    assert_eq!(admitted(&bucket, SECOND + 100 * MS), 1);
    assert_eq!(admitted(&bucket, 100 * SECOND), 5);
}

#[test]
fn the_wait_is_exact() {
    let bucket = bucket(3, 1000, 2);
    assert_eq!(admitted(&bucket, 0), 2);
    let Err(Rejected { wait_ns }) = bucket.take(1, 0) else { panic!("it is empty") };
    assert!(bucket.check(1, wait_ns - 1).is_err());
    assert!(bucket.check(1, wait_ns).is_ok());
}

#[test]
fn several_credits_are_taken_together_or_not_at_all() {
    for limiter in [bucket(10, 1000, 10), window(10, 1000)] {
        assert!(limiter.take(7, SECOND).is_ok());
        assert!(limiter.take(4, SECOND).is_err());
        assert!(limiter.take(3, SECOND).is_ok());
        assert_eq!(limiter.take(11, 100 * SECOND), Err(Rejected::NEVER));
        assert!(limiter.take(0, SECOND).is_ok());
    }
}

#[test]
fn a_rejected_request_costs_nothing() {
    for limiter in [bucket(10, 1000, 10), window(10, 1000), warm_up(10, 10, 1)] {
        while limiter.take(1, SECOND).is_ok() {}
        let Err(before) = limiter.take(1, SECOND) else { panic!("it is used up") };
        assert!((0..1000).all(|_| limiter.take(1, SECOND) == Err(before)));

        assert_eq!(limiter.take(1, SECOND), Err(before));
    }
}

#[test]
fn what_is_given_back_can_be_taken_again_and_no_more() {
    let bucket = bucket(10, 1000, 5);
    assert_eq!(admitted(&bucket, SECOND), 5);
    bucket.give_back(2);
    assert_eq!(admitted(&bucket, SECOND), 2);
    // What came back by itself meanwhile is not given twice.
    bucket.give_back(2);
    assert_eq!(admitted(&bucket, 100 * SECOND), 5);
}

#[test]
fn a_clock_that_stands_or_steps_back_gives_nothing() {
    for limiter in [bucket(10, 1000, 5), window(5, 500), warm_up(10, 50, 1)] {
        let first = admitted(&limiter, 10 * SECOND);
        assert_eq!(first, 5);
        assert_eq!(admitted(&limiter, 10 * SECOND), 0);
        assert_eq!(admitted(&limiter, 5 * SECOND), 0);
        assert_eq!(admitted(&limiter, 0), 0);
        assert_eq!(admitted(&limiter, 1000 * SECOND), 5, "{limiter:?}");
    }
}

#[test]
fn a_clock_at_its_end_admits_nobody() {
    for limiter in [bucket(1, 1000, 2), window(2, 1000), warm_up(2, 2, 1)] {
        for now in [u64::MAX / 16, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            assert!(admitted(&limiter, now) <= 2, "{limiter:?}");
            limiter.level(now);
        }
        assert_eq!(admitted(&limiter, u64::MAX), 0, "{limiter:?}");
    }
}

#[test]
fn a_window_frees_each_place_by_itself() {
    let window = window(3, 1000);
    for at in [0, 400, 800] {
        assert!(window.take(1, at * MS).is_ok());
    }
    assert_eq!(window.take(1, 900 * MS), Err(Rejected { wait_ns: 100 * MS }));
    assert_eq!(admitted(&window, 1000 * MS), 1);
    assert_eq!(admitted(&window, 1399 * MS), 0);
    assert_eq!(admitted(&window, 1800 * MS), 2);
    assert_eq!(window.level(1800 * MS).remaining, 0);
}

#[test]
fn a_level_tells_what_is_left_and_when_all_is_back() {
    let bucket = bucket(10, 1000, 5);
    bucket.take(2, SECOND).unwrap();
    assert_eq!(bucket.level(SECOND), Level { limit: 5, remaining: 3, reset_ns: 200 * MS });
    let window = window(5, 1000);
    window.take(2, SECOND).unwrap();
    assert_eq!(window.level(SECOND), Level { limit: 5, remaining: 3, reset_ns: SECOND });
    assert_eq!(window.level(3 * SECOND), Level { limit: 5, remaining: 5, reset_ns: 0 });
}

/// How many of 1000 a second are admitted in the second from `from`.
fn pace(limiter: &Limiter, from: u64) -> u64 {
    (0..1000).map(|step| admitted(limiter, from + step * MS)).sum()
}

#[test]
fn a_warm_up_grows_from_a_share_to_the_whole_rate() {
    let limiter = warm_up(100, 1, 10);
    let paces: Vec<u64> = (1..15).map(|second| pace(&limiter, second * SECOND)).collect();
    assert!((10..=20).contains(&paces[0]), "{paces:?}");
    assert!((50..=65).contains(&paces[5]), "{paces:?}");
    assert!((99..=100).contains(&paces[12]), "{paces:?}");
    assert!(paces.is_sorted(), "{paces:?}");
}

#[test]
fn a_warm_up_gets_cold_by_resting_as_long_as_it_takes_to_warm_up() {
    let limiter = warm_up(100, 1, 10);
    for second in 1..15 {
        pace(&limiter, second * SECOND);
    }
    assert!(pace(&limiter, 24 * SECOND) >= 99, "9 s of rest are too few");
    assert!(pace(&limiter, 36 * SECOND) <= 20, "11 s of rest make it cold");
}

#[test]
fn a_cold_warm_up_has_no_burst_to_speak_of() {
    let limiter = warm_up(100, 100, 10);
    assert_eq!(admitted(&limiter, SECOND), 10);
}

#[test]
fn other_settings_go_on_with_the_same_share() {
    let now = 10 * SECOND;
    let old = bucket(10, 1000, 100);
    old.take(75, now).unwrap();
    for (new, left) in [(bucket(10, 1000, 40), 10), (window(40, 1000), 10), (window(8, 60_000), 2)]
    {
        new.resume(&old.carry(now), now);
        assert_eq!(admitted(&new, now), left, "{new:?}");
    }
    let old = window(40, 1000);
    old.take(10, now).unwrap();
    let new = bucket(10, 1000, 100);
    new.resume(&old.carry(now), now);
    assert_eq!(admitted(&new, now), 75);
}

#[test]
fn the_same_settings_go_on_where_they_were() {
    let now = 10 * SECOND;
    let (old, new) = (window(200, 1000), window(200, 1000));
    (0..150).for_each(|step| old.take(1, now + step * MS).unwrap());
    let now = now + 150 * MS;
    new.resume(&old.carry(now), now);
    for at in [now, now + 850 * MS, now + 900 * MS] {
        assert_eq!(new.level(at).remaining, old.level(at).remaining);
    }
    let (old, new) = (warm_up(100, 10, 10), warm_up(100, 10, 10));
    for second in 1..6 {
        pace(&old, second * SECOND);
    }
    new.resume(&old.carry(6 * SECOND), 6 * SECOND);
    let (old, new) = (pace(&old, 6 * SECOND), pace(&new, 6 * SECOND));
    assert!(new.abs_diff(old) <= 1, "{new} after {old}");
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let buckets = KeyedBuckets::new(Terms::new(rate(10, 1000), 2), 1000);
    let taken = |key| (0..5).filter(|_| buckets.take(key, 1, SECOND).is_ok()).count();
    assert!((0..100).all(|key| taken(key) == 2));
    assert_eq!(buckets.known(SECOND, SECOND), 100);
    assert_eq!(buckets.known(SECOND, 3 * SECOND), 0);
    assert!(buckets.check(7, 1, SECOND).is_err());
    let entry = buckets.take(7, 1, 2 * SECOND).unwrap();
    buckets.give_back(entry, 1);
    assert_eq!(buckets.level(7, 2 * SECOND).remaining, 2);
}

#[test]
fn a_flood_of_keys_shares_one_bucket_once_all_places_are_in_debt() {
    let buckets = KeyedBuckets::new(Terms::new(rate(10, 1000), 2), 640);
    let admitted = (0..10_000).filter(|key| buckets.take(*key, 1, SECOND).is_ok()).count();
    assert!(admitted <= 640 + 2, "{admitted}");
    assert!(buckets.overflowed() as usize >= 10_000 - 640);
    // A tenth of a second later all are full, and any may go.
    assert!((20_000..20_100).all(|key| buckets.take(key, 1, SECOND + 100 * MS).is_ok()));
}

#[test]
fn keyed_buckets_carry_their_debts_over() {
    let old = KeyedBuckets::new(Terms::new(rate(10, 1000), 10), 100);
    let new = KeyedBuckets::new(Terms::new(rate(10, 1000), 20), 1000);
    assert!(old.take(1, 5, SECOND).is_ok() && old.take(2, 10, SECOND).is_ok());
    new.resume(old.carry(SECOND), SECOND);
    let left = |key| new.level(key, SECOND).remaining;
    assert_eq!((left(1), left(2), left(3)), (10, 0, 20));
}

#[test]
fn counts_by_key_never_exceed_their_limit() {
    let counts = KeyedCounts::new(64);
    let taken: Vec<_> = (0..3).map(|_| counts.take(1, 2)).collect();
    assert!(taken[1].is_some() && taken[2].is_none() && !counts.has_room(1, 2));
    assert_eq!(counts.known(), 1);
    taken.into_iter().flatten().for_each(|entry| counts.give_back(entry));
    assert!(counts.has_room(1, 2) && counts.known() == 0);
}

/// Requests of one or more credits, each some time after the one before; some clocks are behind.
fn requests() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((0..400 * MS, 1..4u64, 0..2 * MS), 1..300)
}

/// When what was admitted, by the clock of whoever asked.
fn play(limiter: &Limiter, requests: &[(u64, u64, u64)]) -> Vec<(u64, u64)> {
    let mut now = SECOND;
    let mut admitted = Vec::new();
    for (after, cost, behind) in requests {
        now += after;
        let at = now - behind;
        let checked = limiter.check(*cost, at);
        let taken = limiter.take(*cost, at);
        assert_eq!(checked, taken, "nobody else asks");
        if taken.is_ok() {
            admitted.push((at, *cost));
        }
    }
    admitted.sort_unstable();
    admitted
}

proptest! {
    #[test]
    fn a_bucket_never_admits_more_than_a_burst_and_its_rate(
        requests in requests(), credits in 1..50u64, burst in 1..20u64,
    ) {
        let admitted = play(&bucket(credits, 1000, burst), &requests);
        for first in 0..admitted.len() {
            let mut sum = 0;
            for (at, cost) in &admitted[first..] {
                sum += cost;
                // Clocks are up to 2 ms apart.
                let time = at - admitted[first].0 + 2 * MS;
                let most = u128::from(burst) * u128::from(SECOND)
                    + u128::from(credits) * u128::from(time);
                prop_assert!(u128::from(sum) * u128::from(SECOND) <= most);
            }
        }
    }

    #[test]
    fn a_bucket_that_is_always_asked_admits_all_that_it_may(
        credits in 1..1000u64, burst in 2..50u64,
    ) {
        let bucket = bucket(credits, 1000, burst);
        let sum: u64 = (0..=2000).map(|step| admitted(&bucket, step * MS)).sum();
        let most = burst + 2 * credits;
        prop_assert!(sum <= most && sum + 1 >= most, "{} of {}", sum, most);
    }

    #[test]
    fn a_window_never_admits_more_than_its_limit_in_any_stretch(
        requests in requests(), credits in 1..20u64, period in 1..2000u64,
    ) {
        let admitted = play(&window(credits, period), &requests);
        for (first, (from, _)) in admitted.iter().enumerate() {
            let within = admitted[first..].iter().take_while(|(at, _)| *at < from + period * MS);
            prop_assert!(within.map(|(_, cost)| cost).sum::<u64>() <= credits);
        }
    }

    #[test]
    fn a_warm_up_never_admits_more_than_a_bucket_of_its_last_rate(
        requests in requests(), credits in 1..50u64, burst in 1..20u64,
    ) {
        let limiter = warm_up(credits, burst, 5);
        let mut now = SECOND;
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        let mut began = None;
        for (after, cost, _) in requests {
            now += after;
            if limiter.take(cost, now).is_err() {
                continue;
            }
            let began = *began.get_or_insert(now);
            admitted.push((now, cost));
            let warmth = ((now - began) as f64 / (5 * SECOND) as f64).min(1.0);
            let present = credits as f64 * (0.1 + 0.9 * warmth);
            let mut sum = 0;
            for (at, cost) in admitted.iter().rev() {
                sum += cost;
                let most = burst as f64 + present * (now - at) as f64 / SECOND as f64;
                prop_assert!(sum as f64 <= most + 1e-6, "{} above {}", sum, most);
            }
        }
    }

    #[test]
    fn carrying_over_never_gives_credit(used in 0..100u64, old in 1..100u64, new in 1..100u64) {
        let now = 10 * SECOND;
        let used = used.min(old);
        for before in [bucket(10, 1000, old), window(old, 1000)] {
            before.take(used, now).unwrap();
            for after in [bucket(10, 1000, new), window(new, 1000)] {
                after.resume(&before.carry(now), now);
                let left = after.level(now).remaining;
                let fair = (old - used) as f64 / old as f64 * new as f64;
                prop_assert!(left as f64 <= fair + 1e-3 && left as f64 >= fair - 1.001);
            }
        }
    }
}
