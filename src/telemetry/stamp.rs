//! Stamps of RFC 3339, and of log formats that are older, in UTC.

use time::OffsetDateTime;

/// `2026-01-31T23:59:59.123456Z`
const STAMP_BYTES: usize = 27;
/// Where the microseconds begin.
const MICROS_AT: usize = 20;
/// `31/Jan/2026:23:59:59`
const CLOCK_BYTES: usize = 20;
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// Writes stamps, and works out date and time of day once per second.
#[derive(Debug)]
pub struct StampCache {
    /// The Unix second that `text` shows.
    second: u64,
    text: [u8; STAMP_BYTES],
    /// The same second as web servers have always written it.
    clock: [u8; CLOCK_BYTES],
}

impl Default for StampCache {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z", clock: *b"01/Jan/1970:00:00:00" }
    }
}

impl StampCache {
    /// The stamp of `unix_ns`, nanoseconds since 1970, cut to microseconds.
    pub fn stamp(&mut self, unix_ns: u64) -> &[u8] {
        self.set_time(unix_ns);
        let micros = unix_ns % 1_000_000_000 / 1_000;
        write_digits(&mut self.text[MICROS_AT..MICROS_AT + 6], micros);
        &self.text
    }

    /// The same cut to seconds, as in `31/Jan/2026:23:59:59`.
    pub fn clock(&mut self, unix_ns: u64) -> &[u8] {
        self.set_time(unix_ns);
        &self.clock
    }

    fn set_time(&mut self, unix_ns: u64) {
        let second = unix_ns / 1_000_000_000;
        if second != self.second {
            self.set_second(second);
        }
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
        self.set_clock(usize::from(u8::from(at.month())));
    }

    /// `month` counts from 1.
    fn set_clock(&mut self, month: usize) {
        let Self { text, clock, .. } = self;
        clock[0..2].copy_from_slice(&text[8..10]);
        clock[3..6].copy_from_slice(&MONTHS[month * 3 - 3..month * 3]);
        clock[7..11].copy_from_slice(&text[0..4]);
        clock[12..20].copy_from_slice(&text[11..19]);
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

        #[test]
        fn a_clock_is_what_the_time_crate_writes(unix_ns: u64) {
            let form = format_description!(
                "[day]/[month repr:short]/[year]:[hour]:[minute]:[second]"
            );
            let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns)).unwrap();
            let mut stamps = StampCache::default();
            let clock = stamps.clock(unix_ns).to_vec();
            prop_assert_eq!(String::from_utf8(clock).unwrap(), at.format(form).unwrap());
        }
    }
}
