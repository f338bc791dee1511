use proptest::prelude::*;

use super::*;

const BREAKER: Kind = Kind::Breaker { probes: 2, successes: 3 };
const OUTLIER: Kind = Kind::Outlier { max_ejected: 0.5 };

fn settings(kind: Kind) -> Settings {
    Settings {
        on: Causes::default(),
        consecutive: NonZeroU16::new(3),
        rate: None,
        rest: Rest { first: Duration::from_secs(10), longest: Duration::from_secs(60) },
        kind,
    }
}

/// A circuit, with time by hand and no jitter.
struct Bench {
    circuit: Circuit,
    settings: Settings,
    now_ms: u64,
}

impl Bench {
    fn new(kind: Kind) -> Self {
        Self { circuit: Circuit::default(), settings: settings(kind), now_ms: 1000 }
    }

    fn fail(&mut self, probe: Option<Probe>) -> Option<Change> {
        let (circuit, change) = self.circuit.fail(probe, false, &self.settings, self.now_ms, 0)?;
        self.circuit = circuit;
        Some(change)
    }

    fn succeed(&mut self, probe: Option<Probe>) -> Option<Change> {
        let (circuit, change) = self.circuit.succeed(probe, &self.settings.kind, self.now_ms)?;
        self.circuit = circuit;
        Some(change)
    }

    fn enter(&mut self) -> Entry {
        let entry = self.circuit.enter(&self.settings.kind, self.now_ms);
        if let Entry::AsProbe(circuit, _) | Entry::Returned(circuit) = entry {
            self.circuit = circuit;
        }
        entry
    }

    fn probe(&mut self) -> Option<Probe> {
        match self.enter() {
            Entry::AsProbe(_, probe) => Some(probe),
            _ => None,
        }
    }

    /// Fails until it opens, and says for how many seconds that is.
    fn open(&mut self) -> u64 {
        loop {
            match self.fail(None) {
                Some(Change::Opened { rest, .. }) => return rest.as_secs(),
                Some(Change::None) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
    let mut bench = Bench::new(OUTLIER);
    for _ in 0..5 {
        assert_eq!(bench.fail(None), Some(Change::None));
        assert_eq!(bench.fail(None), Some(Change::None));
        assert_eq!(bench.succeed(None), Some(Change::None));
    }
    bench.fail(None);
    bench.fail(None);
    let opened = Change::Opened { reason: Reason::Consecutive, rest: Duration::from_secs(10) };
    assert_eq!(bench.fail(None), Some(opened));
    assert_eq!(bench.enter(), Entry::Refused);
}

#[test]
fn an_ejected_one_comes_back_by_itself_when_its_time_is_over() {
    let mut bench = Bench::new(OUTLIER);
    bench.open();
    bench.pass(9);
    assert_eq!(bench.enter(), Entry::Refused);
    bench.pass(1);
    assert!(matches!(bench.enter(), Entry::Returned(_)));
    assert_eq!(bench.enter(), Entry::Open);
}

#[test]
fn each_time_takes_twice_as_long_up_to_the_longest() {
    let mut bench = Bench::new(OUTLIER);
    let mut rests = Vec::new();
    for _ in 0..5 {
        let rest = bench.open();
        rests.push(rest);
        bench.pass(rest);
        bench.enter();
    }
    assert_eq!(rests, [10, 20, 40, 60, 60]);
    bench.pass(62);
    assert_eq!(bench.open(), 10, "it has been well for long enough");
}

#[test]
fn a_failure_of_a_share_opens_it_too() {
    let bench = Bench::new(OUTLIER);
    let (_, change) = bench.circuit.fail(None, true, &bench.settings, 0, 0).unwrap();
    assert!(matches!(change, Change::Opened { reason: Reason::Rate, .. }));
}

#[test]
fn a_breaker_lets_a_few_try_it_out_and_closes_after_enough_of_them() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    bench.pass(10);
    let (first, second) = (bench.probe(), bench.probe());
    assert!(first.is_some() && second.is_some());
    assert_eq!(bench.enter(), Entry::Refused, "two at a time");
    assert_eq!(bench.succeed(first), Some(Change::None));
    let third = bench.probe();
    assert_eq!(bench.succeed(second), Some(Change::None));
    assert_eq!(bench.succeed(third), Some(Change::Closed));
    assert_eq!(bench.enter(), Entry::Open);
}

#[test]
fn one_failing_probe_opens_it_again_for_longer() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    bench.pass(10);
    let (first, second) = (bench.probe(), bench.probe());
    bench.succeed(first);
    let opened = Change::Opened { reason: Reason::Probe, rest: Duration::from_secs(20) };
    assert_eq!(bench.fail(second), Some(opened));
}

#[test]
fn probes_of_an_earlier_time_count_no_more() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    bench.pass(10);
    let (late, failing) = (bench.probe(), bench.probe());
    bench.fail(failing);
    bench.pass(20);
    bench.probe();
    let before = bench.circuit;
    assert_eq!(bench.succeed(late), None);
    assert_eq!(bench.fail(late), None);
    assert_eq!(bench.circuit.abandon(late.unwrap()), None);
    assert_eq!(bench.circuit, before);
}

#[test]
fn an_abandoned_probe_makes_room_for_another() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    bench.pass(10);
    let (first, _) = (bench.probe(), bench.probe());
    assert_eq!(bench.probe(), None);
    bench.circuit = bench.circuit.abandon(first.unwrap()).unwrap();
    assert!(bench.probe().is_some());
}

#[test]
fn attempts_begun_before_it_opened_do_not_count_while_it_is_open() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    assert_eq!((bench.fail(None), bench.succeed(None)), (None, None));
    bench.pass(10);
    bench.probe();
    assert_eq!((bench.fail(None), bench.succeed(None)), (None, None));
}

#[test]
fn one_that_a_breaker_left_half_open_is_closed_where_there_is_an_outlier_now() {
    let mut bench = Bench::new(BREAKER);
    bench.open();
    bench.pass(10);
    bench.probe();
    bench.settings.kind = OUTLIER;
    assert!(matches!(bench.enter(), Entry::Returned(_)));
}

#[test]
fn jitter_adds_a_tenth_at_most() {
    let rest = Rest { first: Duration::from_secs(10), longest: Duration::from_secs(60) };
    assert_eq!(rest.after(0, 0), Duration::from_secs(10));
    assert!(rest.after(0, u64::MAX) <= Duration::from_secs(11));
    assert!(rest.after(63, u64::MAX) <= Duration::from_secs(66));
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        (0..=FAILURES_MAX, 0..=CENTIS_MAX)
            .prop_map(|(failures, since_cs)| Phase::Closed { failures, since_cs }),
        (0..=MILLIS_MAX).prop_map(|until_ms| Phase::Open { until_ms }),
        any::<(u8, u8)>().prop_map(|(probes, successes)| Phase::HalfOpen { probes, successes }),
    ]
}

/// What may happen to a breaker.
#[derive(Debug, Clone, Copy)]
enum Event {
    Enter,
    /// Of the attempt at this place among those under way.
    Succeed(usize),
    Fail(usize),
    Abandon(usize),
    Pass(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Enter),
        2 => any::<usize>().prop_map(Event::Succeed),
        3 => any::<usize>().prop_map(Event::Fail),
        1 => any::<usize>().prop_map(Event::Abandon),
        2 => (0..30u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn a_packed_circuit_is_the_same_again(
        phase in any_phase(),
        openings in 0..=OPENINGS_MAX,
        epoch: NonZeroU8,
    ) {
        let circuit = Circuit { phase, openings, epoch };
        let bits = circuit.pack();
        prop_assert_eq!(Circuit::unpack(bits), circuit);
        prop_assert_eq!(bits & NOT_CLOSED == 0, matches!(phase, Phase::Closed { .. }));
        prop_assert_eq!(bits >> BITS, 0);
    }

    #[test]
    fn probes_are_never_more_than_allowed_and_each_has_its_place(
        events in proptest::collection::vec(any_event(), 0..200),
    ) {
        let mut bench = Bench::new(BREAKER);
        // Attempts under way, each with what it tries out.
        let mut under_way: Vec<Option<Probe>> = Vec::new();
        for event in events {
            let taken = |under_way: &mut Vec<_>, index: usize| {
                (!under_way.is_empty()).then(|| under_way.swap_remove(index % under_way.len()))
            };
            match event {
                Event::Enter => match bench.enter() {
                    Entry::Open | Entry::Returned(_) => under_way.push(None),
                    Entry::AsProbe(_, probe) => under_way.push(Some(probe)),
                    Entry::Refused => {}
                },
                Event::Succeed(index) => {
                    if let Some(probe) = taken(&mut under_way, index) {
                        bench.succeed(probe);
                    }
                }
                Event::Fail(index) => {
                    if let Some(probe) = taken(&mut under_way, index) {
                        bench.fail(probe);
                    }
                }
                Event::Abandon(index) => {
                    if let Some(Some(probe)) = taken(&mut under_way, index) {
                        bench.circuit = bench.circuit.abandon(probe).unwrap_or(bench.circuit);
                    }
                }
                Event::Pass(seconds) => bench.pass(seconds),
            }
            if let Phase::HalfOpen { probes, successes } = bench.circuit.phase {
                let of_now = |probe: &&Option<Probe>| **probe == Some(bench.circuit.epoch);
                prop_assert_eq!(usize::from(probes), under_way.iter().filter(of_now).count());
                prop_assert!(probes <= 2 && successes < 3);
            }
            if let Phase::Closed { failures, .. } = bench.circuit.phase {
                prop_assert!(failures < 3);
            }
        }
    }
}
