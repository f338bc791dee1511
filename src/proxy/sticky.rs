//! A cookie that keeps a client with its endpoint.
//!
//! Each endpoint has a value of its own: a keyed hash of what tells it apart, which says nothing
//! of its address, and is the same on every machine and in every process with the same
//! configuration.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::exchange::Exchange;
use super::settings::{self, SameSite};
use crate::http::cookie;
use crate::http::field_name::FieldName;
use crate::http::fields::Fields;

/// Sixteen hexadecimal digits.
type Value = [u8; VALUE_BYTES];
const VALUE_BYTES: usize = 16;

/// The cookie of one cluster.
pub(super) struct Sticky {
    name: String,
    /// Endpoints do not see it.
    indirect: bool,
    /// By endpoint.
    values: Vec<Value>,
    endpoints: HashMap<Value, usize>,
    /// What follows the value where the cookie is set.
    attributes: String,
}

/// The cookie that a response has to set.
#[derive(Clone, Copy)]
pub(super) struct SetCookie<'a> {
    sticky: &'a Sticky,
    /// `None` where the client has the right one: then nobody else's goes to it either.
    endpoint: Option<usize>,
}

impl Sticky {
    /// `labels` tell the endpoints apart; where two have the same, their order does.
    pub(super) fn compile<'l>(
        settings: &settings::Sticky,
        cluster: &str,
        labels: impl Iterator<Item = &'l str>,
    ) -> Self {
        let secret = settings.key.as_ref().map_or(&[][..], |key| key.0.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut endpoints = HashMap::new();
        let mut values = Vec::new();
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (index, label) in labels.enumerate() {
            let before = seen.entry(label).or_default();
            let value = value(&key, cluster, label, *before);
            *before += 1;
            values.push(value);
            endpoints.entry(value).or_insert(index);
        }
        Self {
            name: settings.cookie.clone(),
            indirect: settings.indirect,
            values,
            endpoints,
            attributes: attributes(settings),
        }
    }

    /// The endpoint that a request's cookie names.
    pub(super) fn endpoint(&self, bytes: &[u8], fields: &Fields) -> Option<usize> {
        let values = fields
            .all(FieldName::Cookie)
            .flat_map(|field| cookie::all(field.value.of(bytes), &self.name));
        values.filter_map(|value| self.endpoints.get(value)).next().copied()
    }

    /// The name of the cookie, if endpoints are not to see it.
    pub(super) fn hidden_name(&self) -> Option<&str> {
        self.indirect.then_some(&*self.name)
    }
}

impl SetCookie<'_> {
    /// Whether a Set-Cookie field of an endpoint is in the way of ours.
    pub(super) fn replaces(&self, field: &[u8]) -> bool {
        cookie::sets(field, &self.sticky.name)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { sticky, endpoint } = self;
        let Some(value) = endpoint.and_then(|endpoint| sticky.values.get(endpoint)) else { return };
        out.extend_from_slice(b"set-cookie: ");
        out.extend_from_slice(sticky.name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value);
        out.extend_from_slice(sticky.attributes.as_bytes());
        // A cache must not give one client's cookie to all (RFC 9111, 5.2.2.7).
        out.extend_from_slice(b"\r\ncache-control: private\r\n");
    }
}

impl Exchange<'_> {
    /// That of the cluster in use, if it is sticky.
    pub(super) fn sticky(&self) -> Option<Arc<Sticky>> {
        self.record.cluster.as_ref()?.sticky.clone()
    }

    /// The cookie that the response of this attempt sets, if its cluster is sticky.
    pub(super) fn set_cookie<'s>(&self, sticky: &'s Sticky) -> SetCookie<'s> {
        let named = sticky.endpoint(&self.scratch.head, &self.scratch.request.fields);
        SetCookie { sticky, endpoint: self.record.endpoint.filter(|is| Some(*is) != named) }
    }
}

/// Told apart by what no name can have.
fn value(key: &hmac::Key, cluster: &str, label: &str, before: usize) -> Value {
    let tag = hmac::sign(key, format!("{cluster}\n{label}\n{before}").as_bytes());
    let mut value = [0; VALUE_BYTES];
    for (pair, byte) in value.chunks_exact_mut(2).zip(tag.as_ref()) {
        pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
    }
    value
}

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

fn attributes(settings: &settings::Sticky) -> String {
    let settings::Sticky { max_age, path, domain, secure, http_only, same_site, .. } = settings;
    let mut text = format!("; Path={path}");
    // Writing into a String does not fail.
    if let Some(domain) = domain {
        let _ = write!(text, "; Domain={domain}");
    }
    if let Some(max_age) = max_age {
        let _ = write!(text, "; Max-Age={}", max_age.as_secs());
    }
    if *secure {
        text += "; Secure";
    }
    if *http_only {
        text += "; HttpOnly";
    }
    text += match same_site {
        None => "",
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
    };
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::proxy::settings::Secret;

    fn settings() -> settings::Sticky {
        settings::Sticky {
            cookie: "SRV".into(),
            max_age: None,
            path: "/".into(),
            domain: None,
            secure: false,
            http_only: true,
            same_site: None,
            indirect: true,
            key: None,
        }
    }

    fn compiled(settings: &settings::Sticky, cluster: &str, labels: &[&str]) -> Sticky {
        Sticky::compile(settings, cluster, labels.iter().copied())
    }

    fn set(sticky: &Sticky, endpoint: Option<usize>) -> String {
        let mut out = Vec::new();
        SetCookie { sticky, endpoint }.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_depends_on_the_endpoint_the_cluster_and_the_key_and_on_nothing_else() {
        let (one, other) = ("10.0.0.1:80", "10.0.0.2:80");
        let keyed = settings::Sticky { key: Some(Secret("secret".into())), ..settings() };
        let before = compiled(&settings(), "web", &[one, other]);
        let after = compiled(&settings(), "web", &[other, "10.0.0.3:80", one]);

        assert_eq!((before.values[0], before.values[1]), (after.values[2], after.values[0]));
        assert_ne!(before.values[0], before.values[1]);
        assert_ne!(before.values[0], compiled(&settings(), "api", &[one]).values[0]);
        assert_ne!(before.values[0], compiled(&keyed, "web", &[one]).values[0]);
    }

    #[test]
    fn the_value_of_an_endpoint_never_changes_between_versions() {
        let value = compiled(&settings(), "web", &["10.0.0.1:80"]).values[0];
        assert_eq!(String::from_utf8_lossy(&value), "df2e4a06b2d73a87");
    }

    #[test]
    fn endpoints_of_one_address_have_values_of_their_own() {
        let sticky = compiled(&settings(), "model:a", &["10.0.0.1:80", "10.0.0.1:80"]);
        assert_eq!(sticky.endpoints.len(), 2);
    }

    #[test]
    fn the_cookie_is_set_with_what_the_operator_wants_of_it() {
        let plain = compiled(&settings(), "web", &["a:1"]);
        let value = String::from_utf8_lossy(&plain.values[0]);
        let expected =
            format!("set-cookie: SRV={value}; Path=/; HttpOnly\r\ncache-control: private\r\n");
        assert_eq!(set(&plain, Some(0)), expected);
        assert_eq!(set(&plain, None), "");

        let all = settings::Sticky {
            max_age: Some(Duration::from_secs(3600)),
            path: "/app".into(),
            domain: Some("example.com".into()),
            secure: true,
            http_only: false,
            same_site: Some(SameSite::None),
            ..settings()
        };
        let text = set(&compiled(&all, "web", &["a:1"]), Some(0));
        let expected = "; Path=/app; Domain=example.com; Max-Age=3600; Secure; SameSite=None\r\n";
        assert!(text.contains(expected), "{text}");
    }
}
