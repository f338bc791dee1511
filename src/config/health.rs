//! `health_check`: what endpoints are asked, how often, and what is made of the answers.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Value;
use super::section::Section;
use super::{address, fields, units};
use crate::policy::health::{HttpProbe, Initial, Pace, Probe, Settings};

const INTERVAL: Duration = Duration::from_secs(5);
/// Below this, checks would be a load of their own.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Who is down shall not stay so for longer than it must.
const FAST_INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);
const FALL: u32 = 3;
const RISE: u32 = 2;
const ROW_MAX: u64 = 100;
const PATH: &str = "/";
/// As load balancers commonly have it: a redirect is an answer, too.
const STATUSES: RangeInclusive<u16> = 200..=399;
/// Longer texts are not what one looks for in a page of 64 KiB.
const BODY_BYTES_MAX: usize = 1024;

pub(super) fn health_check(section: &mut Section<'_>) -> Option<Settings> {
    section.take("health_check", |value| value.section(check))
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Http,
}

fn check(section: &mut Section<'_>) -> Settings {
    let kind = section
        .take("type", |value| value.choice(&[("http", Kind::Http), ("tcp", Kind::Tcp)], &[]));
    let kind = kind.unwrap_or(Kind::Http);
    if kind == Kind::Tcp {
        for key in ["path", "method", "host", "headers", "expect", "body"] {
            let value = section.at().child(key);
            if value.is_present() {
                value.problem("This is for type = \"http\" only: a check by TCP sends nothing.");
            }
        }
    }
    let http = http_probe(section);
    Settings {
        probe: if kind == Kind::Http { Probe::Http(http) } else { Probe::Connect },
        pace: pace(section),
    }
}

fn http_probe(section: &mut Section<'_>) -> HttpProbe {
    let path = section.take("path", |value| value.parse("a path such as \"/health\"", path));
    let method = section.take("method", |value| value.parse("a method such as \"HEAD\"", method));
    let method = method.unwrap_or_else(|| "GET".to_owned());
    let body = section.take("body", |value| {
        if method == "HEAD" {
            value.problem("An answer to HEAD has no body. Leave out one of the two.");
        }
        value.parse("a text that occurs in the body", text)
    });
    HttpProbe {
        path: path.unwrap_or_else(|| PATH.to_owned()),
        host: section.take("host", |value| {
            let host = |text: &str| address::host_and_port(text).map(|_| text.to_owned());
            value.parse("a host such as \"models.internal\"", host)
        }),
        headers: section
            .take("headers", |value| fields::pairs(value, refuse_framing_and_host))
            .unwrap_or_default(),
        statuses: section.take("expect", statuses).unwrap_or_else(|| vec![STATUSES]),
        body,
        method,
    }
}

fn refuse_framing_and_host(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("Give host beside headers."),
        _ => fields::refuse_framing(name),
    }
}

fn path(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    match text.starts_with('/') && is_plain {
        true => Ok(text.to_owned()),
        false => Err("A path begins with / and has visible ASCII characters but #.".to_owned()),
    }
}

fn method(text: &str) -> Result<String, String> {
    match text {
        "CONNECT" => Err("CONNECT asks for a tunnel; use type = \"tcp\".".to_owned()),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Ok(text.to_owned())
        }
        _ => Err("A method has capital letters only.".to_owned()),
    }
}

fn text(text: &str) -> Result<String, String> {
    match text.len() {
        1..=BODY_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(format!("Give 1 to {BODY_BYTES_MAX} bytes.")),
    }
}

fn statuses(list: &Value<'_>) -> Option<Vec<RangeInclusive<u16>>> {
    let elements = list.elements("a list of statuses such as [200, \"300-399\"]")?;
    if elements.is_empty() {
        list.problem("No status would do, so every endpoint would be down.");
    }
    Some(elements.iter().filter_map(range).collect())
}

/// A status that ends an exchange.
const STATUS: RangeInclusive<u64> = 200..=599;

fn range(at: &Value<'_>) -> Option<RangeInclusive<u16>> {
    if at.is_integer() {
        let status = u16::try_from(at.integer(STATUS)?).ok()?;
        return Some(status..=status);
    }
    at.parse("a status such as 200 or a range such as \"200-299\"", |text| {
        let status = |text: &str| text.parse().ok().filter(|s| STATUS.contains(&u64::from(*s)));
        let ends = text.split_once('-').and_then(|(from, to)| status(from).zip(status(to)));
        match ends {
            Some((from, to)) if from <= to => Ok(from..=to),
            _ => Err("A range goes from one status to another, 200 to 599.".to_owned()),
        }
    })
}

fn pace(section: &mut Section<'_>) -> Pace {
    let interval = section.take("interval", at_least_the_minimum).unwrap_or(INTERVAL);
    let fast = section.take("fast_interval", |value| {
        let fast = at_least_the_minimum(value)?;
        if fast > interval {
            value.problem("This is longer than interval, so checks would become slower.");
        }
        Some(fast)
    });
    let row = |value: &Value<'_>| u32::try_from(value.integer(1..=ROW_MAX)?).ok();
    let initial = section.take("initial", |value| {
        let known = [("up", Initial::Up), ("down", Initial::Down), ("checked", Initial::Checked)];
        value.choice(&known, &[])
    });
    Pace {
        interval,
        fast_interval: fast.unwrap_or(FAST_INTERVAL.min(interval)),
        timeout: section.take("timeout", units::duration).unwrap_or(TIMEOUT),
        fall: section.take("fall", row).unwrap_or(FALL),
        rise: section.take("rise", row).unwrap_or(RISE),
        initial: initial.unwrap_or(Initial::Up),
    }
}

fn at_least_the_minimum(value: &Value<'_>) -> Option<Duration> {
    let interval = units::duration(value)?;
    if interval < INTERVAL_MIN {
        value.problem("Give at least 10ms: endpoints have other things to do.");
    }
    Some(interval)
}
