//! Limits of which each key has its own, such as each client.

use super::table::{Entry, Table};
use super::terms::Terms;
use super::{Level, Rejected};

/// A token bucket for each key. Keys whose bucket is full are forgotten when others need their
/// place; those that find none share one bucket.
#[derive(Debug)]
pub struct KeyedBuckets {
    table: Table,
    terms: Terms,
}

impl KeyedBuckets {
    /// With room for about `keys` buckets that are not full.
    pub fn new(terms: Terms, keys: usize) -> Self {
        Self { table: Table::new(keys), terms }
    }

    /// Whether [`Self::take`] would admit.
    ///
    /// # Errors
    ///
    /// It would not.
    pub fn check(&self, key: u128, cost: u64, now: u64) -> Result<(), Rejected> {
        let full_at = self.table.look(key, |full_at| Terms::is_full(full_at, now));
        self.terms.spend(full_at, cost, now).map(drop)
    }

    /// Takes `cost` credits of this key, all or none.
    ///
    /// # Errors
    ///
    /// There are not that many.
    pub fn take(&self, key: u128, cost: u64, now: u64) -> Result<Entry, Rejected> {
        let is_free = |full_at| Terms::is_full(full_at, now);
        self.table.change(key, is_free, |full_at| self.terms.spend(full_at, cost, now))
    }

    /// Gives back what was taken, unless the key has been forgotten, whose bucket was full then.
    pub fn give_back(&self, entry: Entry, cost: u64) {
        let price = self.terms.price(cost);
        self.table.change_again(entry, |full_at| full_at.saturating_sub(price));
    }

    pub fn level(&self, key: u128, now: u64) -> Level {
        let full_at = self.table.look(key, |full_at| Terms::is_full(full_at, now));
        self.terms.level(full_at, now)
    }

    /// How many keys have been asking within `idle_ns`, or have a bucket that is not full.
    pub fn known(&self, idle_ns: u64, now: u64) -> usize {
        let mut known = 0;
        self.table.for_each(|_, full_at| {
            known += usize::from(!Terms::is_full_since(full_at, idle_ns, now));
        });
        known
    }

    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// How many requests had to share a bucket because there was no place.
    pub fn overflowed(&self) -> u64 {
        self.table.overflowed()
    }

    /// The keys whose bucket is not full, with the share that is used.
    pub fn carry(&self, now: u64) -> Vec<(u128, f64)> {
        let mut carried = Vec::new();
        self.table.for_each(|key, full_at| {
            if !Terms::is_full(full_at, now) {
                carried.push((key, self.terms.used(full_at, now)));
            }
        });
        carried
    }

    /// Goes on from where others were. What was taken meanwhile counts on top.
    pub fn resume(&self, carried: impl IntoIterator<Item = (u128, f64)>, now: u64) {
        for (key, share) in carried {
            let used = self.terms.with_used(share.clamp(0.0, 1.0), 0);
            let is_free = |full_at| Terms::is_full(full_at, now);
            let add = |full_at: u64| {
                Ok::<_, Rejected>(full_at.max(super::terms::ticks(now)).saturating_add(used))
            };
            // It never declines.
            let _ = self.table.change(key, is_free, add);
        }
    }
}

/// How many of something each key has. Keys that have none are forgotten when others
/// need their place.
#[derive(Debug)]
pub struct KeyedCounts {
    table: Table,
}

impl KeyedCounts {
    pub fn new(keys: usize) -> Self {
        Self { table: Table::new(keys) }
    }

    /// Whether [`Self::take`] would admit.
    pub fn has_room(&self, key: u128, most: u32) -> bool {
        self.table.look(key, is_none) < u64::from(most)
    }

    /// Counts one more, unless there are as many as there may be.
    pub fn take(&self, key: u128, most: u32) -> Option<Entry> {
        let one_more = |count| if count < u64::from(most) { Ok(count + 1) } else { Err(()) };
        self.table.change(key, is_none, one_more).ok()
    }

    /// Counts one less. To be called once for each that was taken.
    pub fn give_back(&self, entry: Entry) {
        // A key that has some keeps its place, so this is the number that was raised.
        self.table.change_again(entry, |count| count.saturating_sub(1));
    }

    /// How many keys have some.
    pub fn known(&self) -> usize {
        let mut known = 0;
        self.table.for_each(|_, count| known += usize::from(count > 0));
        known
    }

    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// How many requests had to share a count because there was no place.
    pub fn overflowed(&self) -> u64 {
        self.table.overflowed()
    }
}

fn is_none(count: u64) -> bool {
    count == 0
}
