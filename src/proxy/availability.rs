//! Whether an endpoint takes requests: one word, which every pick reads and nobody locks.
//!
//! ```text
//!  bit 0-1           2            3-63
//!  +-----------------+------------+------------------------------+
//!  | admin state     | check says | circuit (policy/circuit):    |
//!  | of the operator | down       | what came of its requests    |
//!  +-----------------+------------+------------------------------+
//! ```
//!
//! Each part has its own writers; a change of one leaves the others as they are.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::circuit::{self, Change, Circuit, Entry, Kind, NOT_CLOSED, Probe, Settings};
use crate::runtime::clock::Instant;

/// What the operator wants of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdminState {
    #[default]
    Ready,
    /// It gets no new requests, but for those of clients that are bound to it.
    Drain,
    /// It gets none at all.
    Maintenance,
}

const ADMIN: u64 = 0b11;
const CHECK_DOWN: u64 = 0b100;
const CIRCUIT: u32 = 3;
/// What stands against an endpoint: all of it is 0 while it is available.
const AGAINST: u64 = ADMIN | CHECK_DOWN | NOT_CLOSED << CIRCUIT;

const _: () = assert!(CIRCUIT + circuit::BITS == u64::BITS);

/// See the module.
#[derive(Debug)]
pub struct Availability(AtomicU64);

impl Default for Availability {
    fn default() -> Self {
        Self(AtomicU64::new(Circuit::default().pack() << CIRCUIT))
    }
}

/// Who asks for an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    Anybody,
    /// A client that is bound to this endpoint.
    Bound,
}

impl Availability {
    /// Whether nothing stands against it: the answer for almost every request.
    pub fn is_clear(&self) -> bool {
        self.0.load(Ordering::Relaxed) & AGAINST == 0
    }

    /// Whether it would take a request. `passive`: what its cluster says about endpoints that
    /// fail, if anything.
    pub fn admits(&self, asker: Asker, passive: Option<&Settings>, now: Instant) -> bool {
        let word = self.word();
        if word & AGAINST == 0 {
            return true;
        }
        lets_in(word, asker)
            && passive.is_none_or(|passive| {
                circuit_of(word).enter(&passive.kind, now.as_millis()) != Entry::Refused
            })
    }

    /// Lets one attempt in, if it may: what it tries out, and what changed by that.
    pub(super) fn enter(
        &self,
        asker: Asker,
        passive: Option<&Settings>,
        now: Instant,
    ) -> Option<(Option<Probe>, Change)> {
        if self.is_clear() {
            return Some((None, Change::None));
        }
        if !lets_in(self.word(), asker) {
            return None;
        }
        let Some(Settings { kind, .. }) = passive else { return Some((None, Change::None)) };
        let mut entered = None;
        self.step(|circuit| {
            let entry = circuit.enter(kind, now.as_millis());
            let was_open = matches!(circuit.phase, circuit::Phase::Open { .. });
            let (next, outcome) = match entry {
                Entry::Refused => (None, None),
                Entry::Open => (None, Some((None, Change::None))),
                Entry::Returned(next) => (Some(next), Some((None, Change::Closed))),
                Entry::AsProbe(next, probe) => {
                    let change = if was_open { Change::HalfOpened } else { Change::None };
                    (Some(next), Some((Some(probe), change)))
                }
            };
            entered = outcome;
            next
        });
        entered
    }

    /// After an attempt that went well.
    pub(super) fn succeed(&self, probe: Option<Probe>, kind: &Kind, now: Instant) -> Change {
        self.change(|circuit| circuit.succeed(probe, kind, now.as_millis()))
    }

    /// After an attempt that failed; the arguments are those of [`Circuit::fail`]. `may_open` is
    /// asked before it opens; if it may not, the failure is counted all the same.
    pub(super) fn fail(
        &self,
        probe: Option<Probe>,
        rate_is_high: bool,
        settings: &Settings,
        now: Instant,
        draw: u64,
        mut may_open: impl FnMut() -> bool,
    ) -> Change {
        let now = now.as_millis();
        self.change(|circuit| {
            let (next, change) = circuit.fail(probe, rate_is_high, settings, now, draw)?;
            match change {
                Change::Opened { .. } if !may_open() => Some((circuit.counted(), Change::None)),
                change => Some((next, change)),
            }
        })
    }

    pub(super) fn abandon(&self, probe: Probe) {
        self.step(|circuit| circuit.abandon(probe));
    }

    /// Does what time alone does to a circuit.
    pub(super) fn pass_time(&self, kind: &Kind, now: Instant) -> Change {
        let next = match kind {
            Kind::Outlier { .. } => Change::Closed,
            Kind::Breaker { .. } => Change::HalfOpened,
        };
        self.change(|circuit| Some((circuit.due(kind, now.as_millis())?, next)))
    }

    /// Closes the circuit, whatever it was; whether it was not.
    pub fn readmit(&self, now: Instant) -> bool {
        let closed = |circuit: Circuit| {
            let is_closed = matches!(circuit.phase, circuit::Phase::Closed { .. });
            (!is_closed).then(|| circuit.closed(now.as_millis()))
        };
        self.step(closed)
    }

    pub fn circuit(&self) -> Circuit {
        circuit_of(self.word())
    }

    /// Puts in force what another process knew.
    pub fn set_circuit(&self, circuit: Circuit) {
        self.step(|_| Some(circuit));
    }

    /// What the checks say; whether that is news.
    pub fn set_checked(&self, is_up: bool) -> bool {
        let before = match is_up {
            true => self.0.fetch_and(!CHECK_DOWN, Ordering::SeqCst),
            false => self.0.fetch_or(CHECK_DOWN, Ordering::SeqCst),
        };
        (before & CHECK_DOWN == 0) != is_up
    }

    pub fn is_checked_down(&self) -> bool {
        self.word() & CHECK_DOWN != 0
    }

    /// What the operator wants; what it was before.
    pub fn set_admin_state(&self, state: AdminState) -> AdminState {
        let set = |word| Some(word & !ADMIN | state as u64);
        // The closure never declines, so both sides of the result are the word as it was.
        let (Ok(before) | Err(before)) =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, set);
        admin_state_of(before)
    }

    pub fn admin_state(&self) -> AdminState {
        admin_state_of(self.word())
    }

    fn word(&self) -> u64 {
        // In one order with the count of those who wait: see `Queue::made_room`.
        self.0.load(Ordering::SeqCst)
    }

    fn change(&self, mut next: impl FnMut(Circuit) -> Option<(Circuit, Change)>) -> Change {
        let mut change = Change::None;
        self.step(|circuit| {
            let (circuit, made) = next(circuit).unzip();
            change = made.unwrap_or(Change::None);
            circuit
        });
        change
    }

    /// Replaces the circuit by what `next` makes of it, in one step; whether it did.
    fn step(&self, mut next: impl FnMut(Circuit) -> Option<Circuit>) -> bool {
        let others = (1 << CIRCUIT) - 1;
        let step = |word| Some(word & others | next(circuit_of(word))?.pack() << CIRCUIT);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).is_ok()
    }
}

fn circuit_of(word: u64) -> Circuit {
    Circuit::unpack(word >> CIRCUIT)
}

fn admin_state_of(word: u64) -> AdminState {
    match word & ADMIN {
        0 => AdminState::Ready,
        1 => AdminState::Drain,
        _ => AdminState::Maintenance,
    }
}

/// Whether neither the operator nor a check keeps it out.
fn lets_in(word: u64, asker: Asker) -> bool {
    let admitted = match admin_state_of(word) {
        AdminState::Ready => true,
        AdminState::Drain => asker == Asker::Bound,
        AdminState::Maintenance => false,
    };
    admitted && word & CHECK_DOWN == 0
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::policy::circuit::{Reason, Rest};
    use crate::policy::retry::Causes;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * SECOND)
    }

    fn breaker(consecutive: u16) -> Settings {
        Settings {
            on: Causes::default(),
            consecutive: NonZeroU16::new(consecutive),
            rate: None,
            rest: Rest { first: Duration::from_secs(10), longest: Duration::from_secs(60) },
            kind: Kind::Breaker { probes: 1, successes: 1 },
        }
    }

    #[test]
    fn parts_do_not_touch_each_other() {
        let word = Availability::default();
        assert!(word.is_clear());
        assert!(word.set_checked(false) && !word.set_checked(false));
        assert_eq!(word.set_admin_state(AdminState::Drain), AdminState::Ready);
        word.fail(None, false, &breaker(1), at(1), 0, || true);
        assert!(!word.is_clear() && word.is_checked_down());
        assert!(word.set_checked(true));
        assert_eq!(word.set_admin_state(AdminState::Ready), AdminState::Drain);
        assert!(!word.is_clear(), "its circuit is open");
        assert!(word.readmit(at(2)) && !word.readmit(at(2)));
        assert!(word.is_clear());
    }

    #[test]
    fn a_drained_endpoint_takes_those_who_are_bound_to_it_and_one_in_maintenance_nobody() {
        let word = Availability::default();
        let admits =
            |asker| word.admits(asker, None, at(0)) && word.enter(asker, None, at(0)).is_some();
        assert!(admits(Asker::Anybody) && admits(Asker::Bound));
        word.set_admin_state(AdminState::Drain);
        assert!(!admits(Asker::Anybody) && admits(Asker::Bound));
        word.set_admin_state(AdminState::Maintenance);
        assert!(!admits(Asker::Anybody) && !admits(Asker::Bound));
        word.set_admin_state(AdminState::Ready);
        word.set_checked(false);
        assert!(!admits(Asker::Anybody) && !admits(Asker::Bound));
    }

    #[test]
    fn what_may_be_tried_out_is_admitted_and_entered_alike() {
        let settings = breaker(1);
        let word = Availability::default();
        word.fail(None, false, &settings, at(0), 0, || true);
        let admits = |now| word.admits(Asker::Anybody, Some(&settings), now);
        let enter = |now| word.enter(Asker::Anybody, Some(&settings), now);
        assert!(!admits(at(9)));
        assert_eq!(enter(at(9)), None);
        assert!(admits(at(10)));
        let (probe, change) = enter(at(10)).unwrap();
        assert_eq!(change, Change::HalfOpened);
        assert!(!admits(at(10)), "one at a time");
        assert_eq!(word.succeed(probe, &settings.kind, at(11)), Change::Closed);
        assert!(word.is_clear());
    }

    #[test]
    fn a_cluster_that_has_lost_its_breaker_lets_everybody_in() {
        let word = Availability::default();
        word.fail(None, false, &breaker(1), at(0), 0, || true);
        assert!(word.admits(Asker::Anybody, None, at(0)));
        assert_eq!(word.enter(Asker::Anybody, None, at(0)), Some((None, Change::None)));
    }

    /// Four threads stand for four workers.
    fn by_four(work: impl Fn() -> usize + Sync) -> usize {
        std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(&work));
            threads.map(|thread| thread.join().unwrap()).into_iter().sum()
        })
    }

    #[test]
    fn of_many_failures_at_once_exactly_one_opens_it() {
        for _ in 0..50 {
            let settings = breaker(40);
            let word = Availability::default();
            let opened = by_four(|| {
                let fail = |_| word.fail(None, false, &settings, at(1), 0, || true);
                let is_open = |change: &Change| {
                    matches!(change, Change::Opened { reason: Reason::Consecutive, .. })
                };
                (0..10).map(fail).filter(is_open).count()
            });
            assert_eq!(opened, 1, "the fortieth failure of all");
        }
    }

    #[test]
    fn of_many_that_come_when_its_time_is_over_exactly_one_tries_it_out() {
        for _ in 0..50 {
            let settings = breaker(1);
            let word = Availability::default();
            word.fail(None, false, &settings, at(0), 0, || true);
            let probes = by_four(|| {
                let enter = |_| word.enter(Asker::Anybody, Some(&settings), at(20));
                (0..10).filter_map(enter).filter(|(probe, _)| probe.is_some()).count()
            });
            assert_eq!(probes, 1);
        }
    }

    #[test]
    fn a_check_at_the_same_time_loses_no_failure() {
        let settings = breaker(1001);
        let word = Availability::default();
        by_four(|| {
            for round in 0..250 {
                word.set_checked(round % 2 == 0);
                word.fail(None, false, &settings, at(1), 0, || true);
            }
            0
        });
        let change = word.fail(None, false, &settings, at(1), 0, || true);
        assert!(matches!(change, Change::Opened { .. }), "none of 1000 was lost: {change:?}");
    }
}
