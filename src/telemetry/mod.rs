//! What is counted, what is recorded of an exchange, and how both are written as text.
//!
//! Workers write, without locks, into cells that only they write; whoever reads merges the workers.
//! Nothing here opens a file, starts a thread or asks for the time: durations and stamps come in
//! as arguments, text goes out into the caller's buffer.

pub mod access_log;
pub mod counter;
pub mod event_loop;
mod exposition;
mod hand_over;
mod lookups;
pub mod histogram;
pub mod history;
pub mod log_queue;
pub mod prometheus;
pub mod record;
pub mod report;
pub mod stamp;
pub mod totals;
pub mod worker;

pub use access_log::{Line, LineFormat, Load};
pub use counter::{Counter, Labelled, SharedCounter};
pub use hand_over::{HandOverOutcome, HandOvers};
pub use histogram::{Buckets, Histogram};
pub use log_queue::LogSink;
pub use lookups::{LookupOutcome, Lookups};
pub use record::Outcome;
pub use report::{
    CertificateReport, CircuitState, ClusterReport, EndpointReport, LimitReport, LogEntries,
    PassiveReport, ProcessStats, Report,
};
pub use stamp::StampCache;
pub use worker::{
    AiSeries, ClusterSeries, HandshakeSeries, RequestKey, RequestSeries, UpstreamSeries,
    WorkerMetrics,
};
