//! `[[listener]]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::time::Duration;

use super::limit::{self, Holder};
use super::reader::Value;
use super::section::Section;
use super::{address, error_page, name, tls, units};
use crate::proxy::settings::{Listener, ListenerLimits, ListenerTimeouts};

/// Twice what browsers send at most in practice; HAProxy's and nginx's defaults are near it.
const HEAD: usize = 16 << 10;
/// A request line and a few fields.
const HEAD_MIN: u64 = 1 << 10;
/// One pooled buffer holds a whole head.
const HEAD_MAX: u64 = 64 << 10;

const HEADERS: usize = 100;
const HEADERS_MAX: u64 = 1000;

/// Enough for images and audio in AI requests, small enough to stop accidents.
const BODY: u64 = 50 << 20;
const BODY_MAX: u64 = 1 << 50;

/// A tenth of what the slowest mobile networks carry; what comes slower does so on purpose.
const BODY_RATE: u64 = 512;
const BODY_RATE_MAX: u64 = 1 << 30;

const CONNECTIONS: usize = 100_000;
const CONNECTIONS_MAX: u64 = 10_000_000;

/// A head is one or two packets: what takes longer is an attack or a dead peer.
const REQUEST_HEAD: Duration = Duration::from_secs(10);
/// Two round trips and some arithmetic.
const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
const REQUEST_BODY: Duration = Duration::from_secs(30);
/// Longer than the 60 s for which load balancers in front usually keep connections, so that
/// they close first and never send into a closing one.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Stands in for an address that cannot be read; port 0 conflicts with nothing.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

pub(super) fn listener(section: &mut Section<'_>) -> Listener {
    let what = "what routes and metrics call this listener";
    let tls = tls::listener(section);
    let listener = Listener {
        name: section.require("name", String::new(), what, |value| {
            value.parse("a name such as \"public\"", name::plain)
        }),
        bind: section.require("bind", ANY, "an address such as \"0.0.0.0:8080\"", |value| {
            value.parse("an address such as \"0.0.0.0:8080\"", address::bind)
        }),
        // With TLS both sides agree; without, the first bytes have to be looked at.
        http2: section.take("http2", Value::boolean).unwrap_or(tls.is_some()),
        limits: section.section("limits", limits),
        limit: limit::list(section, Holder::Listener),
        timeouts: section.section("timeouts", timeouts),
        proxy_protocol: section.take("proxy_protocol", Value::boolean).unwrap_or_default(),
        tls,
        trusted_proxies: section.take("trusted_proxies", address::blocks).unwrap_or_default(),
        errors: section.take("errors", error_page::pages).unwrap_or_default(),
    };
    check_trust(section.at(), &listener);
    listener
}

/// Reports a listener that could not serve anybody.
fn check_trust(at: &Value<'_>, listener: &Listener) {
    let trusted = at.child("trusted_proxies");
    if listener.proxy_protocol && (!trusted.is_present() || trusted.is_empty_list()) {
        at.child("proxy_protocol").problem(
            "Nobody is trusted to send the header, so every connection would be closed.\nList the \
             addresses of the proxies in front in trusted_proxies.",
        );
    }
}

fn limits(section: &mut Section<'_>) -> ListenerLimits {
    let head = section.take("head", |value| units::size(value, HEAD_MIN..=HEAD_MAX));
    let body = section.take("body", body_limit);
    let rate = section.take("body_rate", |value| units::byte_rate(value, BODY_RATE_MAX));
    ListenerLimits {
        head: head.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(HEAD),
        headers: count(section, "headers", HEADERS_MAX).unwrap_or(HEADERS),
        body: body.unwrap_or(BODY),
        body_rate: NonZeroU64::new(rate.unwrap_or(BODY_RATE)),
        connections: count(section, "connections", CONNECTIONS_MAX).unwrap_or(CONNECTIONS),
    }
}

/// Bytes of a request body.
pub(super) fn body_limit(value: &Value<'_>) -> Option<u64> {
    units::size(value, 1..=BODY_MAX)
}

fn count(section: &mut Section<'_>, key: &'static str, most: u64) -> Option<usize> {
    usize::try_from(section.take(key, |value| value.integer(1..=most))?).ok()
}

fn timeouts(section: &mut Section<'_>) -> ListenerTimeouts {
    let mut timeout = |key, default| section.take(key, units::timeout).unwrap_or(Some(default));
    ListenerTimeouts {
        tls_handshake: timeout("tls_handshake", TLS_HANDSHAKE),
        request_head: timeout("request_head", REQUEST_HEAD),
        request_body: timeout("request_body", REQUEST_BODY),
        keep_alive: timeout("keep_alive", KEEP_ALIVE),
    }
}
