//! Sliding window: never more than so many in any stretch of its length.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Carried, Level, Part, Rate, Rejected, Word};

/// The clock stands from here on, 146 years after its start: times have to fit beside a mark.
const NOW_MAX: u64 = u64::MAX >> 2;

/// Parts that a window is carried over in, at most.
const PARTS_MAX: usize = 256;

/// A ring of as many places as may be taken in one window; a place that was taken is free again
/// when the window has passed. So each place serves once in any stretch of that length, and no
/// stretch sees more than there are places: by counting, whichever order threads come in.
///
/// Costs 8 bytes for each place, and one look for each request: the places are taken in turn, so
/// the next one is the one that was taken first.
#[derive(Debug)]
pub struct Window<W = AtomicU64> {
    /// When each is free again, in nanoseconds; the lowest bit tells the laps of the ring apart.
    places: Box<[W]>,
    /// Which is next, counting all that were ever taken.
    turn: W,
    length: u64,
}

impl<W: Word> Window<W> {
    pub fn new(rate: Rate) -> Self {
        let places = usize::try_from(rate.credits).unwrap_or(usize::MAX).max(1);
        Self {
            places: (0..places).map(|_| W::default()).collect(),
            turn: W::default(),
            length: nanos(rate.period).clamp(1, NOW_MAX),
        }
    }

    /// Whether [`Self::take`] would admit.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn check(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        if cost > self.places.len() as u64 {
            return Err(Rejected::NEVER);
        }
        if cost == 0 {
            return Ok(());
        }
        // Those before it in the ring are free earlier.
        let turn = self.turn.load().wrapping_add(cost - 1);
        wait(free_at(self.place(turn).load()), now.min(NOW_MAX))
    }

    /// Takes `cost` places, all or none. Of several, some may stay taken for a window when another
    /// thread is faster: never more than is admitted, and at times less.
    ///
    /// # Errors
    ///
    /// There are not that many.
    pub fn take(&self, cost: u64, now: u64) -> Result<(), Rejected> {
        if cost > 1 {
            self.check(cost, now)?;
        }
        let now = now.min(NOW_MAX);
        (0..cost).try_for_each(|_| self.take_one(now.saturating_add(self.length), now))
    }

    fn take_one(&self, until: u64, now: u64) -> Result<(), Rejected> {
        loop {
            let turn = self.turn.load();
            let place = self.place(turn);
            let seen = place.load();
            if lap_of(seen) == self.lap(turn) {
                // It has been taken in this lap: whoever did has yet to say so.
                let _ = self.turn.replace(turn, turn.wrapping_add(1));
                continue;
            }
            wait(free_at(seen), now)?;
            // A place only ever gets later times, so what was seen cannot have come back.
            if place.replace(seen, until << 1 | self.lap(turn)).is_ok() {
                let _ = self.turn.replace(turn, turn.wrapping_add(1));
                return Ok(());
            }
        }
    }

    fn place(&self, turn: u64) -> &W {
        &self.places[(turn % self.places.len() as u64) as usize]
    }

    /// The mark of a turn's lap. The first is not 0: a place that was never taken has that.
    fn lap(&self, turn: u64) -> u64 {
        (turn / self.places.len() as u64 + 1) & 1
    }

    pub fn level(&self, now: u64) -> Level {
        let turn = self.turn.load();
        let limit = self.places.len() as u64;
        let last = free_at(self.place(turn.wrapping_add(limit - 1)).load());
        Level { limit, remaining: self.free(turn, now), reset_ns: last.saturating_sub(now) }
    }

    /// How many places are free: from the next one on, those that were taken first come first.
    fn free(&self, turn: u64, now: u64) -> u64 {
        let (mut free, mut taken) = (0, self.places.len() as u64);
        while free < taken {
            let middle = free + (taken - free) / 2;
            match free_at(self.place(turn.wrapping_add(middle)).load()) <= now {
                true => free = middle + 1,
                false => taken = middle,
            }
        }
        free
    }

    pub(super) fn carry(&self, now: u64) -> Carried {
        let turn = self.turn.load();
        let limit = self.places.len() as u64;
        let taken: Vec<u64> = (self.free(turn, now)..limit)
            .map(|index| free_at(self.place(turn.wrapping_add(index)).load()).saturating_sub(now))
            .collect();
        let part = |places: &[u64]| Part {
            // All of them are free when the last one is: never earlier than without this.
            left: places.iter().max().map_or(0.0, |left| *left as f64 / self.length as f64),
            share: places.len() as f64 / limit as f64,
        };
        let group = taken.len().div_ceil(PARTS_MAX).max(1);
        Carried { used: taken.chunks(group).map(part).collect(), warmth: 1.0 }
    }

    pub(super) fn resume(&self, carried: &Carried, now: u64) {
        let now = now.min(NOW_MAX);
        let (mut share, mut placed) = (0.0, 0);
        for part in &carried.used {
            share += part.share;
            // Rounded up, but not for what f64 cannot hold.
            let wanted = (share.min(1.0) * self.places.len() as f64 - 1e-6).ceil() as u64;
            let left = (part.left.clamp(0.0, 1.0) * self.length as f64).ceil() as u64;
            let until = now.saturating_add(left);
            for _ in placed..wanted {
                // What was taken since it was made takes precedence.
                let _ = self.take_one(until, now);
            }
            placed = placed.max(wanted);
        }
    }
}

fn wait(free_at: u64, now: u64) -> Result<(), Rejected> {
    match free_at.saturating_sub(now) {
        0 => Ok(()),
        wait_ns => Err(Rejected { wait_ns }),
    }
}

fn free_at(place: u64) -> u64 {
    place >> 1
}

fn lap_of(place: u64) -> u64 {
    place & 1
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
