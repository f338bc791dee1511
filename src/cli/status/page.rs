//! The status as people read it: one line for the instance, a table of listeners, and for each
//! cluster a line and a table of its endpoints.

use serde_json::Value;

use super::table::{Cell, Line, Style, Tone, table};

pub(super) fn page(status: &Value, style: &Style) -> String {
    let mut text = instance(&status["instance"], style);
    text += &listeners(&status["listeners"], style);
    for cluster in list(&status["clusters"]) {
        text += "\n";
        text += &cluster_line(cluster, style);
        text += &table(&endpoint_rows(cluster), 2, style);
    }
    text.truncate(text.trim_end_matches('\n').len());
    text
}

fn instance(instance: &Value, style: &Style) -> String {
    let workers = list(&instance["workers"]);
    let alive = workers.iter().filter(|worker| worker["alive"] == true).count();
    let mut line = Line::new(style);
    line.word("Ringgate", Tone::Head);
    line.pad(1);
    let uptime = instance["uptime_seconds"].as_u64().unwrap_or(0);
    let said = format!(
        "{} on {}, pid {}, up {}, generation {}, ",
        word(&instance["version"]),
        word(&workers.first().map_or(Value::Null, |worker| worker["driver"].clone())),
        instance["pid"],
        time_span(uptime),
        instance["generation"],
    );
    line.word(&said, Tone::Plain);
    let all_alive = alive == workers.len();
    let tone = if all_alive { Tone::Plain } else { Tone::Bad };
    line.word(&format!("{alive} of {} workers", workers.len()), tone);
    line.word(&format!(", {} connections", instance["connections"]), Tone::Plain);
    if instance["draining"] == true {
        line.word(", draining", Tone::Attention);
    }
    line.finish()
}

fn listeners(listeners: &Value, style: &Style) -> String {
    let mut rows = vec![heads(&["listener", "address", "connections", "of"])];
    for listener in list(listeners) {
        rows.push(vec![
            Cell::text(word(&listener["listener"])),
            Cell::text(word(&listener["address"])),
            Cell::number(listener["connections"].to_string()),
            Cell::number(listener["connections_max"].to_string()),
        ]);
    }
    format!("\n{}", table(&rows, 0, style))
}

fn cluster_line(cluster: &Value, style: &Style) -> String {
    let mut line = Line::new(style);
    line.word(&word(&cluster["cluster"]), Tone::Head);
    line.pad(2);
    let state = word(&cluster["state"]);
    line.word(&state, tone_of(&state));
    let (queue, retries) = (&cluster["queue"], &cluster["retries"]);
    let said = format!(
        "  {}/s  {}{} in flight  {} of {} queued  {} retries",
        rate(&cluster["requests_per_second"]),
        cluster["in_flight"],
        cluster["in_flight_max"].as_u64().map(|max| format!(" of {max}")).unwrap_or_default(),
        queue["length"],
        queue["length_max"],
        retries["made"],
    );
    line.word(&said, Tone::Plain);
    let over_budget = retries["over_budget"].as_u64().unwrap_or(0);
    if over_budget > 0 {
        line.word(&format!(" ({over_budget} over budget)"), Tone::Attention);
    }
    let shed = sum(&queue["shed"]);
    let tone = if shed > 0 { Tone::Attention } else { Tone::Plain };
    line.word(&format!("  {shed} shed"), tone);
    line.finish()
}

fn endpoint_rows(cluster: &Value) -> Vec<Vec<Cell>> {
    let names = [
        "endpoint",
        "state",
        "weight",
        "in flight",
        "idle",
        "req/s",
        "requests",
        "failed",
        "connect p50",
        "first byte p50",
        "p95",
        "p99",
        "last error",
    ];
    let mut rows = vec![heads(&names)];
    rows.extend(list(&cluster["endpoints"]).iter().map(endpoint_row));
    rows
}

fn endpoint_row(endpoint: &Value) -> Vec<Cell> {
    let state = word(&endpoint["state"]);
    let tone = tone_of(&state);
    let state = if endpoint["backup"] == true { format!("{state} (backup)") } else { state };
    let in_flight = match endpoint["in_flight_max"].as_u64() {
        Some(max) => format!("{} of {max}", endpoint["in_flight"]),
        None => endpoint["in_flight"].to_string(),
    };
    let weight = match &endpoint["weight"] {
        weight if *weight == endpoint["weight_configured"] => weight.to_string(),
        weight if endpoint["weight_configured"].is_null() => weight.to_string(),
        weight => format!("{weight} (file: {})", endpoint["weight_configured"]),
    };
    let failed = sum(&endpoint["failures"]);
    let first_byte = &endpoint["first_byte_seconds"];
    vec![
        Cell::text(word(&endpoint["endpoint"])),
        Cell::text(state).tone(tone),
        Cell::number(weight),
        Cell::number(in_flight),
        Cell::number(endpoint["idle_connections"].to_string()),
        Cell::number(rate(&endpoint["requests_per_second"])),
        Cell::number(endpoint["requests"].to_string()),
        Cell::number(failed.to_string()).tone(if failed > 0 {
            Tone::Attention
        } else {
            Tone::Plain
        }),
        Cell::number(seconds(&endpoint["connect_seconds"]["p50"])),
        Cell::number(seconds(&first_byte["p50"])),
        Cell::number(seconds(&first_byte["p95"])),
        Cell::number(seconds(&first_byte["p99"])),
        Cell::text(last_error(&endpoint["last_errors"][0])),
    ]
}

fn heads(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::text(*name).tone(Tone::Head)).collect()
}

fn tone_of(state: &str) -> Tone {
    match state {
        "up" => Tone::Good,
        "down" | "ejected" | "unresolved" => Tone::Bad,
        _ => Tone::Attention,
    }
}

/// Such as `connect_failed x3, 19:23:05Z`.
fn last_error(error: &Value) -> String {
    let Some(reason) = error["reason"].as_str() else { return String::new() };
    let status = error["status"].as_u64().map(|status| format!(" {status}")).unwrap_or_default();
    let time = error["last"].as_str().and_then(|stamp| stamp.get(11..19)).unwrap_or_default();
    format!("{reason}{status} x{}, {time}Z", error["count"])
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Over ten seconds: one alone jumps, a minute hides.
fn rate(rates: &Value) -> String {
    match rates["last_10_seconds"].as_f64().unwrap_or(0.0) {
        rate if rate < 100.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

fn seconds(value: &Value) -> String {
    match value.as_f64() {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} us", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

fn time_span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status() -> Value {
        let rates = json!({ "last_second": 1.0, "last_10_seconds": 12.34, "last_minute": 3.0 });
        let endpoint = |name: &str, state: &str, weight: u32| {
            json!({
                "endpoint": name, "state": state, "weight": weight, "weight_configured": 1,
                "backup": false, "in_flight": 2, "in_flight_max": null, "idle_connections": 1,
                "requests": 70, "requests_per_second": rates, "failures": { "connect_failed": 3 },
                "connect_seconds": null,
                "first_byte_seconds": { "p50": 0.00025, "p95": 0.0123, "p99": 2.5 },
                "last_errors": [{ "reason": "connect_failed", "count": 3,
                    "first": "2026-01-31T23:00:00.000000Z", "last": "2026-01-31T23:59:59.000000Z" }],
            })
        };
        json!({
            "instance": {
                "version": "0.1.0", "pid": 7, "uptime_seconds": 4000, "generation": 2,
                "connections": 5, "draining": true,
                "workers": [{ "alive": true, "driver": "epoll" }, { "alive": false }],
            },
            "listeners": [{ "listener": "public", "address": "0.0.0.0:80", "connections": 5,
                "connections_max": 100 }],
            "clusters": [{
                "cluster": "docs", "state": "degraded", "in_flight": 4, "in_flight_max": 8,
                "requests_per_second": rates,
                "queue": { "length": 0, "length_max": 1024, "shed": { "queue_full": 2 } },
                "retries": { "made": 6, "over_budget": 1, "available": 9 },
                "endpoints": [endpoint("10.0.0.1:80", "up", 1), endpoint("10.0.0.2:80", "drain", 0)],
            }],
        })
    }

    #[test]
    fn a_page_shows_what_an_operator_looks_for_first() {
        let text = page(&status(), &Style::default());
        let expected = "\
Ringgate 0.1.0 on epoll, pid 7, up 1 h 6 min, generation 2, 1 of 2 workers, 5 connections, draining

listener  address     connections   of
public    0.0.0.0:80            5  100

docs  degraded  12.3/s  4 of 8 in flight  0 of 1024 queued  6 retries (1 over budget)  2 shed
";
        assert!(text.starts_with(expected), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 9, "{text}");
        for word in ["10.0.0.1:80  up", "12.3", "250 us", "12.3 ms", "2.5 s", "x3, 23:59:59Z"] {
            assert!(lines[7].contains(word), "{word} in {}", lines[7]);
        }
        assert!(lines[8].contains("0 (file: 1)"), "{}", lines[8]);
        let heads = lines[6];
        assert_eq!(heads.find("state"), lines[7].find("up"));
    }

    #[test]
    fn what_is_missing_breaks_nothing() {
        assert!(page(&json!({}), &Style::default()).starts_with("Ringgate"));
    }

    #[test]
    fn every_span_of_time_has_two_units_at_most() {
        let spans: Vec<_> = [5, 65, 3_700, 90_000].map(time_span).into();
        assert_eq!(spans, ["5 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
