//! The answers to "which models are there" and "is there this model", in both dialects.

use std::io::Write;

use super::call::Dialect;
use super::quote::push_quoted;

/// A model as it is told to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    pub name: &'a str,
    pub owned_by: &'a str,
    /// Seconds since 1970.
    pub created: u64,
}

/// Appends the list of `models`, in their order.
pub fn write_list<'a>(
    dialect: Dialect,
    models: impl IntoIterator<Item = Listed<'a>>,
    out: &mut Vec<u8>,
) {
    match dialect {
        Dialect::OpenAi => out.extend_from_slice(b"{\"object\":\"list\",\"data\":["),
        Dialect::Anthropic => out.extend_from_slice(b"{\"data\":["),
    }
    let mut ends: Option<(&str, &str)> = None;
    for model in models {
        if ends.is_some() {
            out.push(b',');
        }
        write_one(dialect, model, out);
        let first = ends.map_or(model.name, |(first, _)| first);
        ends = Some((first, model.name));
    }
    out.push(b']');
    if dialect == Dialect::Anthropic {
        out.extend_from_slice(b",\"has_more\":false");
        for (key, id) in [("first_id", ends.map(|e| e.0)), ("last_id", ends.map(|e| e.1))] {
            out.push(b',');
            push_quoted(out, key);
            out.push(b':');
            match id {
                Some(id) => push_quoted(out, id),
                None => out.extend_from_slice(b"null"),
            }
        }
    }
    out.push(b'}');
}

/// Appends one model.
pub fn write_one(dialect: Dialect, model: Listed<'_>, out: &mut Vec<u8>) {
    match dialect {
        Dialect::OpenAi => write_openai(model, out),
        Dialect::Anthropic => write_anthropic(model, out),
    }
}

fn write_openai(model: Listed<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    push_quoted(out, model.name);
    out.extend_from_slice(b",\"object\":\"model\",\"created\":");
    out.extend_from_slice(model.created.to_string().as_bytes());
    out.extend_from_slice(b",\"owned_by\":");
    push_quoted(out, model.owned_by);
    out.push(b'}');
}

fn write_anthropic(model: Listed<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"model\",\"id\":");
    push_quoted(out, model.name);
    out.extend_from_slice(b",\"display_name\":");
    push_quoted(out, model.name);
    out.extend_from_slice(b",\"lifecycle\":\"active\",\"created_at\":\"");
    push_time(out, model.created);
    out.extend_from_slice(b"\"}");
}

/// Last second of the year 9999; RFC 3339 has no later years.
const TIME_MAX: u64 = 253_402_300_799;

/// Appends seconds since 1970 as RFC 3339 has them, in UTC.
fn push_time(out: &mut Vec<u8>, seconds: u64) {
    let seconds = seconds.min(TIME_MAX);
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        .expect("a Vec takes whatever is written");
}

/// Year, month and day of the day that begins `days` after the first of 1970.
///
/// Years are counted from the first of March, so that the leap day is the last of its year and the
/// lengths of the months follow a straight line, 153 days in five months.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    /// From 1 March of the year 0 to 1 January 1970.
    const DAYS_BEFORE_1970: u64 = 719_468;

    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let leap_days = day_of_era / 1460 + day_of_era / 146_096 - day_of_era / 36_524;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const MODELS: [Listed<'_>; 2] = [
        Listed { name: "gpt-4", owned_by: "openai", created: 1_687_882_411 },
        Listed { name: "a\"b", owned_by: "ringgate", created: 0 },
    ];

    fn list(dialect: Dialect, models: &[Listed<'_>]) -> Value {
        let mut out = Vec::new();
        write_list(dialect, models.iter().copied(), &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn openai_clients_get_their_list() {
        let expected = json!({"object": "list", "data": [
            {"id": "gpt-4", "object": "model", "created": 1_687_882_411, "owned_by": "openai"},
            {"id": "a\"b", "object": "model", "created": 0, "owned_by": "ringgate"},
        ]});
        assert_eq!(list(Dialect::OpenAi, &MODELS), expected);
        assert_eq!(list(Dialect::OpenAi, &[]), json!({"object": "list", "data": []}));
    }

    #[test]
    fn anthropic_clients_get_theirs() {
        let model = |name: &str, created: &str| {
            json!({"type": "model", "id": name, "display_name": name, "created_at": created,
                "lifecycle": "active"})
        };
        let expected = json!({
            "data": [model("gpt-4", "2023-06-27T16:13:31Z"), model("a\"b", "1970-01-01T00:00:00Z")],
            "has_more": false, "first_id": "gpt-4", "last_id": "a\"b",
        });
        assert_eq!(list(Dialect::Anthropic, &MODELS), expected);
        let none = json!({"data": [], "has_more": false, "first_id": null, "last_id": null});
        assert_eq!(list(Dialect::Anthropic, &[]), none);
    }

    #[test]
    fn days_of_leap_years_are_told_right() {
        let time = |seconds| {
            let mut out = Vec::new();
            push_time(&mut out, seconds);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(time(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(time(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(time(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
