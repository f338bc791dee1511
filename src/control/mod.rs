//! What runs beside the workers: slow work, on threads that may block.

pub mod log_entries;
pub mod log_writer;
pub mod process;
