//! How slowly a request body may come.

use std::num::NonZeroU64;
use std::time::Duration;

/// What is asked of every body on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaceLimits {
    /// Longest wait for the next piece. `None` bounds neither this nor the whole.
    pub pause: Option<Duration>,
    /// Bytes that buy a second more for the body as a whole. `None` leaves the whole unbounded.
    pub rate: Option<NonZeroU64>,
}

/// The account of one body: how long its sender has been waited for, and what it sent.
///
/// The whole body may be waited for as long as one pause, and a second for each `rate` bytes that
/// have come. So a body that comes at that rate never meets the bound however large it is, while
/// one byte now and then holds its memory and its connection for little longer than a pause. Only
/// waits for the sender count: an upstream that takes its time is not the client's fault.
#[derive(Debug)]
pub struct BodyPace {
    limits: PaceLimits,
    waited: Duration,
    received: u64,
}

impl BodyPace {
    pub fn new(limits: PaceLimits) -> Self {
        Self { limits, waited: Duration::ZERO, received: 0 }
    }

    /// How long the next piece may be waited for; `None` is for ever.
    pub fn patience(&self) -> Option<Duration> {
        let pause = self.limits.pause?;
        Some(self.left().map_or(pause, |left| left.min(pause)))
    }

    /// Enters a wait, and the bytes that it brought.
    pub fn enter(&mut self, waited: Duration, bytes: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.received = self.received.saturating_add(bytes as u64);
    }

    /// Whether it is the whole, and not the pause, that bounds the next wait: who lets that pass
    /// has been too slow all along, and did not just fall silent.
    pub fn is_behind(&self) -> bool {
        self.patience() < self.limits.pause
    }

    fn left(&self) -> Option<Duration> {
        let bought = Duration::from_secs(self.received / self.limits.rate?);
        Some(self.limits.pause?.saturating_add(bought).saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn pace(rate: u64) -> BodyPace {
        BodyPace::new(PaceLimits { pause: Some(PAUSE), rate: NonZeroU64::new(rate) })
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// When a body is given up that brings `bytes` after every `pause`, and is never silent for
    /// longer; `None` if an hour passes first.
    fn given_up_after(pace: &mut BodyPace, pause: Duration, bytes: usize) -> Option<Duration> {
        let mut passed = Duration::ZERO;
        while passed < seconds(3_600) {
            let patience = pace.patience()?;
            if patience < pause {
                assert!(pace.is_behind());
                return Some(passed + patience);
            }
            passed += pause;
            pace.enter(pause, bytes);
        }
        None
    }

    #[test]
    fn single_bytes_hold_a_body_for_one_pause_in_all() {
        assert_eq!(given_up_after(&mut pace(512), seconds(29), 1), Some(PAUSE));
        assert_eq!(given_up_after(&mut pace(512), seconds(1), 1), Some(PAUSE));
    }

    #[test]
    fn a_body_at_the_rate_is_never_given_up_and_one_below_it_is() {
        assert_eq!(given_up_after(&mut pace(512), seconds(1), 512), None);
        assert_eq!(given_up_after(&mut pace(512), seconds(25), 25 * 512), None);
        // Half the rate: each second gives back half of what it took.
        assert_eq!(given_up_after(&mut pace(512), seconds(1), 256), Some(seconds(59)));
    }

    #[test]
    fn what_came_fast_may_pause_later_but_for_no_longer_than_a_pause_at_a_time() {
        let mut pace = pace(512);
        pace.enter(Duration::ZERO, 1 << 20);
        assert_eq!(pace.patience(), Some(PAUSE));
        pace.enter(seconds(1_000), 0);
        assert_eq!(pace.patience(), Some(PAUSE));
    }

    #[test]
    fn a_client_that_falls_silent_is_not_mistaken_for_a_slow_one() {
        let mut pace = pace(512);
        assert!(!pace.is_behind());
        pace.enter(seconds(9), 10 * 512);
        assert!(!pace.is_behind());
        pace.enter(seconds(9), 1);
        assert!(pace.is_behind());
    }

    #[test]
    fn without_a_rate_only_pauses_are_bounded_and_without_a_pause_nothing_is() {
        assert_eq!(given_up_after(&mut pace(0), seconds(29), 1), None);
        assert_eq!(pace(0).patience(), Some(PAUSE));
        let mut unbounded = BodyPace::new(PaceLimits { pause: None, rate: NonZeroU64::new(512) });
        unbounded.enter(seconds(1 << 40), 0);
        assert_eq!((unbounded.patience(), unbounded.is_behind()), (None, false));
    }
}
