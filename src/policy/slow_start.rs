//! An endpoint that has just come takes its share step by step.

use super::balance::FULL;

/// The share at the beginning: enough to warm up on, however long the window is.
const FIRST: u32 = FULL / 20;

/// How much of its weight counts, of [`FULL`], this long after it came: growing evenly through the
/// window.
pub fn ramp(since_ns: u64, window_ns: u64) -> u32 {
    if since_ns >= window_ns {
        return FULL;
    }
    let grown = u128::from(FULL) * u128::from(since_ns) / u128::from(window_ns);
    (grown as u32).clamp(FIRST, FULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_from_a_twentieth_to_the_whole() {
        assert_eq!(ramp(0, 1000), FULL / 20);
        assert_eq!(ramp(500, 1000), FULL / 2);
        assert_eq!(ramp(1000, 1000), FULL);
        assert_eq!(ramp(u64::MAX, 1000), FULL);
    }

    #[test]
    fn without_a_window_there_is_no_slow_start() {
        assert_eq!(ramp(0, 0), FULL);
    }
}
