//! One number for each key, in memory that never grows.
//!
//! Keys come from outside, millions of them if somebody likes. The table has a fixed number of
//! entries in sets of [`WAYS`]; a key's set follows from a hash that nobody outside can compute, so
//! keys cannot be chosen to meet. A new key takes an entry whose number says that nothing would be
//! lost by forgetting it. If its set has none, it shares one entry with all others in that plight.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries that a key can be in: one cache line of tags. With as many keys as entries, one in
/// twenty finds no place; with a tenth fewer, one in a hundred.
const WAYS: usize = 64;

/// Numbers by key. 0 is the number of a key that is not known.
#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[Mutex<Set>]>,
    hasher: RandomState,
    /// The number that keys without a place share.
    overflow: Mutex<u64>,
    overflowed: AtomicU64,
}

#[derive(Debug)]
struct Set {
    /// A byte of each key's hash, so that one look at 64 bytes finds it; 0 where there is none.
    tags: [u8; WAYS],
    numbers: [u64; WAYS],
    keys: [u128; WAYS],
}

/// Where a number was found, for as long as its key keeps that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    key: u128,
    set: u32,
    /// `None`: in the number that many keys share.
    way: Option<u8>,
}

enum Place {
    Known(usize),
    Free(usize),
    None,
}

impl Table {
    /// At most `keys` entries, rounded up to whole sets.
    pub(super) fn new(keys: usize) -> Self {
        let sets = keys.div_ceil(WAYS).clamp(1, u32::MAX as usize);
        Self {
            sets: (0..sets).map(|_| Mutex::new(Set::EMPTY)).collect(),
            hasher: RandomState::new(),
            overflow: Mutex::new(0),
            overflowed: AtomicU64::new(0),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// How often a key found no place.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// The number that [`Self::change`] would be about.
    pub(super) fn look(&self, key: u128, is_free: impl Fn(u64) -> bool) -> u64 {
        let (set, tag) = self.place_of(key);
        let guard = lock(&self.sets[set]);
        match guard.find(key, tag, is_free) {
            Place::Known(way) => guard.numbers[way],
            Place::Free(_) => 0,
            Place::None => {
                drop(guard);
                *lock(&self.overflow)
            }
        }
    }

    /// Changes the number of `key`. Numbers that are `is_free` may be forgotten for it.
    ///
    /// # Errors
    ///
    /// What `change` says; everything is as it was then.
    pub(super) fn change<E>(
        &self,
        key: u128,
        is_free: impl Fn(u64) -> bool,
        change: impl FnOnce(u64) -> Result<u64, E>,
    ) -> Result<Entry, E> {
        let (index, tag) = self.place_of(key);
        let mut guard = lock(&self.sets[index]);
        let set = &mut *guard;
        let way = match set.find(key, tag, is_free) {
            Place::Known(way) => {
                set.numbers[way] = change(set.numbers[way])?;
                Some(way)
            }
            Place::Free(way) => {
                set.numbers[way] = change(0)?;
                set.keys[way] = key;
                set.tags[way] = tag;
                Some(way)
            }
            Place::None => {
                drop(guard);
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                let mut shared = lock(&self.overflow);
                *shared = change(*shared)?;
                None
            }
        };
        Ok(Entry { key, set: index as u32, way: way.map(|way| way as u8) })
    }

    /// Changes a number once more, if its key still has that place.
    pub(super) fn change_again(&self, entry: Entry, change: impl FnOnce(u64) -> u64) {
        let Some(way) = entry.way.map(usize::from) else {
            let mut shared = lock(&self.overflow);
            *shared = change(*shared);
            return;
        };
        let mut set = lock(&self.sets[entry.set as usize]);
        if set.tags[way] != 0 && set.keys[way] == entry.key {
            set.numbers[way] = change(set.numbers[way]);
        }
    }

    /// Every key with its number: a set at a time, while others go on.
    pub(super) fn for_each(&self, mut each: impl FnMut(u128, u64)) {
        for set in &self.sets {
            let set = lock(set);
            let known = (0..WAYS).filter(|way| set.tags[*way] != 0);
            known.for_each(|way| each(set.keys[way], set.numbers[way]));
        }
    }

    /// The set of a key, and the tag that it has there.
    fn place_of(&self, key: u128) -> (usize, u8) {
        let hash = self.hasher.hash_one(key);
        let set = (u128::from(hash) * self.sets.len() as u128) >> 64;
        // The set follows from the upper bits, so the lowest still tell keys in it apart.
        (set as usize, (hash as u8).max(1))
    }
}

impl Set {
    const EMPTY: Self = Self { tags: [0; WAYS], numbers: [0; WAYS], keys: [0; WAYS] };

    fn find(&self, key: u128, tag: u8, is_free: impl Fn(u64) -> bool) -> Place {
        let mut same_tag = memchr::memchr_iter(tag, &self.tags);
        if let Some(way) = same_tag.find(|way| self.keys[*way] == key) {
            return Place::Known(way);
        }
        if let Some(way) = memchr::memchr(0, &self.tags) {
            return Place::Free(way);
        }
        // The lowest number is what has been left alone longest.
        let lowest = self.numbers.iter().enumerate().min_by_key(|(_, number)| **number);
        match lowest {
            Some((way, number)) if is_free(*number) => Place::Free(way),
            _ => Place::None,
        }
    }
}

/// What these locks guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number is free up to this.
    fn is_free(number: u64) -> bool {
        number <= 10
    }

    fn set(table: &Table, key: u128, number: u64) -> Entry {
        let entry: Result<_, ()> = table.change(key, is_free, |_| Ok(number));
        entry.unwrap()
    }

    #[test]
    fn each_key_has_its_own_number() {
        let table = Table::new(1000);
        for key in 0..500 {
            set(&table, key, 100 + key as u64);
        }
        assert!((0..500).all(|key| table.look(key, is_free) == 100 + key as u64));
        assert_eq!(table.look(500, is_free), 0);
        assert_eq!(table.overflowed(), 0);
    }

    #[test]
    fn a_change_that_is_refused_leaves_nothing_behind() {
        let table = Table::new(64);
        assert_eq!(table.change(1, is_free, |_| Err("no")), Err("no"));
        let mut known = 0;
        table.for_each(|_, _| known += 1);
        assert_eq!(known, 0);
    }

    #[test]
    fn only_numbers_that_are_free_are_forgotten() {
        let table = Table::new(WAYS);
        for key in 0..WAYS as u128 {
            set(&table, key, if key == 7 { 10 } else { 11 });
        }
        let newcomer = set(&table, 1000, 20);
        assert_eq!(table.look(7, is_free), 0, "its number was free");
        assert_eq!(table.look(1000, is_free), 20);
        assert!((0..64).filter(|key| *key != 7).all(|key| table.look(key, is_free) == 11));
        table.change_again(newcomer, |number| number + 1);
        assert_eq!(table.look(1000, is_free), 21);
    }

    #[test]
    fn keys_without_a_place_share_one_number_and_are_counted() {
        let table = Table::new(WAYS);
        for key in 0..WAYS as u128 {
            set(&table, key, 11);
        }
        let shared = set(&table, 1000, 30);
        assert_eq!((table.look(1000, is_free), table.look(1001, is_free)), (30, 30));
        table.change_again(shared, |number| number - 5);
        assert_eq!(table.look(1001, is_free), 25);
        assert_eq!(table.overflowed(), 1);
        assert_eq!(table.capacity(), WAYS);
    }

    #[test]
    fn a_place_that_went_to_another_key_is_left_alone() {
        let table = Table::new(1);
        let old = set(&table, 1, 5);
        for key in 2..=WAYS as u128 + 1 {
            set(&table, key, 50);
        }
        assert_eq!(table.look(1, is_free), 0);
        table.change_again(old, |_| 0);
        assert!((2..66).all(|key| table.look(key, is_free) == 50));
    }
}
