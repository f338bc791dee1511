//! Health checks of an endpoint: when to look, and what a row of results says.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What a cluster says about checks of its endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub probe: Probe,
    pub pace: Pace,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// That it accepts a connection, and where its connections are private, that a handshake comes
    /// to its end.
    Connect,
    Http(HttpProbe),
}

/// A request, and what its answer has to be.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpProbe {
    pub method: String,
    /// With the query, if it has one.
    pub path: String,
    /// `None`: the endpoint's own name or address.
    pub host: Option<String>,
    /// Names in lower case, values checked.
    pub headers: Vec<(String, String)>,
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Occurs in the body, within its first 64 KiB.
    pub body: Option<String>,
}

/// When checks are made, and how many it takes to change one's mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub interval: Duration,
    /// While the endpoint is down, or the last check says otherwise than those before.
    pub fast_interval: Duration,
    /// From the beginning of a check to the last byte that it needs.
    pub timeout: Duration,
    /// Failed checks in a row that take an endpoint down.
    pub fall: u32,
    /// Passed checks in a row that bring it up.
    pub rise: u32,
    pub initial: Initial,
}

/// What is believed of an endpoint before its first check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    Up,
    Down,
    /// It is down until its first check, which decides alone.
    Checked,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// Its name has no address yet: nothing was learned.
    Unresolved,
    ConnectFailed,
    TlsFailed,
    /// Not at its end within the timeout.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// What came is no answer.
    Malformed,
    WrongStatus,
    WrongBody,
    /// This process had no descriptor or memory left: nothing was learned.
    Skipped,
}

impl Outcome {
    /// The labels of metrics, in the order of [`Self::index`].
    pub const LABELS: [&'static str; 10] = [
        "passed",
        "unresolved",
        "connect_failed",
        "tls_failed",
        "timeout",
        "closed",
        "malformed",
        "wrong_status",
        "wrong_body",
        "skipped",
    ];

    pub fn index(self) -> usize {
        self as usize
    }

    pub fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

/// What the checks so far say of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub is_up: bool,
    /// Results in a row that say otherwise.
    pub against: u32,
    /// Whether a check has ended that counts.
    pub is_checked: bool,
}

impl Health {
    pub fn new(initial: Initial) -> Self {
        Self { is_up: initial == Initial::Up, against: 0, is_checked: false }
    }

    /// Takes in a result, and says whether that changes the endpoint's state.
    pub fn observe(&mut self, outcome: Outcome, pace: &Pace) -> bool {
        if matches!(outcome, Outcome::Skipped | Outcome::Unresolved) {
            return false;
        }
        let passed = outcome == Outcome::Passed;
        let decides = pace.initial == Initial::Checked && !self.is_checked;
        self.is_checked = true;
        if passed == self.is_up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if self.is_up { pace.fall } else { pace.rise };
        let changes = decides || self.against >= needed;
        if changes {
            *self = Self { is_up: passed, against: 0, ..*self };
        }
        changes
    }

    /// Whether the next check may change something.
    pub fn is_in_doubt(&self) -> bool {
        !self.is_up || self.against > 0 || !self.is_checked
    }

    /// From the beginning of one check to that of the next. `in_doubt`: how many endpoints are, of
    /// all clusters. `draw`: random bits, which keep endpoints from being checked in step.
    pub fn wait(&self, pace: &Pace, in_doubt: usize, draw: u64) -> Duration {
        if !self.is_in_doubt() {
            return jittered(pace.interval, draw);
        }
        let in_doubt = u32::try_from(in_doubt).unwrap_or(u32::MAX);
        let shared = FAST_CHECK_SHARE * in_doubt;
        jittered(pace.fast_interval.max(shared).min(pace.interval), draw)
    }
}

/// The time that each endpoint in doubt adds to the fast interval of all: a thousand checks a
/// second are some 7 % of a core, and ten thousand would be the whole of it.
const FAST_CHECK_SHARE: Duration = Duration::from_millis(1);

/// How many checks may begin in a second after a start: a core does some thousands.
const FIRST_CHECKS_A_SECOND: u32 = 500;

/// How long after the start an endpoint is first checked. `draw` is always the same for the same
/// endpoint; there are `endpoints` of them.
pub fn first_wait(draw: u64, endpoints: usize, pace: &Pace) -> Duration {
    let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
    let window = Duration::from_secs(1) * endpoints / FIRST_CHECKS_A_SECOND;
    share_of(window.min(pace.interval), draw)
}

/// Checks that begin together wake the thread once. A fiftieth of the interval and at most this.
const TICK_MAX: Duration = Duration::from_millis(20);

impl Pace {
    /// When a check begins that is due at `due`: with the others of its tick. Both are on any
    /// clock.
    pub fn in_company(&self, due: Duration) -> Duration {
        let tick = (self.interval / 50).min(TICK_MAX).as_nanos().max(1);
        let begins = due.as_nanos().div_ceil(tick) * tick;
        Duration::from_nanos(u64::try_from(begins).unwrap_or(u64::MAX))
    }
}

/// The wait, a twentieth more or less.
fn jittered(wait: Duration, draw: u64) -> Duration {
    wait - wait / 20 + share_of(wait / 10, draw)
}

/// A point of the window, chosen by the bits.
pub(super) fn share_of(window: Duration, draw: u64) -> Duration {
    let nanos = window.as_nanos() * u128::from(draw) / (1 << 64);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(fall: u32, rise: u32, initial: Initial) -> Pace {
        Pace {
            interval: Duration::from_secs(10),
            fast_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            fall,
            rise,
            initial,
        }
    }

    /// The state after each result; `+` is a check that passed.
    fn states(results: &str, pace: &Pace) -> String {
        let mut health = Health::new(pace.initial);
        let each = |result| {
            let outcome = if result == '+' { Outcome::Passed } else { Outcome::Timeout };
            health.observe(outcome, pace);
            if health.is_up { 'U' } else { 'd' }
        };
        results.chars().map(each).collect()
    }

    #[test]
    fn as_many_results_in_a_row_as_fall_and_rise_say_change_the_state() {
        let pace = pace(3, 2, Initial::Up);
        assert_eq!(states("--+---", &pace), "UUUUUd");
        assert_eq!(states("---+-++", &pace), "UUddddU");
    }

    #[test]
    fn an_endpoint_that_begins_down_has_to_rise() {
        assert_eq!(states("+-++", &pace(3, 2, Initial::Down)), "dddU");
    }

    #[test]
    fn the_first_check_decides_alone_where_it_is_waited_for() {
        let pace = pace(3, 2, Initial::Checked);
        assert_eq!(states("+--", &pace), "UUU");
        assert_eq!(states("-+", &pace), "dd");
    }

    #[test]
    fn a_check_that_could_not_be_made_says_nothing() {
        let pace = pace(1, 1, Initial::Up);
        let mut health = Health::new(Initial::Up);
        assert!(!health.observe(Outcome::Skipped, &pace));
        assert_eq!(health, Health::new(Initial::Up));
    }

    #[test]
    fn who_is_down_or_in_doubt_is_checked_faster() {
        let pace = pace(2, 2, Initial::Up);
        let mut health = Health::new(Initial::Up);
        let mut after = |outcome| {
            health.observe(outcome, &pace);
            health.wait(&pace, 1, u64::MAX / 2).as_millis().div_ceil(10) * 10
        };
        assert_eq!(after(Outcome::Passed), 10_000);
        assert_eq!(after(Outcome::Closed), 1_000);
        assert_eq!(after(Outcome::Closed), 1_000);
        assert_eq!(after(Outcome::Passed), 1_000);
        assert_eq!(after(Outcome::Passed), 10_000);
    }

    #[test]
    fn the_more_are_down_the_slower_is_fast() {
        let pace = pace(1, 1, Initial::Down);
        let health = Health::new(Initial::Down);
        let wait = |in_doubt| health.wait(&pace, in_doubt, u64::MAX / 2).as_millis().div_ceil(10);
        assert_eq!([1, 1000, 5000, 100_000].map(wait), [100, 100, 500, 1000]);
    }

    #[test]
    fn the_first_checks_of_many_are_spread_over_the_interval() {
        let pace = pace(1, 1, Initial::Up);
        assert!(first_wait(u64::MAX, 3, &pace) < Duration::from_millis(7));
        assert!(first_wait(u64::MAX, 1_000_000, &pace) < pace.interval);
        let half = first_wait(u64::MAX / 2, 1_000_000, &pace);
        assert_eq!(half.as_millis(), 4_999);
    }

    #[test]
    fn checks_that_are_due_at_about_the_same_time_begin_together() {
        let begins = |ms| pace(1, 1, Initial::Up).in_company(Duration::from_millis(ms)).as_millis();
        assert_eq!([100, 101, 119, 120, 121].map(begins), [100, 120, 120, 120, 140]);
    }

    proptest! {
        #[test]
        fn the_state_is_that_of_the_last_row_that_was_long_enough(
            results in proptest::collection::vec(any::<bool>(), 0..40),
            fall in 1..5u32,
            rise in 1..5u32,
        ) {
            let pace = pace(fall, rise, Initial::Up);
            let mut health = Health::new(Initial::Up);
            let mut row = (true, 0);
            let mut expected = true;
            for passed in results {
                row = if row.0 == passed { (passed, row.1 + 1) } else { (passed, 1) };
                if row.1 >= if passed { rise } else { fall } {
                    expected = passed;
                }
                let outcome = if passed { Outcome::Passed } else { Outcome::Closed };
                let changed = health.observe(outcome, &pace);
                prop_assert_eq!(health.is_up, expected);
                prop_assert!(!changed || health.is_up == passed);
            }
        }

        #[test]
        fn waits_differ_from_the_interval_by_a_twentieth_at_most(draw: u64) {
            let pace = pace(1, 1, Initial::Up);
            let health = Health { is_up: true, against: 0, is_checked: true };
            let wait = health.wait(&pace, 1, draw);
            prop_assert!(wait >= pace.interval.mul_f64(0.949));
            prop_assert!(wait <= pace.interval.mul_f64(1.051));
        }
    }
}
