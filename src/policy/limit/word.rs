//! The numbers that limiters are made of.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that several threads change. Limiters are written over it, so that a test can stand
/// between any two of their steps.
pub trait Word: Default {
    fn load(&self) -> u64;

    /// Puts `new` in the place of `seen`.
    ///
    /// # Errors
    ///
    /// Something else stands there: what.
    fn replace(&self, seen: u64, new: u64) -> Result<(), u64>;

    /// Takes `by` away. Never more than was added.
    fn lower(&self, by: u64);
}

impl Word for AtomicU64 {
    fn load(&self) -> u64 {
        Self::load(self, Ordering::Acquire)
    }

    fn replace(&self, seen: u64, new: u64) -> Result<(), u64> {
        self.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }

    fn lower(&self, by: u64) {
        self.fetch_sub(by, Ordering::AcqRel);
    }
}
