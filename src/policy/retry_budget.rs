//! A share of the requests may be retries, so that retries cannot become a storm.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a retry costs, in the unit of the balance.
const RETRY: u64 = 1000;

/// Retries that a cluster has at the beginning: else the first failure of a quiet cluster would
/// reach a client.
const FIRST: u64 = 10 * RETRY;

/// Retries that can be saved up: enough for the exchanges that die with one endpoint.
const SAVED_MAX: u64 = 1000 * RETRY;

/// The balance of a cluster, shared by all workers. Retries are at most [`FIRST`] and a share of
/// the requests, over any time since the start.
#[derive(Debug)]
pub struct RetryBudget(AtomicU64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU64::new(FIRST))
    }
}

impl RetryBudget {
    /// Pays in for `requests` begun, of which `share` may be retried.
    pub fn deposit(&self, requests: u32, share: f64) {
        let credit = (f64::from(requests) * share * RETRY as f64) as u64;
        let update = |balance: u64| Some((balance + credit).min(SAVED_MAX));
        // The closure never declines, so there is nothing to be told.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Retries that could be paid for.
    pub fn available(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / RETRY
    }

    /// Pays for one retry, if there is enough.
    pub fn withdraw(&self, share: f64) -> bool {
        let pay = |balance: u64| balance.checked_sub(RETRY);
        share > 0.0 && self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(budget: &RetryBudget, share: f64) -> u64 {
        std::iter::repeat_with(|| budget.withdraw(share)).take_while(|paid| *paid).count() as u64
    }

    #[test]
    fn retries_are_a_share_of_the_requests_once_the_first_are_spent() {
        let budget = RetryBudget::default();
        assert_eq!(spent(&budget, 0.2), FIRST / RETRY);
        budget.deposit(100, 0.2);
        assert_eq!(spent(&budget, 0.2), 20);
    }

    #[test]
    fn a_quiet_time_saves_up_a_bounded_number() {
        let budget = RetryBudget::default();
        (0..100).for_each(|_| budget.deposit(1_000_000, 1.0));
        assert_eq!(spent(&budget, 1.0), SAVED_MAX / RETRY);
    }

    #[test]
    fn a_share_of_nothing_forbids_retries() {
        assert_eq!(spent(&RetryBudget::default(), 0.0), 0);
    }
}
