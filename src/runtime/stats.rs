//! What a worker's loop counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of one loop, written by its thread and read by any.
#[derive(Debug, Default)]
pub struct LoopStats {
    /// Turns of the loop; it also is the heartbeat.
    pub turns: Count,
    /// Calls of io_uring_enter, or of epoll_wait with the epoll driver.
    pub enters: Count,
    /// Completions, or events with the epoll driver.
    pub completions: Count,
    /// Receives that found every ring buffer in use.
    pub buffers_exhausted: Count,
    /// System calls besides the enters: sends, accepts, connects, closes, and with the epoll
    /// driver receives.
    pub syscalls: Count,
    /// Tasks that ended in a panic.
    pub panics: Count,
}
