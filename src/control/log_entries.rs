//! Counts the entries of the program's own log.

use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::telemetry::LogEntries;

/// A layer to stack on the subscriber that writes: it counts what passes the filter.
pub struct CountEntries(pub Arc<LogEntries>);

impl<S: Subscriber> Layer<S> for CountEntries {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entries = match *event.metadata().level() {
            Level::ERROR => &self.0.error,
            Level::WARN => &self.0.warn,
            Level::INFO => &self.0.info,
            Level::DEBUG => &self.0.debug,
            Level::TRACE => &self.0.trace,
        };
        entries.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn entries_are_counted_by_level_and_only_if_they_are_written() {
        let entries = Arc::new(LogEntries::default());
        let subscriber = tracing_subscriber::registry()
            .with(EnvFilter::new("info"))
            .with(CountEntries(Arc::clone(&entries)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("broken");
            tracing::warn!("odd");
            tracing::warn!("odd again");
            tracing::debug!("not asked for");
        });
        let counted = [&entries.error, &entries.warn, &entries.info, &entries.debug];
        assert_eq!(counted.map(|counter| counter.get()), [1, 2, 0, 0]);
    }
}
