//! How long an endpoint takes lately: peaks count at once, and are forgotten slowly.

use std::sync::atomic::{AtomicU64, Ordering};

/// After this long a sample has 37 % of its influence left.
const DECAY_SECONDS: f32 = 10.0;

/// A time to first byte that all workers write and read: nanoseconds as `f32` in the upper half,
/// the millisecond of the last change in the lower. 0 is "no answer yet".
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes an answer into account that took `sample_ns`, at `now_ns`.
    pub fn observe(&self, sample_ns: u64, now_ns: u64) {
        // Above zero, which would mean that there was none.
        let sample = (sample_ns as f32).max(1.0);
        let update = |state| {
            let old = unpack(state);
            let value = match old {
                Some((value, at)) if sample < value => {
                    let kept = kept(at, now_ns);
                    value * kept + sample * (1.0 - kept)
                }
                _ => sample,
            };
            Some(pack(value, now_ns))
        };
        // The closure never declines, so there is nothing to be told.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// The estimate at `now_ns`: an endpoint that was slow and has been left alone since deserves
    /// another look.
    pub fn read(&self, now_ns: u64) -> Option<f32> {
        let (value, at) = unpack(self.0.load(Ordering::Relaxed))?;
        Some(value * kept(at, now_ns))
    }
}

/// What is left of a value from millisecond `at`.
fn kept(at: u32, now_ns: u64) -> f32 {
    // Wraps after 49 days; of a value that old nothing is left either way. Workers write with
    // clocks a turn apart: a stamp just ahead of now is now.
    let elapsed = millis(now_ns).wrapping_sub(at);
    let elapsed = if elapsed > u32::MAX / 2 { 0 } else { elapsed };
    (-(elapsed as f32) / (DECAY_SECONDS * 1000.0)).exp()
}

fn millis(now_ns: u64) -> u32 {
    (now_ns / 1_000_000) as u32
}

fn pack(value: f32, now_ns: u64) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(millis(now_ns))
}

fn unpack(state: u64) -> Option<(f32, u32)> {
    let value = f32::from_bits((state >> 32) as u32);
    (value > 0.0).then_some((value, state as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    #[test]
    fn before_the_first_answer_nothing_is_known() {
        assert_eq!(PeakEwma::default().read(SECOND), None);
    }

    #[test]
    fn a_peak_counts_at_once() {
        let ewma = PeakEwma::default();
        ewma.observe(2 * MS, SECOND);
        ewma.observe(500 * MS, SECOND);
        assert_eq!(ewma.read(SECOND), Some(5e8));
    }

    #[test]
    fn a_fast_answer_counts_more_the_older_the_slow_one_is() {
        let after = |seconds: u64| {
            let ewma = PeakEwma::default();
            ewma.observe(500 * MS, 0);
            ewma.observe(2 * MS, seconds * SECOND);
            ewma.read(seconds * SECOND).unwrap()
        };
        assert_eq!(after(0), 5e8);
        assert!((1.7e8..2.0e8).contains(&after(10)), "{}", after(10));
        assert!(after(100) < 3e6);
    }

    #[test]
    fn what_was_slow_and_left_alone_is_forgotten() {
        let ewma = PeakEwma::default();
        ewma.observe(500 * MS, 0);
        let later = ewma.read(30 * SECOND).unwrap();
        assert!((2.4e7..2.6e7).contains(&later), "{later}");
    }

    #[test]
    fn a_stamp_of_a_worker_ahead_is_now() {
        let ewma = PeakEwma::default();
        ewma.observe(MS, SECOND);
        assert_eq!(ewma.read(SECOND - 3 * MS), Some(1e6));
    }
}
