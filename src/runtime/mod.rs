//! The workers' runtime: one loop per thread, over io_uring or epoll.
//!
//! It knows descriptors, bytes, time and tasks. What the bytes mean is none of its business.

pub mod buffers;
pub mod clock;
pub mod core;
mod driver;
mod epoll;
pub mod io;
pub mod mailbox;
pub mod probe;
mod remote;
mod task;
pub mod thread;
mod uring;
pub mod wheel;
