//! Lets one thread wait for another: a test holds an origin's answer until it has looked.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::PATIENCE;

/// A number of passes that one side grants and the other takes.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Lets one more through.
    pub fn open(&self) {
        let (passes, granted) = &*self.0;
        *passes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        granted.notify_all();
    }

    /// Waits until it is let through.
    pub fn pass(&self) {
        assert!(self.try_pass(), "nobody opened the gate");
    }

    /// As [`Gate::pass`], and says whether it was; for threads that may outlive their test.
    pub fn try_pass(&self) -> bool {
        let (passes, granted) = &*self.0;
        let passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut passes, waited) = granted
            .wait_timeout_while(passes, PATIENCE, |passes| *passes == 0)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return false;
        }
        *passes -= 1;
        true
    }
}
