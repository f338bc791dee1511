//! A hierarchical timer wheel: many deadlines, most of which are moved before they pass.
//!
//! Pure: time is a count of ticks that the caller passes in. A deadline that is moved further
//! away is not touched in the wheel at all; it is looked at when its old slot comes up, and put
//! where it belongs then. A connection that sets three deadlines per request therefore costs a
//! few stores per request and one look per old deadline.

/// Slots per level; one bit each in the level's bitmap.
const SLOTS: usize = 64;
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// 64^5 ticks of 1 ms are 12 days; what lies further ahead is looked at again then.
const LEVELS: usize = 5;
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS as u32);
const NONE: u32 = u32::MAX;

/// A deadline's place in the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryId(u32);

struct Entry<T> {
    /// When it is due; `u64::MAX` is never.
    due: u64,
    /// The slot it is linked into, as level × 64 + slot; `NONE` when it is in no list.
    linked: u32,
    previous: u32,
    next: u32,
    value: Option<T>,
}

/// Deadlines in ticks, each with a value that is handed out when it is due.
pub struct Wheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    heads: [u32; SLOTS * LEVELS],
    occupied: [u64; LEVELS],
    /// Everything due at or before this tick has been handed out.
    elapsed: u64,
}

impl<T> Wheel<T> {
    pub fn new(now: u64) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            heads: [NONE; SLOTS * LEVELS],
            occupied: [0; LEVELS],
            elapsed: now,
        }
    }

    /// A deadline that is not set yet.
    pub fn add(&mut self, value: T) -> EntryId {
        let entry =
            Entry { due: u64::MAX, linked: NONE, previous: NONE, next: NONE, value: Some(value) };
        if self.free == NONE {
            self.entries.push(entry);
            return EntryId(self.entries.len() as u32 - 1);
        }
        let id = self.free;
        self.free = self.entries[id as usize].next;
        self.entries[id as usize] = entry;
        EntryId(id)
    }

    /// Moves the deadline. It is handed out once `advance` reaches `due`.
    pub fn set(&mut self, id: EntryId, due: u64) {
        let entry = &mut self.entries[id.0 as usize];
        entry.due = due;
        if entry.linked != NONE && self.slot_start(self.entries[id.0 as usize].linked) <= due {
            return;
        }
        if due == u64::MAX {
            return;
        }
        self.unlink(id.0);
        self.link(id.0);
    }

    /// The deadline is off. It stays where it is linked until that slot comes up.
    pub fn clear(&mut self, id: EntryId) {
        self.entries[id.0 as usize].due = u64::MAX;
    }

    pub fn value_mut(&mut self, id: EntryId) -> &mut T {
        self.entries[id.0 as usize].value.as_mut().expect("an id is used between add and remove")
    }

    pub fn remove(&mut self, id: EntryId) -> T {
        self.unlink(id.0);
        let entry = &mut self.entries[id.0 as usize];
        let value = entry.value.take().expect("an id is removed once");
        entry.next = self.free;
        self.free = id.0;
        value
    }

    /// Brings the wheel to `now` and calls `fire` for every deadline that is due.
    pub fn advance(&mut self, now: u64, mut fire: impl FnMut(&mut T)) {
        while let Some((start, list)) = self.next_slot() {
            if start > now {
                break;
            }
            self.elapsed = self.elapsed.max(start);
            let mut id = self.take_list(list);
            while id != NONE {
                let entry = &mut self.entries[id as usize];
                let next = entry.next;
                entry.linked = NONE;
                if entry.due <= now {
                    entry.due = u64::MAX;
                    fire(entry.value.as_mut().expect("a linked entry has its value"));
                } else if entry.due != u64::MAX {
                    self.link(id);
                }
                id = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// The tick at which `advance` should be called next. It may be early, never late.
    pub fn next_look(&self) -> Option<u64> {
        self.next_slot().map(|(start, _)| start)
    }

    /// The first occupied slot: when it starts, and its list.
    fn next_slot(&self) -> Option<(u64, usize)> {
        let mut first: Option<(u64, usize)> = None;
        for level in 0..LEVELS {
            let bits = self.occupied[level];
            if bits == 0 {
                continue;
            }
            let shift = SLOT_BITS * level as u32;
            let at = (self.elapsed >> shift) as usize % SLOTS;
            let ahead = bits.rotate_right(at as u32).trailing_zeros() as u64;
            let start = ((self.elapsed >> shift) + ahead) << shift;
            let start = start.max(self.elapsed);
            if first.is_none_or(|(earliest, _)| start < earliest) {
                first = Some((start, level * SLOTS + (at + ahead as usize) % SLOTS));
            }
        }
        first
    }

    /// When the slot with this list number comes up, counted from `elapsed`.
    fn slot_start(&self, list: u32) -> u64 {
        let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
        let shift = SLOT_BITS * level as u32;
        let base = self.elapsed >> shift;
        let ahead = (slot + SLOTS - base as usize % SLOTS) % SLOTS;
        (base + ahead as u64) << shift
    }

    fn link(&mut self, id: u32) {
        let due = self.entries[id as usize].due.clamp(self.elapsed, self.elapsed + SPAN - 1);
        let distance = due - self.elapsed;
        let mut level =
            ((63 - (distance | (SLOTS as u64 - 1)).leading_zeros()) / SLOT_BITS) as usize;
        let mut shift = SLOT_BITS * level as u32;
        // A whole turn ahead on this level is the slot that is under the hand now.
        if (due >> shift) - (self.elapsed >> shift) >= SLOTS as u64 {
            level = (level + 1).min(LEVELS - 1);
            shift = SLOT_BITS * level as u32;
        }
        let slot = (due >> shift) as usize % SLOTS;
        let list = level * SLOTS + slot;
        let head = self.heads[list];
        let entry = &mut self.entries[id as usize];
        entry.linked = list as u32;
        entry.previous = NONE;
        entry.next = head;
        if head != NONE {
            self.entries[head as usize].previous = id;
        }
        self.heads[list] = id;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, id: u32) {
        let Entry { linked, previous, next, .. } = self.entries[id as usize];
        if linked == NONE {
            return;
        }
        if previous == NONE {
            self.heads[linked as usize] = next;
            if next == NONE {
                self.occupied[linked as usize / SLOTS] &= !(1 << (linked as usize % SLOTS));
            }
        } else {
            self.entries[previous as usize].next = next;
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        self.entries[id as usize].linked = NONE;
    }

    fn take_list(&mut self, list: usize) -> u32 {
        self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        std::mem::replace(&mut self.heads[list], NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn due_at(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut fired = Vec::new();
        wheel.advance(now, |value| fired.push(*value));
        fired.sort_unstable();
        fired
    }

    #[test]
    fn a_deadline_is_handed_out_at_its_tick_and_not_before() {
        let mut wheel = Wheel::new(1_000);
        for (value, due) in [(1, 1_001), (2, 1_063), (3, 1_064), (4, 9_000), (5, 400_000)] {
            let id = wheel.add(value);
            wheel.set(id, due);
            assert!(!due_at(&mut wheel, due - 1).contains(&value));
            assert_eq!(due_at(&mut wheel, due), [value]);
        }
    }

    #[test]
    fn a_deadline_moved_away_fires_at_its_new_tick_only() {
        let mut wheel = Wheel::new(0);
        let id = wheel.add(7);
        wheel.set(id, 10);
        wheel.set(id, 75_000);
        assert!(due_at(&mut wheel, 74_999).is_empty());
        assert_eq!(due_at(&mut wheel, 75_000), [7]);
    }

    #[test]
    fn a_deadline_moved_closer_fires_early() {
        let mut wheel = Wheel::new(0);
        let id = wheel.add(7);
        wheel.set(id, 300_000);
        wheel.set(id, 20);
        assert_eq!(due_at(&mut wheel, 20), [7]);
        assert!(due_at(&mut wheel, 400_000).is_empty());
    }

    #[test]
    fn a_cleared_or_removed_deadline_is_silent() {
        let mut wheel = Wheel::new(0);
        let (a, b) = (wheel.add(1), wheel.add(2));
        wheel.set(a, 5);
        wheel.set(b, 5);
        wheel.clear(a);
        assert_eq!(wheel.remove(b), 2);
        assert!(due_at(&mut wheel, 1_000).is_empty());
        assert_eq!(wheel.next_look(), None);
    }

    proptest! {
        /// Against a list of (due, value): whatever is set, moved, cleared or removed, in
        /// whatever steps time goes, the same deadlines come out.
        #[test]
        fn the_wheel_agrees_with_a_list(
            steps in proptest::collection::vec((0u8..5, 0usize..20, 0u64..300_000), 1..200),
            start in 0u64..1_000_000,
        ) {
            let mut wheel = Wheel::new(start);
            let mut list: Vec<(EntryId, u64)> =
                (0..20).map(|value| (wheel.add(value), u64::MAX)).collect();
            let mut now = start;
            for (what, which, amount) in steps {
                match what {
                    0 | 1 => {
                        list[which].1 = now + 1 + amount;
                        wheel.set(list[which].0, now + 1 + amount);
                    }
                    2 => {
                        list[which].1 = u64::MAX;
                        wheel.clear(list[which].0);
                    }
                    3 => {
                        wheel.remove(list[which].0);
                        list[which] = (wheel.add(which as u32), u64::MAX);
                    }
                    _ => {
                        now += amount / 7;
                        let expected: Vec<u32> = (0..20u32)
                            .filter(|i| list[*i as usize].1 <= now)
                            .collect();
                        for i in &expected {
                            list[*i as usize].1 = u64::MAX;
                        }
                        prop_assert_eq!(due_at(&mut wheel, now), expected);
                    }
                }
                let earliest = list.iter().map(|(_, due)| *due).min();
                if let Some(due) = earliest.filter(|due| *due != u64::MAX) {
                    prop_assert!(wheel.next_look().is_some_and(|look| look <= due));
                }
            }
        }
    }
}
