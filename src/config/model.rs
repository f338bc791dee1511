//! `[model."NAME"]`: a model compiles to a cluster and a name that leads to it.

use super::cluster::{backup, check_endpoints, cluster_of, http2, max_in_flight, timeouts, weight};
use super::limit::{self, Holder};
use super::reader::Value;
use super::section::{Placed, Section};
use super::{address, fields, name, tls};
use crate::proxy::settings::{Address, Cluster, Dialect, Endpoint, EndpointTls, Provider, Secret};

/// A model before its cluster has an index.
pub(super) struct NamedModel {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) cluster: Cluster,
}

pub(super) fn model(name: &str, section: &mut Section<'_>) -> NamedModel {
    if let Err(why) = name::model(name) {
        section.at().problem(why);
    }
    let rules = section.take("tls", tls::upstream);
    let endpoints = section.sections("endpoint", |section| endpoint(section, rules.as_ref()));
    warn_of_unused(section.at(), &endpoints);
    check_endpoints(section.at(), &endpoints);
    let timeouts = section.section("timeouts", timeouts);
    NamedModel {
        name: name.to_owned(),
        aliases: section.take("aliases", aliases).unwrap_or_default(),
        cluster: cluster_of(format!("model:{name}"), endpoints, timeouts, Holder::Model, section),
    }
}

fn aliases(list: &Value<'_>) -> Option<Vec<String>> {
    let elements = list.elements("a list of names such as [\"gpt-4-latest\"]")?;
    // One that cannot be read keeps its place in the list: later checks point to it by index.
    let alias = |at: &Value<'_>| at.parse("a model's name", name::model).unwrap_or_default();
    Some(elements.iter().map(alias).collect())
}

/// Who serves a model: which dialect it speaks, and what its base URL ends with.
#[derive(Clone, Copy)]
struct Kind {
    dialect: Dialect,
    base: Base,
}

/// What the SDK's base URL of a provider looks like.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    EndsInVersion,
    HasNoVersion,
    Anything,
}

fn kind(value: &Value<'_>) -> Option<Kind> {
    let openai = Kind { dialect: Dialect::OpenAi, base: Base::EndsInVersion };
    let known = [
        ("openai", openai),
        ("vllm", openai),
        ("gpustack", openai),
        ("xinference", openai),
        ("localai", openai),
        ("custom", Kind { base: Base::Anything, ..openai }),
        ("anthropic", Kind { dialect: Dialect::Anthropic, base: Base::HasNoVersion }),
    ];
    value.choice(&known, &["gemini", "ollama", "azure"])
}

fn warn_of_unused(at: &Value<'_>, endpoints: &[Placed<'_, Endpoint>]) {
    let tls = at.child("tls");
    if tls.is_present() && endpoints.iter().all(|endpoint| endpoint.is.tls.is_none()) {
        tls.warning("No endpoint of this model has a URL with https://, so nothing follows.");
    }
}

fn endpoint(section: &mut Section<'_>, rules: Option<&tls::Rules>) -> Endpoint {
    let stand_in = Kind { dialect: Dialect::OpenAi, base: Base::Anything };
    let kind =
        section.require("provider", stand_in, "who serves the model, such as \"vllm\"", kind);
    let url =
        section.require("url", nowhere(), "a URL such as \"http://127.0.0.1:8000/v1\"", |value| {
            // A credential in a URL is a mistake, but one that must not reach a terminal.
            let value = value.hidden_if(|url| url.contains('@'));
            let url =
                value.parse("a URL such as \"http://127.0.0.1:8000/v1\"", address::base_url)?;
            warn_of_version(&value, &url.path, kind.base);
            Some(url)
        });
    let at = section.at().child("url");
    let http2 = http2(section);
    Endpoint {
        tls: if url.is_private { endpoint_tls(&at, rules, &url.address, http2) } else { None },
        address: url.address,
        weight: weight(section),
        http2,
        max_in_flight: max_in_flight(section),
        limit: limit::list(section, Holder::Endpoint),
        backup: backup(section),
        provider: Some(Provider {
            dialect: kind.dialect,
            authority: url.authority,
            base_path: url.path,
            model: section.take("model", |value| value.parse("a model's name", name::model)),
            api_key: section.take("api_key", api_key),
            headers: section
                .take("headers", |value| fields::pairs(value, fields::refuse_framing_and_host))
                .unwrap_or_default(),
        }),
    }
}

fn endpoint_tls(
    at: &Value<'_>,
    rules: Option<&tls::Rules>,
    address: &Address,
    http2: bool,
) -> Option<EndpointTls> {
    match rules {
        Some(rules) => rules.endpoint(at, address, http2),
        // Rules that could not be read have been reported.
        None => tls::Rules::of_system(at)?.endpoint(at, address, http2),
    }
}

fn nowhere() -> address::BaseUrl {
    let address = address::nowhere();
    let (authority, path) = (String::new(), String::new());
    address::BaseUrl { address, authority, path, is_private: false }
}

fn warn_of_version(value: &Value<'_>, path: &str, base: Base) {
    if base == Base::EndsInVersion && path.is_empty() {
        value.warning(
            "The base URL of this provider ends in /v1; calls go to URL/chat/completions.",
        );
    } else if base == Base::HasNoVersion && path.ends_with("/v1") {
        value.warning("The base URL of this provider has no /v1: calls go to URL/v1/messages.");
    }
}

fn api_key(value: &Value<'_>) -> Option<Secret> {
    let key = value.hidden().parse("a string such as \"${API_KEY}\" or \"${file:PATH}\"", |text| {
        if text.is_empty() {
            return Err(
                "The key is empty. Leave api_key out if the endpoint wants none.".to_owned()
            );
        }
        fields::field_value(text).map_err(|_| {
            "The key has a line end, a space around it, or a character outside ASCII.".to_owned()
        })
    });
    key.map(Secret)
}
