//! What the loop counts about itself; the counters belong to telemetry, which reads them.

pub use crate::telemetry::event_loop::LoopStats;
