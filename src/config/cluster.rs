//! `[cluster.NAME]`, and what models share with clusters.

use std::time::Duration;

use super::balance::balance;
use super::limit::{self, Holder};
use super::reader::Value;
use super::retry::retry;
use super::section::{Placed, Section};
use super::sticky::sticky;
use super::{address, health, name, passive, tls, units};
use crate::http::proxy_protocol::Version;
use crate::proxy::settings::{Address, Cluster, ClusterTimeouts, Endpoint};

/// Several retransmissions of a SYN (after 1 s and 3 s) fit in.
const CONNECT: Duration = Duration::from_secs(5);
/// A model may think that long before its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(300);
const IDLE: Duration = Duration::from_secs(300);
/// People leave pages open. A peer that vanished without a word costs two sockets until then.
const UPGRADE_IDLE: Duration = Duration::from_secs(3600);

/// People wait that long for a page, and most programs for longer.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Some seconds of work for most clusters; waiting exchanges take a few kilobytes each.
const QUEUE: usize = 1024;
const QUEUE_MAX: u64 = 1_000_000;
const IN_FLIGHT_MAX: u64 = 1_000_000;

const WEIGHT: u32 = 1;
/// Bounds the table that turns are laid out in.
pub const WEIGHT_MAX: u64 = 1000;

pub(super) fn cluster(name: &str, section: &mut Section<'_>) -> Cluster {
    if let Err(why) = name::plain(name) {
        section.at().problem(why);
    }
    let rules = section.take("tls", tls::upstream);
    let endpoints = section.sections("endpoint", |section| endpoint(section, rules.as_ref()));
    check_endpoints(section.at(), &endpoints);
    report_twice(&endpoints);
    let proxy_protocol = section.take("proxy_protocol", |value| {
        value.choice(&[("v1", Version::V1), ("v2", Version::V2)], &[])
    });
    if proxy_protocol.is_some() {
        report_shared_connections(&endpoints);
    }
    let timeouts = section.section("timeouts", |section| {
        let upgrade_idle = section.take("upgrade_idle", units::timeout);
        let upgrade_idle = upgrade_idle.unwrap_or(Some(UPGRADE_IDLE));
        ClusterTimeouts { upgrade_idle, ..timeouts(section) }
    });
    Cluster {
        proxy_protocol,
        ..cluster_of(name.to_owned(), endpoints, timeouts, Holder::Cluster, section)
    }
}

/// The PROXY protocol names the client of a connection, and in HTTP/2 all clients share it.
fn report_shared_connections(endpoints: &[Placed<'_, Endpoint>]) {
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.is.http2) {
        endpoint.at.child("http2").problem(
            "Requests of all clients share a connection of HTTP/2, and proxy_protocol could name \
             only one of them. Leave one of the two out; x-forwarded-for names the client.",
        );
    }
}

/// What a cluster and a model have in common.
pub(super) fn cluster_of(
    name: String,
    endpoints: Vec<Placed<'_, Endpoint>>,
    timeouts: ClusterTimeouts,
    holder: Holder,
    section: &mut Section<'_>,
) -> Cluster {
    let queue = section.take("queue", |value| value.integer(0..=QUEUE_MAX));
    let (health_check, passive) =
        (health::health_check(section), passive::passive(section, &endpoints));
    Cluster {
        name,
        health_check,
        passive,
        endpoints: endpoints.into_iter().map(|endpoint| endpoint.is).collect(),
        timeouts,
        // Providers are not told of clients.
        proxy_protocol: None,
        balance: balance(section),
        sticky: section.take("sticky", |value| value.section(sticky)),
        retry: section.section("retry", retry),
        max_in_flight: max_in_flight(section),
        queue: queue.and_then(|places| usize::try_from(places).ok()).unwrap_or(QUEUE),
        limit: limit::list(section, holder),
    }
}

pub(super) fn max_in_flight(section: &mut Section<'_>) -> Option<u32> {
    let max = section.take("max_in_flight", |value| value.integer(1..=IN_FLIGHT_MAX));
    max.and_then(|max| u32::try_from(max).ok())
}

pub(super) fn backup(section: &mut Section<'_>) -> bool {
    section.take("backup", Value::boolean).unwrap_or(false)
}

fn endpoint(section: &mut Section<'_>, rules: Option<&tls::Rules>) -> Endpoint {
    let what = "\"HOST:PORT\", \"srv:NAME\" or \"unix:PATH\"";
    let address = section
        .require("address", address::nowhere(), what, |value| value.parse(what, address::endpoint));
    let http2 = http2(section);
    let at = section.at().child("address");
    if matches!(address, Address::Service(_)) && section.at().child("weight").is_present() {
        section
            .at()
            .child("weight")
            .problem("The records of a service have weights of their own. Leave this one out.");
    }
    Endpoint {
        tls: rules.and_then(|rules| rules.endpoint(&at, &address, http2)),
        address,
        weight: weight(section),
        http2,
        max_in_flight: max_in_flight(section),
        limit: limit::list(section, Holder::Endpoint),
        backup: backup(section),
        provider: None,
    }
}

pub(super) fn http2(section: &mut Section<'_>) -> bool {
    section.take("http2", Value::boolean).unwrap_or(false)
}

pub(super) fn weight(section: &mut Section<'_>) -> u32 {
    let weight = section.take("weight", |value| value.integer(0..=WEIGHT_MAX));
    weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(WEIGHT)
}

/// Reports a cluster that could never answer.
pub(super) fn check_endpoints(at: &Value<'_>, endpoints: &[Placed<'_, Endpoint>]) {
    let list = at.child("endpoint");
    if !list.is_present() || list.is_empty_list() {
        list.problem(format_args!("There is no endpoint. Add [[{}]].", list.path()));
    } else if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.is.weight == 0) {
        list.problem("Every endpoint has the weight 0, so none would get a request.");
    } else if !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.is.backup) {
        list.problem("Every endpoint is a backup, but there is none to stand in for.");
    }
}

fn report_twice(endpoints: &[Placed<'_, Endpoint>]) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let address = endpoint.at.child("address");
        let is_same = |other: &&Placed<'_, Endpoint>| other.is.address == endpoint.is.address;
        let is_real = endpoint.is.address != address::nowhere();
        if let Some(first) = endpoints[..index].iter().find(is_same).filter(|_| is_real) {
            address.problem(format_args!(
                "{} has the same address. Give one of them a greater weight instead.",
                first.at.path()
            ));
        }
    }
}

pub(super) fn timeouts(section: &mut Section<'_>) -> ClusterTimeouts {
    let mut timeout = |key, default| section.take(key, units::timeout).unwrap_or(default);
    ClusterTimeouts {
        connect: timeout("connect", Some(CONNECT)),
        first_byte: timeout("first_byte", Some(FIRST_BYTE)),
        idle: timeout("idle", Some(IDLE)),
        total: timeout("total", None),
        // Models are never asked for another protocol.
        upgrade_idle: None,
        queue: timeout("queue", Some(QUEUE_TIMEOUT)),
    }
}
