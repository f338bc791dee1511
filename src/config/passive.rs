//! `outlier` and `breaker`: what becomes of endpoints whose answers are failures.

use std::num::NonZeroU16;
use std::time::Duration;

use super::reader::Value;
use super::retry::causes;
use super::section::{Placed, Section};
use super::units;
use crate::policy::circuit::{Kind, Rate, Rest, Settings};
use crate::policy::retry::Causes;
use crate::proxy::settings::{Address, Endpoint};

const FAILURES: u16 = 5;
const FAILURES_MAX: u64 = 1000;
const REST: Duration = Duration::from_secs(30);
const REST_MAX: Duration = Duration::from_secs(300);
const WINDOW: Duration = Duration::from_secs(10);
/// Below this, a share is that of a few requests.
const WINDOW_MIN: Duration = Duration::from_millis(100);
const REQUESTS: u32 = 20;
const REQUESTS_MAX: u64 = 1_000_000;
const MAX_EJECTED: f64 = 0.5;
const PROBES: u8 = 1;
const SUCCESSES: u8 = 3;
const PROBES_MAX: u64 = 100;

/// Of a server that cannot do its work. 501 and 505 are about the request.
const STATUSES: [u16; 4] = [500, 502, 503, 504];

/// The keys that differ in name between the two.
struct Names {
    consecutive: &'static str,
    rate: &'static str,
    rest: &'static str,
    longest: &'static str,
}

const OUTLIER: Names = Names {
    consecutive: "consecutive_failures",
    rate: "failure_rate",
    rest: "ejection",
    longest: "max_ejection",
};

const BREAKER: Names =
    Names { consecutive: "failures", rate: "rate", rest: "open", longest: "max_open" };

pub(super) fn passive(
    section: &mut Section<'_>,
    endpoints: &[Placed<'_, Endpoint>],
) -> Option<Settings> {
    let outlier = section.take("outlier", |value| value.section(|s| outlier(s, endpoints)));
    let breaker = section.take("breaker", |value| value.section(breaker));
    if outlier.is_some() && breaker.is_some() {
        section.at().child("breaker").problem(
            "There is an outlier as well, and both would judge the same endpoints. Keep breaker \
             if all endpoints may be left alone at one time, else outlier.",
        );
    }
    outlier.or(breaker)
}

fn outlier(section: &mut Section<'_>, endpoints: &[Placed<'_, Endpoint>]) -> Settings {
    let max_ejected = section.take("max_ejected", units::percent).unwrap_or(MAX_EJECTED);
    warn_of_few(section, endpoints, max_ejected);
    settings(section, &OUTLIER, Kind::Outlier { max_ejected })
}

/// Warns if the share is less than one endpoint. A name may stand for many.
fn warn_of_few(section: &Section<'_>, endpoints: &[Placed<'_, Endpoint>], max_ejected: f64) {
    let is_name = |endpoint: &Placed<'_, Endpoint>| match &endpoint.is.address {
        Address::Tcp { host, .. } => host.parse::<std::net::IpAddr>().is_err(),
        Address::Service(_) => true,
        Address::Unix(_) | Address::Abstract(_) => false,
    };
    let count = endpoints.iter().filter(|endpoint| endpoint.is.weight > 0).count();
    let may_go = ((count as f64 * max_ejected) as usize).min(count.saturating_sub(1));
    if may_go == 0 && !endpoints.iter().any(is_name) {
        section.at().child("max_ejected").warning(format_args!(
            "With {count} endpoint{}, this ejects none.",
            if count == 1 { "" } else { "s" }
        ));
    }
}

fn breaker(section: &mut Section<'_>) -> Settings {
    let mut count = |key, default| {
        let count = section.take(key, |value| value.integer(1..=PROBES_MAX));
        count.and_then(|count| u8::try_from(count).ok()).unwrap_or(default)
    };
    let kind =
        Kind::Breaker { probes: count("probes", PROBES), successes: count("successes", SUCCESSES) };
    settings(section, &BREAKER, kind)
}

fn settings(section: &mut Section<'_>, names: &Names, kind: Kind) -> Settings {
    let consecutive = section.take(names.consecutive, |value| value.integer(0..=FAILURES_MAX));
    let consecutive = consecutive.and_then(|n| u16::try_from(n).ok()).unwrap_or(FAILURES);
    let rate = rate(section, names);
    if consecutive == 0 && rate.is_none() {
        section.at().child(names.consecutive).problem(format_args!(
            "With 0 no row of failures counts, and there is no {} either.",
            names.rate
        ));
    }
    Settings {
        on: section.take("on", causes).unwrap_or_else(failures),
        consecutive: NonZeroU16::new(consecutive),
        rate,
        rest: rest(section, names),
        kind,
    }
}

fn failures() -> Causes {
    Causes { connect: true, reset: true, timeout: true, statuses: STATUSES.to_vec() }
}

fn rate(section: &mut Section<'_>, names: &Names) -> Option<Rate> {
    let has_rate = section.at().child(names.rate).is_present();
    let rate_only = |value: &Value<'_>| {
        if !has_rate {
            value.problem(format_args!("This belongs to {}, which is not there.", names.rate));
        }
    };
    let share = section.take(names.rate, |value| {
        let share = units::percent(value)?;
        if share == 0.0 {
            value.problem("Each failure would be too many. Give 1% or more.");
        }
        Some(share)
    });
    let window = section.take("window", |value| {
        rate_only(value);
        let window = units::duration(value)?;
        if window < WINDOW_MIN {
            value.problem("Give at least 100ms.");
        }
        Some(window)
    });
    let requests = section.take("requests", |value| {
        rate_only(value);
        u32::try_from(value.integer(1..=REQUESTS_MAX)?).ok()
    });
    share.map(|share| Rate {
        share,
        window: window.unwrap_or(WINDOW),
        requests: requests.unwrap_or(REQUESTS),
    })
}

fn rest(section: &mut Section<'_>, names: &Names) -> Rest {
    let first = section.take(names.rest, units::duration).unwrap_or(REST);
    let longest = section.take(names.longest, |value| {
        let longest = units::duration(value)?;
        if longest < first {
            value.problem(format_args!("This is shorter than {}.", names.rest));
        }
        Some(longest)
    });
    Rest { first, longest: longest.unwrap_or(REST_MAX.max(first)) }
}
