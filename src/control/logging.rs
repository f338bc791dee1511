//! The program's own log, on standard error.

use std::sync::Arc;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::log_entries::CountEntries;
use crate::proxy::settings::{Log, LogFormat};
use crate::telemetry::LogEntries;

/// The log once it is set up: its level can be changed, its entries are counted.
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    pub entries: Arc<LogEntries>,
}

impl Logging {
    /// Sets the log up for this process. A second call in one process changes nothing.
    pub fn start(settings: &Log) -> Self {
        let (filter, handle) = reload::Layer::new(filter(settings));
        let entries = Arc::new(LogEntries::default());
        let lines = match settings.format {
            LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
            LogFormat::Pattern => {
                fmt::layer().with_writer(std::io::stderr).with_ansi(false).boxed()
            }
        };
        let counted = CountEntries(Arc::clone(&entries));
        let started =
            tracing_subscriber::registry().with(filter).with(lines).with(counted).try_init();
        drop(started);
        Self { filter: handle, entries }
    }

    /// Takes over the level of a reloaded configuration.
    pub fn apply(&self, settings: &Log) {
        if let Err(error) = self.filter.reload(filter(settings)) {
            tracing::warn!(%error, "cannot change the log level");
        }
    }
}

/// The configuration has checked the level; a filter that still fails means the usual one.
fn filter(settings: &Log) -> EnvFilter {
    EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"))
}
