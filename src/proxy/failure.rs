//! What goes wrong with endpoints: the kinds that are counted, and the last of each that are
//! remembered for the operator.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How an attempt can fail through its endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndpointFailure {
    ConnectFailed,
    ConnectTimeout,
    Closed,
    Refused,
    FirstByteTimeout,
    Fault,
    Cut,
    IdleTimeout,
    Status,
}

impl EndpointFailure {
    /// In the order of [`Self::index`].
    pub(super) const LABELS: &'static [&'static str] = &[
        "connect_failed",
        "connect_timeout",
        "upstream_closed",
        "upstream_refused",
        "first_byte_timeout",
        "upstream_fault",
        "upstream_cut",
        "idle_timeout",
        "retried_status",
    ];

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// Different failures of one endpoint that are remembered.
const KEPT_MAX: usize = 8;

/// The last failures of one endpoint: each different one once, with how often it has come.
#[derive(Debug, Default)]
pub(super) struct FailureLog(Mutex<Vec<SeenFailure>>);

/// One failure as often as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenFailure {
    /// As in the access log.
    pub reason: &'static str,
    /// What the endpoint answered, if its status is what was wrong.
    pub status: Option<u16>,
    /// Since it was last forgotten, which happens when others take its place.
    pub count: u64,
    /// The first and the last time, in nanoseconds since 1970.
    pub first_unix_ns: u64,
    pub last_unix_ns: u64,
}

impl FailureLog {
    pub(super) fn note(&self, reason: &'static str, status: Option<u16>, unix_ns: u64) {
        let mut seen = self.lock();
        let is_same = |known: &&mut SeenFailure| known.reason == reason && known.status == status;
        if let Some(known) = seen.iter_mut().find(is_same) {
            known.count += 1;
            known.last_unix_ns = known.last_unix_ns.max(unix_ns);
            return;
        }
        if seen.len() >= KEPT_MAX {
            let oldest = seen.iter().enumerate().min_by_key(|(_, known)| known.last_unix_ns);
            if let Some((index, _)) = oldest {
                seen.swap_remove(index);
            }
        }
        let (first_unix_ns, last_unix_ns) = (unix_ns, unix_ns);
        seen.push(SeenFailure { reason, status, count: 1, first_unix_ns, last_unix_ns });
    }

    /// The one that came last comes first.
    pub(super) fn latest_first(&self) -> Vec<SeenFailure> {
        let mut seen = self.lock().clone();
        seen.sort_by_key(|known| std::cmp::Reverse(known.last_unix_ns));
        seen
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SeenFailure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_kept_once_and_counted() {
        let log = FailureLog::default();
        log.note("connect_failed", None, 10);
        log.note("retried_status", Some(503), 20);
        log.note("connect_failed", None, 30);
        log.note("retried_status", Some(500), 25);
        let seen: Vec<_> =
            log.latest_first().iter().map(|seen| (seen.reason, seen.status, seen.count)).collect();
        assert_eq!(
            seen,
            [
                ("connect_failed", None, 2),
                ("retried_status", Some(500), 1),
                ("retried_status", Some(503), 1),
            ]
        );
        assert_eq!(log.latest_first()[0].first_unix_ns, 10);
    }

    #[test]
    fn the_one_that_has_not_come_for_longest_makes_room() {
        let log = FailureLog::default();
        for status in 500..500 + KEPT_MAX as u16 {
            log.note("retried_status", Some(status), u64::from(status));
        }
        log.note("retried_status", Some(500), 1_000);
        log.note("connect_failed", None, 1_001);
        let seen = log.latest_first();
        assert_eq!(seen.len(), KEPT_MAX);
        assert!(seen.iter().any(|seen| seen.status == Some(500)));
        assert!(seen.iter().all(|seen| seen.status != Some(501)));
    }
}
