//! Stamps of RFC 3339, in UTC.

use time::OffsetDateTime;

/// `2026-01-31T23:59:59.123456Z`
const STAMP_BYTES: usize = 27;
/// Where the microseconds begin.
const MICROS_AT: usize = 20;

/// Writes stamps, and works out date and time of day once per second.
#[derive(Debug)]
pub struct StampCache {
    /// The Unix second that `text` shows.
    second: u64,
    text: [u8; STAMP_BYTES],
}

impl Default for StampCache {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

impl StampCache {
    /// The stamp of `unix_ns`, nanoseconds since 1970, cut to microseconds.
    pub fn stamp(&mut self, unix_ns: u64) -> &[u8] {
        let second = unix_ns / 1_000_000_000;
        if second != self.second {
            self.set_second(second);
        }
        let micros = unix_ns % 1_000_000_000 / 1_000;
        write_digits(&mut self.text[MICROS_AT..MICROS_AT + 6], micros);
        &self.text
    }

    fn set_second(&mut self, second: u64) {
        // A u64 of nanoseconds ends in the year 2554, well inside the range of `time`.
        let at =
            i64::try_from(second).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        write_digits(&mut self.text[0..4], u64::from(at.year().unsigned_abs()));
        write_digits(&mut self.text[5..7], u64::from(u8::from(at.month())));
        write_digits(&mut self.text[8..10], u64::from(at.day()));
        write_digits(&mut self.text[11..13], u64::from(at.hour()));
        write_digits(&mut self.text[14..16], u64::from(at.minute()));
        write_digits(&mut self.text[17..19], u64::from(at.second()));
        self.second = second;
    }
}

/// The lowest decimal digits of `n`, as many as `field` is long.
fn write_digits(field: &mut [u8], mut n: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::format_description;

    fn stamp(cache: &mut StampCache, unix_ns: u64) -> String {
        String::from_utf8(cache.stamp(unix_ns).to_vec()).unwrap()
    }

    #[test]
    fn a_leap_day_is_written_as_such() {
        let ns = 1_709_251_199_999_999_999;
        assert_eq!(stamp(&mut StampCache::default(), ns), "2024-02-29T23:59:59.999999Z");
    }

    #[test]
    fn the_cache_follows_the_time_backwards_too() {
        let mut cache = StampCache::default();
        assert_eq!(stamp(&mut cache, 1_000_000_000_000), "1970-01-01T00:16:40.000000Z");
        assert_eq!(stamp(&mut cache, 1_000_000_001_000), "1970-01-01T00:16:40.000001Z");
        assert_eq!(stamp(&mut cache, 999_000_000_000), "1970-01-01T00:16:39.000000Z");
        assert_eq!(stamp(&mut cache, 7_000), "1970-01-01T00:00:00.000007Z");
    }

    proptest! {
        #[test]
        fn a_stamp_is_what_the_time_crate_writes(unix_ns: u64) {
            let form = format_description!(
                "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
            );
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns)).unwrap();
            prop_assert_eq!(stamp(&mut StampCache::default(), unix_ns), at.format(form).unwrap());
        }
    }
}
