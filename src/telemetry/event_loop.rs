//! What a worker's event loop counts about itself.

use super::counter::Counter;

/// Counters of one loop, written by its thread and read by any.
#[derive(Debug, Default)]
pub struct LoopStats {
    /// Turns of the loop. While a worker lives they go on: they are its heartbeat.
    pub turns: Counter,
    /// Calls of `io_uring_enter`, or of `epoll_wait` under the other driver.
    pub enters: Counter,
    /// Completions (CQEs) reaped; under epoll, events.
    pub completions: Counter,
    /// Other system calls of the loop and its sockets: sends, accepts, connects, closes, and
    /// under epoll receives.
    pub syscalls: Counter,
    /// Receives that found every ring buffer in use.
    pub buffers_exhausted: Counter,
    /// Panics caught at the border of a task.
    pub panics: Counter,
}
