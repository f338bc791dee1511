//! Time as the workers see it: read once per loop turn, and precisely where a figure needs it.

use std::sync::OnceLock;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

/// When the first clock of this process was started: all of them count from here, so that
/// workers understand each other's instants.
static BEGAN: OnceLock<StdInstant> = OnceLock::new();

/// An instant, in nanoseconds since the clocks of this process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Instant(u64);

impl Instant {
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds from `earlier` to this; 0 when it lies the other way round.
    pub const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Nanoseconds since the clocks of this process began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the clocks of this process began.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The timer tick (one millisecond) this instant lies in.
    pub(super) const fn tick(self) -> u64 {
        self.0 / NANOS_PER_TICK
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

pub(super) const NANOS_PER_TICK: u64 = 1_000_000;

/// The monotonic clock, and what time of day it began.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: StdInstant,
    began_unix_nanos: u64,
}

impl Clock {
    pub fn start() -> Self {
        let began = *BEGAN.get_or_init(StdInstant::now);
        let mut clock = Self { began, began_unix_nanos: 0 };
        clock.resync();
        clock
    }

    /// Reads the clock: about 25 ns.
    pub fn now(&self) -> Instant {
        Instant(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time of day at `instant`, in nanoseconds since 1970. It follows the monotonic clock:
    /// a step of the system's time shows after the next [`Clock::resync`].
    pub fn unix_nanos(&self, instant: Instant) -> u64 {
        self.began_unix_nanos.saturating_add(instant.0)
    }

    /// Takes over what the system says the time of day is now.
    pub fn resync(&mut self) {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        self.began_unix_nanos = unix.saturating_sub(self.now().0);
    }
}
