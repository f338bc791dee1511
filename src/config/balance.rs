//! `balance` and what belongs to it: how a cluster picks an endpoint.

use super::reader::Value;
use super::section::Section;
use super::{fields, units};
use crate::policy::balance::Algorithm;
use crate::proxy::settings::{Balance, HashOn};

/// Below the fair share no request would have a place; far above it the bound is none.
const LOAD_BOUND: std::ops::RangeInclusive<f64> = 1.0..=100.0;

pub(super) fn balance(section: &mut Section<'_>) -> Balance {
    let default = Balance::default();
    let known = [
        ("round_robin", Algorithm::RoundRobin),
        ("least_requests", Algorithm::LeastRequests),
        ("random", Algorithm::Random),
        ("two_choices", Algorithm::TwoChoices),
        ("ip_hash", Algorithm::IpHash),
        ("consistent_hash", Algorithm::ConsistentHash),
        ("peak_ewma", Algorithm::PeakEwma),
    ];
    let not_yet = ["least_tokens", "prefix_hash"];
    let algorithm = section.take("balance", |value| value.choice(&known, &not_yet));
    let algorithm = algorithm.unwrap_or(default.algorithm);
    let hashing_only = |value: &Value<'_>| {
        if algorithm != Algorithm::ConsistentHash {
            value.problem(
                "This is for balance = \"consistent_hash\" only. Leave it out, or balance so.",
            );
        }
    };
    Balance {
        algorithm,
        hash_on: section
            .take("hash_on", |value| {
                hashing_only(value);
                hash_on(value)
            })
            .unwrap_or(default.hash_on),
        load_bound: section
            .take("load_bound", |value| {
                hashing_only(value);
                value.number(LOAD_BOUND)
            })
            .unwrap_or(default.load_bound),
        slow_start: section.take("slow_start", units::timeout).flatten(),
    }
}

fn hash_on(value: &Value<'_>) -> Option<HashOn> {
    let expected = "what to hash, such as \"client_ip\" or \"header:x-session\"";
    value.parse(expected, |text| match text.split_once(':') {
        None if text == "client_ip" => Ok(HashOn::ClientIp),
        None if text == "key" => Err(super::unavailable::MESSAGE.to_owned()),
        Some(("header", name)) => fields::field_name(name).map(HashOn::Header),
        Some(("cookie", name)) if fields::is_token(name) => Ok(HashOn::Cookie(name.to_owned())),
        Some(("cookie", _)) => {
            Err("A cookie's name has letters, digits and !#$%&'*+-.^_`|~ only.".to_owned())
        }
        _ => Err("Give \"client_ip\", \"header:NAME\" or \"cookie:NAME\".".to_owned()),
    })
}
