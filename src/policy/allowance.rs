//! How often something may happen that costs us and brings nobody anything.

use std::time::Duration;

/// What an [`Allowance`] is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Credits at the beginning, and at most.
    pub most: u32,
    /// One comes back each time this has passed.
    pub every: Duration,
}

/// Credits that events use up. They come back with time, and with work that is worth something:
/// who does much may also cost much.
#[derive(Debug)]
pub struct Allowance {
    terms: Terms,
    credits: u32,
    /// Up to when time has been paid for, in nanoseconds. Never ahead of the last `now`.
    paid_until: u64,
}

impl Allowance {
    pub fn new(terms: Terms, now: u64) -> Self {
        Self { terms, credits: terms.most, paid_until: now }
    }

    /// Takes one credit, if there is one. `now` is in nanoseconds, on any clock.
    pub fn take(&mut self, now: u64) -> bool {
        if self.credits == 0 {
            self.pay(now);
        }
        let has_one = self.credits > 0;
        self.credits = self.credits.saturating_sub(1);
        has_one
    }

    /// Gives credits for work done.
    pub fn earn(&mut self, credits: u32) {
        self.credits = self.credits.saturating_add(credits).min(self.terms.most);
    }

    fn pay(&mut self, now: u64) {
        let every = u64::try_from(self.terms.every.as_nanos()).unwrap_or(u64::MAX).max(1);
        let due = now.saturating_sub(self.paid_until) / every;
        self.paid_until += due * every;
        self.earn(u32::try_from(due).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { most: 3, every: Duration::from_nanos(10) };

    fn taken(allowance: &mut Allowance, now: u64) -> usize {
        (0..10).take_while(|_| allowance.take(now)).count()
    }

    #[test]
    fn a_burst_is_allowed_once() {
        let mut allowance = Allowance::new(TERMS, 100);
        assert_eq!(taken(&mut allowance, 100), 3);
        assert_eq!(taken(&mut allowance, 109), 0);
    }

    #[test]
    fn credits_come_back_with_time_up_to_the_most() {
        let mut allowance = Allowance::new(TERMS, 0);
        assert_eq!(taken(&mut allowance, 0), 3);
        assert_eq!(taken(&mut allowance, 25), 2);
        // The five nanoseconds that were left over count.
        assert_eq!(taken(&mut allowance, 30), 1);
        assert_eq!(taken(&mut allowance, 1_000_000), 3);
        assert_eq!(taken(&mut allowance, 1_000_000), 0);
    }

    #[test]
    fn credits_come_back_with_work_up_to_the_most() {
        let mut allowance = Allowance::new(TERMS, 0);
        allowance.earn(100);
        assert_eq!(taken(&mut allowance, 0), 3);
        allowance.earn(1);
        assert_eq!(taken(&mut allowance, 0), 1);
    }
}
