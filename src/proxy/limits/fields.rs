//! How a limit shows in the head of an answer.

use super::asking::seconds;
use crate::policy::limit::Level;

/// Gives `field` the name and value of each field. `ai`: in OpenAI's names as well.
pub(in crate::proxy) fn write(level: &Level, ai: bool, mut field: impl FnMut(&str, &[u8])) {
    let Level { limit, remaining, reset_ns } = *level;
    let mut number = itoa::Buffer::new();
    let mut count = |name: &str, value: u64| field(name, number.format(value).as_bytes());
    count("ratelimit-limit", limit);
    count("ratelimit-remaining", remaining);
    count("ratelimit-reset", seconds(reset_ns));
    if ai {
        count("x-ratelimit-limit-requests", limit);
        count("x-ratelimit-remaining-requests", remaining);
        field("x-ratelimit-reset-requests", duration(reset_ns).as_bytes());
    }
}

/// As OpenAI writes it: `20ms`, `1s`, `6m0s`. Rounded up.
fn duration(nanos: u64) -> String {
    let millis = nanos.div_ceil(1_000_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let seconds = seconds(nanos);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_openai_does() {
        const SECOND: u64 = 1_000_000_000;
        assert_eq!(duration(19_000_001), "20ms");
        assert_eq!(duration(0), "0ms");
        assert_eq!(duration(SECOND), "1s");
        assert_eq!(duration(SECOND + 1), "2s");
        assert_eq!(duration(360 * SECOND), "6m0s");
        assert_eq!(duration(7265 * SECOND), "2h1m5s");
    }

    #[test]
    fn a_level_has_three_fields_and_three_more_for_ai_clients() {
        let level = Level { limit: 10, remaining: 3, reset_ns: 700_000_000 };
        let mut fields = Vec::new();
        write(&level, true, |name, value| {
            fields.push((name.to_owned(), String::from_utf8(value.to_vec()).unwrap()));
        });
        let expected = [
            ("ratelimit-limit", "10"),
            ("ratelimit-remaining", "3"),
            ("ratelimit-reset", "1"),
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "3"),
            ("x-ratelimit-reset-requests", "700ms"),
        ];
        assert!(fields.iter().map(|(name, value)| (&**name, &**value)).eq(expected));
    }
}
