//! Whether an endpoint is left alone because of what came of requests to it.
//!
//! ```text
//!              too many failures                 its time is over
//!    closed ---------------------> open -----------------------------> closed     (outlier)
//!      ^                          |    ^
//!      |          its time is over|    | a probe fails
//!      |                          v    |
//!      +------------------------- half-open                                       (breaker)
//!        enough probes succeed
//! ```
//!
//! A [`Circuit`] is plain data of 61 bits, so that it fits into one atomic with what else decides
//! whether an endpoint takes requests: each step is one compare-and-swap, and exact whatever
//! number of workers take steps.

use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use super::health::share_of;
use super::retry::Causes;

/// When a cluster leaves an endpoint alone, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The failures that count.
    pub on: Causes,
    /// As many failures in a row; `None` does not look at rows.
    pub consecutive: Option<NonZeroU16>,
    /// Or such a share of failures.
    pub rate: Option<Rate>,
    pub rest: Rest,
    pub kind: Kind,
}

/// Too many failures among the attempts of some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// From 0 to 1.
    pub share: f64,
    pub window: Duration,
    /// Fewer attempts than this say nothing.
    pub requests: u32,
}

/// How long an endpoint is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// The first time; each further time takes twice as long as the one before.
    pub first: Duration,
    /// At most. One who has been well for this long begins anew.
    pub longest: Duration,
}

/// How it comes back, and what of a cluster may be missing at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// At once. At most this share of a cluster's endpoints is away, and never all.
    Outlier { max_ejected: f64 },
    /// By a few requests that try it out, as many at a time as `probes`; `successes` of them bring
    /// it back, and one failure does not. All endpoints may be away.
    Breaker { probes: u8, successes: u8 },
}

/// Why an endpoint is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Consecutive,
    Rate,
    /// A request that tried it out has failed.
    Probe,
}

impl Reason {
    /// The labels of metrics, in the order of [`Self::index`].
    pub const LABELS: [&'static str; 3] = ["consecutive_failures", "failure_rate", "probe"];

    pub fn index(self) -> usize {
        self as usize
    }

    pub fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

/// The state of one endpoint. Times are in milliseconds on any clock, below 2^45.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circuit {
    pub phase: Phase,
    /// How often it has been opened without a long time of wellbeing; at most [`OPENINGS_MAX`].
    openings: u8,
    /// Tells this time of trying out from others.
    epoch: NonZeroU8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `failures` in a row, at most [`FAILURES_MAX`]; in force since `since_cs` hundredths of a
    /// second.
    Closed {
        failures: u16,
        since_cs: u64,
    },
    Open {
        until_ms: u64,
    },
    /// Requests under way that try it out, and how many have succeeded.
    HalfOpen {
        probes: u8,
        successes: u8,
    },
}

/// Makes an attempt one that tries an endpoint out, at a certain time of that.
pub type Probe = NonZeroU8;

/// What a circuit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An attempt like any other.
    Open,
    /// An attempt that tries the endpoint out, and what the circuit is with that.
    AsProbe(Circuit, Probe),
    /// It has come back: an attempt like any other, and what the circuit is from now on.
    Returned(Circuit),
    Refused,
}

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Counted, and nothing more.
    None,
    Opened {
        reason: Reason,
        rest: Duration,
    },
    HalfOpened,
    Closed,
}

const PHASE_BITS: u32 = 2;
const EPOCH_BITS: u32 = 8;
const OPENINGS_BITS: u32 = 6;
const DATA: u32 = PHASE_BITS + EPOCH_BITS + OPENINGS_BITS;
/// How many bits [`Circuit::pack`] takes.
pub const BITS: u32 = DATA + 45;
/// Those of a packed circuit that are 0 while it is closed.
pub const NOT_CLOSED: u64 = (1 << PHASE_BITS) - 1;

const OPENINGS_MAX: u8 = (1 << OPENINGS_BITS) - 1;
/// 1,100 years.
const MILLIS_MAX: u64 = (1 << 45) - 1;
const FAILURES_BITS: u32 = 10;
/// Longer rows are not told apart.
pub const FAILURES_MAX: u16 = (1 << FAILURES_BITS) - 1;
/// 10 years.
const CENTIS_MAX: u64 = (1 << 35) - 1;

impl Default for Circuit {
    fn default() -> Self {
        Self::closed_since(0)
    }
}

impl Circuit {
    /// One that nothing is known of.
    fn closed_since(now_ms: u64) -> Self {
        Self { phase: closed(now_ms), openings: 0, epoch: NonZeroU8::MIN }
    }

    /// What another process knew, in this process's time.
    pub fn restored(phase: Phase, openings: u8) -> Self {
        Self { phase, openings: openings.min(OPENINGS_MAX), epoch: NonZeroU8::MIN }
    }

    /// How often it has been opened without a long time of wellbeing.
    pub fn openings(self) -> u8 {
        self.openings
    }

    pub fn pack(self) -> u64 {
        let (phase, data) = match self.phase {
            Phase::Closed { failures, since_cs } => {
                (0, u64::from(failures) | since_cs.min(CENTIS_MAX) << FAILURES_BITS)
            }
            Phase::Open { until_ms } => (1, until_ms.min(MILLIS_MAX)),
            Phase::HalfOpen { probes, successes } => {
                (2, u64::from(probes) | u64::from(successes) << 8)
            }
        };
        let openings = u64::from(self.openings) << (PHASE_BITS + EPOCH_BITS);
        phase | u64::from(self.epoch.get() - 1) << PHASE_BITS | openings | data << DATA
    }

    pub fn unpack(bits: u64) -> Self {
        let data = bits >> DATA & MILLIS_MAX;
        let phase = match bits & NOT_CLOSED {
            0 => Phase::Closed {
                failures: data as u16 & FAILURES_MAX,
                since_cs: data >> FAILURES_BITS,
            },
            1 => Phase::Open { until_ms: data },
            _ => Phase::HalfOpen { probes: data as u8, successes: (data >> 8) as u8 },
        };
        let epoch = (bits >> PHASE_BITS) as u8;
        Self {
            phase,
            openings: (bits >> (PHASE_BITS + EPOCH_BITS)) as u8 & OPENINGS_MAX,
            epoch: NonZeroU8::MIN.saturating_add(epoch.min(u8::MAX - 1)),
        }
    }

    /// Whether an attempt may begin, and as what.
    pub fn enter(self, kind: &Kind, now_ms: u64) -> Entry {
        let circuit = self.due(kind, now_ms).unwrap_or(self);
        match (circuit.phase, kind) {
            (Phase::Closed { .. }, _) if circuit == self => Entry::Open,
            (Phase::Closed { .. }, _) => Entry::Returned(circuit),
            (Phase::HalfOpen { probes, successes }, Kind::Breaker { probes: most, .. })
                if probes < *most =>
            {
                let phase = Phase::HalfOpen { probes: probes + 1, successes };
                Entry::AsProbe(Self { phase, ..circuit }, circuit.epoch)
            }
            (Phase::HalfOpen { .. } | Phase::Open { .. }, _) => Entry::Refused,
        }
    }

    /// What the circuit is once its time is over; `None` as long as nothing changes by itself.
    pub fn due(self, kind: &Kind, now_ms: u64) -> Option<Self> {
        let phase = match (self.phase, kind) {
            (Phase::Open { until_ms }, _) if now_ms < until_ms => return None,
            (Phase::Closed { .. }, _) | (Phase::HalfOpen { .. }, Kind::Breaker { .. }) => {
                return None;
            }
            (Phase::Open { .. }, Kind::Breaker { .. }) => {
                Phase::HalfOpen { probes: 0, successes: 0 }
            }
            // Half-open only if the cluster had a breaker before a reload.
            (Phase::Open { .. } | Phase::HalfOpen { .. }, Kind::Outlier { .. }) => closed(now_ms),
        };
        Some(Self { phase, ..self })
    }

    /// After an attempt that went well; `None` if that changes nothing.
    pub fn succeed(self, probe: Option<Probe>, kind: &Kind, now_ms: u64) -> Option<(Self, Change)> {
        let (phase, change) = match self.phase {
            Phase::Closed { failures: 1.., since_cs } => {
                (Phase::Closed { failures: 0, since_cs }, Change::None)
            }
            Phase::HalfOpen { probes, successes } if probe == Some(self.epoch) => {
                let successes = successes.saturating_add(1);
                let needed = match kind {
                    Kind::Breaker { successes, .. } => *successes,
                    Kind::Outlier { .. } => 0,
                };
                match successes >= needed {
                    true => (closed(now_ms), Change::Closed),
                    false => {
                        let probes = probes.saturating_sub(1);
                        (Phase::HalfOpen { probes, successes }, Change::None)
                    }
                }
            }
            _ => return None,
        };
        Some((Self { phase, ..self }, change))
    }

    /// After an attempt that failed; `None` if that changes nothing. `rate_is_high`: with this
    /// failure, too large a share has failed. `draw`: random bits.
    pub fn fail(
        self,
        probe: Option<Probe>,
        rate_is_high: bool,
        settings: &Settings,
        now_ms: u64,
        draw: u64,
    ) -> Option<(Self, Change)> {
        match self.phase {
            Phase::Closed { failures, .. } => {
                let in_a_row = |most: NonZeroU16| failures.saturating_add(1) >= most.get();
                let reason = match settings.consecutive.is_some_and(in_a_row) {
                    true => Reason::Consecutive,
                    false if rate_is_high => Reason::Rate,
                    false => return Some((self.counted(), Change::None)),
                };
                Some(self.opened(reason, &settings.rest, now_ms, draw))
            }
            Phase::HalfOpen { .. } if probe == Some(self.epoch) => {
                Some(self.opened(Reason::Probe, &settings.rest, now_ms, draw))
            }
            _ => None,
        }
    }

    /// After a failure that has to be borne.
    pub fn counted(self) -> Self {
        match self.phase {
            Phase::Closed { failures, since_cs } => {
                let failures = (failures + 1).min(FAILURES_MAX);
                Self { phase: Phase::Closed { failures, since_cs }, ..self }
            }
            _ => self,
        }
    }

    /// After an attempt that nothing was learned from.
    pub fn abandon(self, probe: Probe) -> Option<Self> {
        match self.phase {
            Phase::HalfOpen { probes, successes } if probe == self.epoch => {
                let probes = probes.saturating_sub(1);
                Some(Self { phase: Phase::HalfOpen { probes, successes }, ..self })
            }
            _ => None,
        }
    }

    /// Opens it for longer than the last time.
    pub fn opened(self, reason: Reason, rest: &Rest, now_ms: u64, draw: u64) -> (Self, Change) {
        let openings = match self.phase {
            Phase::Closed { since_cs, .. }
                if now_ms.saturating_sub(since_cs * 10) > millis(rest.longest) =>
            {
                0
            }
            _ => self.openings,
        };
        let rest = rest.after(openings, draw);
        let opened = Self {
            phase: Phase::Open { until_ms: (now_ms + millis(rest)).min(MILLIS_MAX) },
            openings: (openings + 1).min(OPENINGS_MAX),
            epoch: self.epoch.checked_add(1).unwrap_or(NonZeroU8::MIN),
        };
        (opened, Change::Opened { reason, rest })
    }

    /// Closed, because somebody said so; its past counts no more.
    pub fn closed(self, now_ms: u64) -> Self {
        Self { phase: closed(now_ms), openings: 0, ..self }
    }
}

fn closed(now_ms: u64) -> Phase {
    Phase::Closed { failures: 0, since_cs: (now_ms / 10).min(CENTIS_MAX) }
}

impl Rest {
    /// After as many times before; up to a tenth longer by `draw`, so that not everybody comes
    /// back to one place at one time.
    fn after(&self, openings: u8, draw: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << openings.min(30));
        let rest = doubled.min(self.longest.max(self.first));
        rest + share_of(rest / 10, draw)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(MILLIS_MAX)
}

#[cfg(test)]
mod tests;
