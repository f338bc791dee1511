//! What runs beside the workers: start, signals, reload, DNS, logs. Slow is fine here.

mod admin_server;
mod dns;
mod drain;
pub mod fleet;
pub mod handover;
mod health;
pub mod inheritance;
pub mod instance;
pub mod log_entries;
pub mod log_writer;
pub mod logging;
mod ops;
mod os;
pub mod reload;
mod running;
mod runtime_changes;
pub mod serve;
pub mod signals;
pub mod sockets;
mod status;
mod start;
mod state;
mod systemd;
