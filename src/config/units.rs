//! Values with a unit: `"250ms"`, `"64KiB"`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Value;
use crate::policy::limit::Rate;

/// In milliseconds.
const TIMES: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// In bytes.
const SIZES: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// What is longer is a typing error, and would bring sums of times near their limits.
const DURATION_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Above this the time of one request would be rounded by more than a thousandth.
const RATE_MAX: u64 = 10_000_000;

/// A time limit; `"0s"` switches it off.
pub(super) fn timeout(value: &Value<'_>) -> Option<Option<Duration>> {
    let duration = value.parse("a duration such as \"5s\"", parse_duration)?;
    Some((!duration.is_zero()).then_some(duration))
}

/// A time that must not be zero.
pub(super) fn duration(value: &Value<'_>) -> Option<Duration> {
    value.parse("a duration such as \"5s\"", |text| match parse_duration(text)? {
        Duration::ZERO => Err("This cannot be switched off: give a time above zero.".to_owned()),
        duration => Ok(duration),
    })
}

/// A share of a hundred, as a number from 0 to 1.
pub(super) fn percent(value: &Value<'_>) -> Option<f64> {
    value.parse("a percentage such as \"20%\"", |text| {
        let number = text.strip_suffix('%').and_then(|number| number.parse::<u32>().ok());
        match number.filter(|number| *number <= 100) {
            Some(number) => Ok(f64::from(number) / 100.0),
            None => Err("A percentage is a whole number from 0% to 100%.".to_owned()),
        }
    })
}

/// A number of bytes.
pub(super) fn size(value: &Value<'_>, range: RangeInclusive<u64>) -> Option<u64> {
    value.parse("a size such as \"64KiB\"", |text| {
        let size = parse_size(text)?;
        if range.contains(&size) {
            return Ok(size);
        }
        let (least, most) = (show_size(*range.start()), show_size(*range.end()));
        Err(format!("Give a size from {least} to {most}."))
    })
}

/// Bytes a second, up to `most`; `"0B/s"` switches the bound off.
pub(super) fn byte_rate(value: &Value<'_>, most: u64) -> Option<u64> {
    value.parse("a rate such as \"512B/s\"", |text| {
        let rate = parse_byte_rate(text)?;
        if rate <= most {
            return Ok(rate);
        }
        Err(format!("Give at most {}/s.", show_size(most)))
    })
}

/// Requests in a time, such as `"100/s"`: at least one.
pub(super) fn rate(value: &Value<'_>) -> Option<Rate> {
    value.parse("a rate such as \"100/s\"", |text| {
        let rate = parse_rate(text)?;
        if rate.credits == 0 {
            return Err("A rate of 0 would admit nobody. Answer by respond with a status of 403 \
                        or 503 instead."
                .to_owned());
        }
        let most = u128::from(RATE_MAX) * rate.period.as_nanos() / 1_000_000_000;
        if u128::from(rate.credits) > most {
            return Err(format!("Give at most {RATE_MAX}/s."));
        }
        Ok(rate)
    })
}

/// A duration as it stands in a file; the error says what one looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let form = "A duration is a whole number with one of the units ms, s, m, h, d, such as \"5s\".";
    let millis = parse(text, &TIMES).ok_or(form)?;
    let duration = Duration::from_millis(millis);
    if duration > DURATION_MAX {
        return Err("Give at most 365d.".to_owned());
    }
    Ok(duration)
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    let form = || {
        "A rate is a whole number for each s, m, h or d, such as \"100/s\" or \"60/m\".".to_owned()
    };
    let (number, unit) = text.split_once('/').ok_or_else(form)?;
    let credits = number.trim_end().parse().map_err(|_| form())?;
    let unit = unit.trim_start();
    let known = TIMES.iter().find(|(name, _)| *name == unit && *name != "ms");
    let (_, millis) = known.ok_or_else(form)?;
    Ok(Rate { credits, period: Duration::from_millis(*millis) })
}

fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES).ok_or_else(|| {
        "A size is a whole number with one of the units B, KiB, MiB, GiB, TiB, such as \"64KiB\" \
         (1 KiB is 1024 bytes)."
            .to_owned()
    })
}

fn parse_byte_rate(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").and_then(|size| parse(size.trim_end(), &SIZES));
    size.ok_or_else(|| {
        "A rate is a size for each second, such as \"512B/s\" or \"16KiB/s\".".to_owned()
    })
}

/// The number times its unit; `None` if that is not what `text` is, or if it is too large.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start_matches(' '))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that gives a whole number.
fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZES
        .iter()
        .rev()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .unwrap_or(&SIZES[0]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_of_five_units() {
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_duration("1h").unwrap(), Duration::from_secs(3_600));
        assert_eq!(parse_duration("365d").unwrap(), DURATION_MAX);
        assert_eq!(parse_duration("0s").unwrap(), Duration::ZERO);
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "-5s", "1.5s", "5 parsecs", "366d", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
        assert!(parse_duration(&format!("{}d", u64::MAX)).is_err());
    }

    #[test]
    fn sizes_are_powers_of_two_only() {
        assert_eq!(parse_size("64KiB").unwrap(), 65_536);
        assert_eq!(parse_size("50 MiB").unwrap(), 50 << 20);
        assert_eq!(parse_size("0B").unwrap(), 0);
        for text in ["64KB", "64k", "64", "KiB", "18446744073709551615KiB"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn rates_are_numbers_for_each_unit_of_time() {
        let rate = |credits, secs| Rate { credits, period: Duration::from_secs(secs) };
        assert_eq!(parse_rate("100/s"), Ok(rate(100, 1)));
        assert_eq!(parse_rate("60 / m"), Ok(rate(60, 60)));
        assert_eq!(parse_rate("5/d"), Ok(rate(5, 86_400)));
        for text in ["100", "/s", "100/", "-1/s", "1.5/s", "100/ms", "100/s/s", "100/y"] {
            assert!(parse_rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn byte_rates_are_sizes_for_each_second() {
        assert_eq!(parse_byte_rate("512B/s").unwrap(), 512);
        assert_eq!(parse_byte_rate("16 KiB /s").unwrap(), 16 << 10);
        assert_eq!(parse_byte_rate("0B/s").unwrap(), 0);
        for text in ["512B", "512/s", "512B/m", "/s", "B/s", "512B/s/s"] {
            assert!(parse_byte_rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_size_is_shown_in_its_largest_whole_unit() {
        assert_eq!(show_size(65_536), "64KiB");
        assert_eq!(show_size(1), "1B");
        assert_eq!(show_size(1 << 40), "1TiB");
        assert_eq!(show_size(1_500), "1500B");
        assert_eq!(show_size(0), "0B");
    }
}
