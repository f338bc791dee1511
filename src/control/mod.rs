//! What runs beside the workers: start, signals, reload, DNS, logs. Slow is fine here.

pub mod dns;
pub mod fleet;
pub mod instance;
pub mod log_entries;
pub mod log_writer;
pub mod logging;
mod ops;
pub mod reload;
pub mod serve;
pub mod sockets;
