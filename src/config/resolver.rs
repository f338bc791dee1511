//! `[resolver]`: who is asked for names, and for how long answers count.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::reader::Value;
use super::section::Section;
use super::units;
use crate::proxy::settings::{Family, Resolver};

/// RFC 1035, section 4.2.
const PORT: u16 = 53;

/// Each is asked in turn when those before are silent: more would only make a failure last.
const SERVERS_MAX: usize = 8;

const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const ATTEMPTS_MAX: u64 = 10;

/// Below, a name with a time to live of zero would keep its server busy.
const MIN_TTL_LEAST: Duration = Duration::from_millis(100);

pub(super) fn resolver(section: &mut Section<'_>) -> Resolver {
    let default = Resolver::default();
    let attempts = section.take("attempts", |value| value.integer(1..=ATTEMPTS_MAX));
    let min_ttl = section.take("min_ttl", min_ttl).unwrap_or(default.min_ttl);
    Resolver {
        servers: section.take("servers", servers).unwrap_or_default(),
        timeout: section.take("timeout", timeout).unwrap_or(default.timeout),
        attempts: attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(default.attempts),
        prefer: section.take("prefer", prefer).unwrap_or(default.prefer),
        max_ttl: section
            .take("max_ttl", |value| max_ttl(value, min_ttl))
            .unwrap_or(default.max_ttl.max(min_ttl)),
        min_ttl,
        hold: section.take("hold", units::timeout).unwrap_or(default.hold),
    }
}

fn servers(list: &Value<'_>) -> Option<Vec<SocketAddr>> {
    let expected = "an address such as \"10.0.0.2\" or \"10.0.0.2:5353\"";
    let elements = list.elements("a list of addresses such as [\"10.0.0.2\"]")?;
    if elements.is_empty() {
        list.problem("There is no server. Leave servers out to use those of /etc/resolv.conf.");
    } else if elements.len() > SERVERS_MAX {
        list.problem(format_args!("Give at most {SERVERS_MAX} servers."));
    }
    Some(elements.iter().filter_map(|at| at.parse(expected, server)).collect())
}

fn server(text: &str) -> Result<SocketAddr, String> {
    let written = || text.parse().ok().filter(|address: &SocketAddr| address.port() > 0);
    let with_port = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
    written().or_else(with_port).ok_or_else(|| {
        "This is not the IP address of a DNS server. Write \"10.0.0.2\", or \"10.0.0.2:5353\" with \
         a port other than 53."
            .to_owned()
    })
}

fn timeout(value: &Value<'_>) -> Option<Duration> {
    let timeout = units::duration(value)?;
    if timeout > TIMEOUT_MAX {
        value.problem("A server that has not answered in 60s is not going to. Give less.");
    }
    Some(timeout)
}

fn min_ttl(value: &Value<'_>) -> Option<Duration> {
    let ttl = units::duration(value)?;
    if ttl < MIN_TTL_LEAST {
        value.problem("Lookups would never rest. Give \"100ms\" or more.");
    }
    Some(ttl)
}

fn max_ttl(value: &Value<'_>, min_ttl: Duration) -> Option<Duration> {
    let ttl = units::duration(value)?;
    if ttl < min_ttl {
        value.problem("This is less than min_ttl. Give as much, or more.");
    }
    Some(ttl)
}

fn prefer(value: &Value<'_>) -> Option<Family> {
    let known = [("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("both", Family::Both)];
    value.choice(&known, &[])
}
