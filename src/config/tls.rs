//! Certificates, keys and authorities: files are read here, so that what is wrong with them is
//! found before anything changes.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::ServerName;

use super::reader::Value;
use super::section::Section;
use crate::net::tls::{
    Chain, Identity, ListenerTls, MinVersion, Roots, Trust, UpstreamTls, Validity, read_key,
};
use crate::proxy::settings::{Address, EndpointTls};

/// Renewal by ACME begins 30 days before the end: one that is nearer has not been renewed.
const DAYS_LEFT_MIN: i64 = 30;

const LIST: &str = "a list such as [{ cert = \"a.pem\", key = \"a.key\" }]";
const FILE: &str = "the name of a PEM file such as \"a.pem\"";

/// The keys of a listener that have to do with TLS.
pub(super) fn listener(section: &mut Section<'_>) -> Option<ListenerTls> {
    let identities = section.take("tls", identities);
    let client_ca = section.take("client_ca", roots);
    let versions = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
    let min_version = section.take("tls_min_version", |value| value.choice(&versions, &[]));
    if !section.at().child("tls").is_present() {
        for at in ["client_ca", "tls_min_version"].map(|key| section.at().child(key)) {
            if at.is_present() {
                at.problem("Without tls, this listener is plain: add tls, or leave this key out.");
            }
        }
    }
    Some(ListenerTls {
        identities: identities?,
        client_ca,
        min_version: min_version.unwrap_or(MinVersion::Tls12),
    })
}

fn identities(list: &Value<'_>) -> Option<Vec<Arc<Identity>>> {
    let elements = list.elements(LIST)?;
    if elements.is_empty() {
        list.problem("There is no certificate. Leave the key out if this listener is plain.");
    }
    let identity = |at: &Value<'_>| at.section(required_identity).flatten();
    Some(elements.iter().filter_map(identity).collect())
}

fn required_identity(section: &mut Section<'_>) -> Option<Arc<Identity>> {
    let chain = section.require("cert", None, FILE, |value| chain(value).map(Some));
    let key = section.require("key", None, FILE, |value| {
        let file = value.file(FILE)?;
        read_key(&file).map_err(|why| value.problem(why)).ok().map(Some)
    });
    let identity = Identity::new(chain?, key?);
    identity.map_err(|why| section.at().child("key").problem(why)).ok().map(Arc::new)
}

fn chain(value: &Value<'_>) -> Option<Chain> {
    let chain = Chain::read(&value.file(FILE)?).map_err(|why| value.problem(why)).ok()?;
    warn_of_end(value, chain.validity, SystemTime::now());
    Some(chain)
}

fn warn_of_end(value: &Value<'_>, validity: Validity, now: SystemTime) {
    let days = validity.days_left(now);
    if days < 0 {
        value.warning("This certificate has expired: others refuse it. Renew it, then send HUP.");
    } else if days < DAYS_LEFT_MIN {
        value.warning(format_args!(
            "This certificate expires in {days} days. Renew it, then send HUP."
        ));
    } else if !validity.has_begun(now) {
        value.warning("This certificate is not valid yet: others refuse it. Is the clock right?");
    }
}

fn roots(value: &Value<'_>) -> Option<Arc<Roots>> {
    let roots = Roots::read(&value.file(FILE)?);
    roots.map_err(|why| value.problem(why)).ok().map(Arc::new)
}

/// The key `tls` of a cluster or model.
pub(super) struct Rules {
    rules: UpstreamTls,
    server_name: Option<ServerName<'static>>,
}

pub(super) fn upstream(value: &Value<'_>) -> Option<Rules> {
    value.section(|section| {
        let ca = section.take("ca", roots);
        let server_name = section.take("server_name", |value| {
            value.parse("a name such as \"docs.internal\"", server_name)
        });
        let verifies = section.take("verify", Value::boolean).unwrap_or(true);
        let has_identity = ["cert", "key"].iter().any(|key| section.at().child(key).is_present());
        let identity = if has_identity { required_identity(section) } else { none(section) };
        let trust = trust(section.at(), ca, verifies)?;
        Some(Rules { rules: UpstreamTls { trust, identity, http2: false }, server_name })
    })?
}

/// Asks for the keys of an identity that is not there, so that they count as known.
fn none(section: &mut Section<'_>) -> Option<Arc<Identity>> {
    section.value("cert");
    section.value("key");
    None
}

fn trust(at: &Value<'_>, ca: Option<Arc<Roots>>, verifies: bool) -> Option<Trust> {
    let ca_key = at.child("ca");
    if verifies {
        let roots = if ca_key.is_present() { ca } else { at.system_roots() };
        return roots.map(Trust::Roots);
    }
    if ca_key.is_present() {
        ca_key.problem("With verify = false, no authority is asked. Leave out one of the two.");
    }
    at.child("verify").warning("Whoever can redirect connections can read and change them.");
    Some(Trust::Anybody)
}

impl Rules {
    /// The rules for a URL with `https` where none are written.
    pub(super) fn of_system(at: &Value<'_>) -> Option<Self> {
        let trust = Trust::Roots(at.system_roots()?);
        let rules = UpstreamTls { trust, identity: None, http2: false };
        Some(Self { rules, server_name: None })
    }

    /// The rules for one endpoint, whose address stands at `at`.
    pub(super) fn endpoint(
        &self,
        at: &Value<'_>,
        address: &Address,
        http2: bool,
    ) -> Option<EndpointTls> {
        let server_name = match (&self.server_name, address) {
            (Some(name), _) => name.clone(),
            (None, Address::Tcp { host, .. }) if host.is_empty() => return None,
            (None, Address::Tcp { host, .. }) => {
                server_name(host).map_err(|why| at.problem(why)).ok()?
            }
            (None, Address::Service(_)) => {
                at.problem(
                    "The hosts of a service are told by DNS, which a certificate must not rest on. \
                     Give tls.server_name.",
                );
                return None;
            }
            (None, Address::Unix(_) | Address::Abstract(_)) => {
                at.problem("A socket's path is no name to verify. Give tls.server_name.");
                return None;
            }
        };
        Some(EndpointTls { rules: UpstreamTls { http2, ..self.rules.clone() }, server_name })
    }
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_owned();
    ServerName::try_from(name).map_err(|_| {
        format!("{text:?} is neither a host name nor an IP address that a certificate could have.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_a_name_or_an_address() {
        for text in ["docs.internal", "docs.internal.", "10.0.0.1", "::1", "a_b.example"] {
            assert!(server_name(text).is_ok(), "{text:?}");
        }
        for text in ["", "a b", "a..b", "*.example.com", "[::1]"] {
            assert!(server_name(text).is_err(), "{text:?}");
        }
    }
}
