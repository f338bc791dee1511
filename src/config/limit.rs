//! `limit`, wherever it stands, `[limits]`, and `[service.NAME]`.

use std::time::Duration;

use super::reader::{Value, quoted};
use super::section::Section;
use super::units;
use crate::ai::service::Service;
use crate::policy::limit::{Algorithm, Rate, Settings, Warming};
use crate::proxy::settings::{Clients, Limit, LimitKind, Limits, Per};

/// A cluster's own limit on what is in flight has the same bound.
const CONCURRENCY_MAX: u64 = 1_000_000;

/// Requests at once after a rest.
const BURST_MAX: u64 = 1_000_000_000;

/// A sliding window remembers each of its requests in 8 bytes.
const WINDOW_MAX: u64 = 100_000;

/// Longer than most engines take to fill their caches.
const WARM_UP: Duration = Duration::from_secs(600);

/// Enough to keep an engine busy with warming.
const COLD: f64 = 0.1;

/// 25 bytes each.
const CLIENTS: usize = 50_000;
const CLIENTS_MIN: u64 = 64;
const CLIENTS_MAX: u64 = 100_000_000;

const IDLE: Duration = Duration::from_secs(30 * 60);

/// A host has as many addresses as it likes in one network of that size (RFC 7934).
const IPV6_PREFIX: u64 = 64;
const IPV6_PREFIX_MIN: u64 = 32;

/// The credit of a whole burst is back within this.
const REFILL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// What a limit stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Total,
    ClientIp,
    Listener,
    Route,
    Service,
    Cluster,
    Model,
    Endpoint,
}

/// `[limits]` and the limits of services.
pub(super) fn limits(root: &mut Section<'_>) -> Limits {
    let services = root.named_sections("service", |name, section| {
        let service = Service::ALL.into_iter().find(|service| service.name() == name);
        if service.is_none() {
            let known = quoted(Service::ALL.iter().map(|service| service.name()));
            section.at().problem(format_args!("No service has this name. They are {known}."));
        }
        (service, list(section, Holder::Service))
    });
    let mut limits = root.section("limits", |section| Limits {
        total: section.take("total", |value| read(value, Holder::Total)).unwrap_or_default(),
        client_ip: section
            .take("client_ip", |value| read(value, Holder::ClientIp))
            .unwrap_or_default(),
        headers: section.take("headers", Value::boolean).unwrap_or(false),
        ..Limits::default()
    });
    for (service, limit) in services.into_iter().map(|service| service.is) {
        if let Some(service) = service {
            limits.services[service.index()] = limit;
        }
    }
    limits
}

/// `limit` of a section.
pub(super) fn list(section: &mut Section<'_>, holder: Holder) -> Vec<Limit> {
    section.take("limit", |value| read(value, holder)).unwrap_or_default()
}

/// One limit, or a list of them.
fn read(value: &Value<'_>, holder: Holder) -> Option<Vec<Limit>> {
    let one = |at: &Value<'_>| at.section(|section| limit(section, holder)).flatten();
    if !value.is_list() {
        return Some(one(value).into_iter().collect());
    }
    if value.is_empty_list() {
        value.problem("The list is empty. Leave the key out to have no limit.");
    }
    let elements = value.elements("a limit or a list of limits")?;
    Some(elements.iter().filter_map(one).collect())
}

/// `None` if it cannot be made out what is limited, which is reported.
fn limit(section: &mut Section<'_>, holder: Holder) -> Option<Limit> {
    let at = section.at().clone();
    let per = per(section, holder);
    let rate = rate(section);
    let concurrency = section.take("concurrency", |value| value.integer(1..=CONCURRENCY_MAX));
    match (at.child("rate").is_present(), at.child("concurrency").is_present()) {
        (true, true) => at.child("concurrency").problem(
            "rate is there as well. They are two limits: write a list,\nsuch as \
             [{ rate = \"100/s\" }, { concurrency = 10 }].",
        ),
        (false, false) => {
            at.problem(
                "Nothing is limited. Give a rate such as \"100/s\" or a number for concurrency.",
            );
        }
        (false, true) => report_without_rate(&at, holder),
        (true, false) => {}
    }
    let kind = match (rate, concurrency) {
        (Some(settings), _) => LimitKind::Rate(settings),
        (None, Some(most)) => LimitKind::Concurrency(u32::try_from(most).ok()?),
        (None, None) => return None,
    };
    if let (LimitKind::Rate(settings), Per::Client(_)) = (&kind, &per)
        && !matches!(settings.algorithm, Algorithm::TokenBucket | Algorithm::LeakyBucket)
    {
        at.child("algorithm").problem(
            "Of each client one number is kept, which is too little for this algorithm.\nUse \
             \"token_bucket\" or \"leaky_bucket\".",
        );
    }
    Some(Limit { kind, per })
}

fn report_without_rate(at: &Value<'_>, holder: Holder) {
    for key in ["algorithm", "burst", "warm_up", "cold"] {
        if at.child(key).is_present() {
            at.child(key).problem("This belongs to a rate, and concurrency has none.");
        }
    }
    if holder == Holder::Endpoint {
        at.child("concurrency").problem(
            "Use max_in_flight of the endpoint: requests that find it busy go to others, or wait.",
        );
    }
}

/// What a rate is limited by; its keys are asked for also if there is none.
fn rate(section: &mut Section<'_>) -> Option<Settings> {
    let at = section.at().clone();
    let rate = section.take("rate", units::rate);
    let algorithm = algorithm(section);
    let burst = section.take("burst", |value| value.integer(1..=BURST_MAX));
    let rate = rate?;
    let burst = match algorithm {
        Algorithm::SlidingWindow => {
            report_window(&at, rate);
            rate.credits
        }
        Algorithm::LeakyBucket => burst.unwrap_or(1),
        Algorithm::TokenBucket | Algorithm::WarmUp(_) => burst.unwrap_or(rate.credits),
    };
    report_refill(&at, rate, burst);
    Some(Settings { algorithm, rate, burst })
}

fn algorithm(section: &mut Section<'_>) -> Algorithm {
    let at = section.at().clone();
    let warming = Warming {
        time: section.take("warm_up", units::duration).unwrap_or(WARM_UP),
        cold: section.take("cold", units::percent).unwrap_or(COLD),
    };
    let chosen = section.take("algorithm", |value| {
        let known = [
            ("token_bucket", Algorithm::TokenBucket),
            ("leaky_bucket", Algorithm::LeakyBucket),
            ("sliding_window", Algorithm::SlidingWindow),
            ("warm_up", Algorithm::WarmUp(warming)),
        ];
        value.choice(&known, &[])
    });
    let chosen = chosen.unwrap_or(Algorithm::TokenBucket);
    if !matches!(chosen, Algorithm::WarmUp(_)) && !at.child("concurrency").is_present() {
        for key in ["warm_up", "cold"] {
            if at.child(key).is_present() {
                at.child(key).problem("This belongs to algorithm = \"warm_up\".");
            }
        }
    } else if warming.cold <= 0.0 {
        at.child("cold").problem("It would never begin. Give at least \"1%\".");
    }
    chosen
}

fn report_window(at: &Value<'_>, rate: Rate) {
    if at.child("burst").is_present() {
        at.child("burst")
            .problem("A sliding window has no burst: all of its requests may come at once.");
    }
    if rate.credits > WINDOW_MAX {
        at.child("rate").problem(format_args!(
            "A sliding window remembers each request in it, at most {WINDOW_MAX}. Use a shorter \
             unit of time,\nor \"token_bucket\"."
        ));
    }
}

fn report_refill(at: &Value<'_>, rate: Rate, burst: u64) {
    let refill = rate.period.as_nanos() * u128::from(burst) / u128::from(rate.credits.max(1));
    if refill > REFILL_MAX.as_nanos() {
        at.child("burst").problem("It would take more than a year until all of it is there again.");
    }
}

/// What has a limit of its own, by where the limit stands and what `per` says.
fn per(section: &mut Section<'_>, holder: Holder) -> Per {
    let at = section.at().clone();
    let clients = clients(section);
    let known = [("client_ip", Per::Client(clients)), ("service", Per::Service)];
    let per = section.take("per", |value| {
        value.choice(&known, &["key"]).inspect(|per| {
            if let Some(why) = misplaced(*per, holder) {
                value.problem(why);
            }
        })
    });
    if holder == Holder::ClientIp {
        return Per::Client(clients);
    }
    if !at.child("per").is_present() {
        for key in ["max_clients", "idle", "ipv6_prefix"] {
            if at.child(key).is_present() {
                at.child(key).problem("This belongs to per = \"client_ip\".");
            }
        }
    }
    per.unwrap_or(Per::Whole)
}

/// Why a limit there cannot be per that.
fn misplaced(per: Per, holder: Holder) -> Option<&'static str> {
    match (per, holder) {
        (_, Holder::Endpoint) => Some(
            "An endpoint has one limit for all. Put a limit for each of something on the route, \
             the cluster\nor the model.",
        ),
        (_, Holder::ClientIp) => Some("It is for each client already. Leave the key out."),
        (Per::Service, holder) if holder != Holder::Model => {
            Some("Only a model is asked for several services. Leave the key out here.")
        }
        _ => None,
    }
}

fn clients(section: &mut Section<'_>) -> Clients {
    let max = section.take("max_clients", |value| value.integer(CLIENTS_MIN..=CLIENTS_MAX));
    let prefix = section.take("ipv6_prefix", |value| value.integer(IPV6_PREFIX_MIN..=128));
    Clients {
        max: max.and_then(|max| usize::try_from(max).ok()).unwrap_or(CLIENTS),
        idle: section.take("idle", units::duration).unwrap_or(IDLE),
        ipv6_prefix: prefix.unwrap_or(IPV6_PREFIX) as u8,
    }
}
