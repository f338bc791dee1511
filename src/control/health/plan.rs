//! What the checks of one endpoint need to know, gathered from the configuration.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::http::message::Method;
use crate::http::proxy_protocol::Version;
use crate::net::tls::ClientTls;
use crate::policy::health::{HttpProbe, Pace, Probe};
use crate::proxy::settings::{Address, Endpoint};
use crate::proxy::shared::{ClusterState, EndpointState};
use crate::proxy::snapshot::EndpointInFull;

/// An endpoint and how it is checked.
pub(super) struct Plan {
    pub(super) state: Arc<EndpointState>,
    pub(super) cluster: Arc<ClusterState>,
    pub(super) pace: Pace,
    pub(super) ask: Ask,
    pub(super) tls: Option<(Arc<ClientTls>, ServerName<'static>)>,
    /// Connections begin with a header of this version.
    pub(super) proxy_protocol: Option<Version>,
}

/// What is asked once there is a connection.
#[derive(PartialEq)]
pub(super) enum Ask {
    Nothing,
    Http1 { request: Vec<u8>, wanted: HttpProbe },
    Http2 { authority: String, wanted: HttpProbe },
}

/// Two plans are the same if whoever carries them out does the same.
impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        let has_same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            // The same settings have the same client, as long as some snapshot holds it.
            (Some((client, name)), Some((other, other_name))) => {
                Arc::ptr_eq(client, other) && name == other_name
            }
            _ => false,
        };
        has_same_tls
            && Arc::ptr_eq(&self.state, &other.state)
            && self.pace == other.pace
            && self.ask == other.ask
            && self.proxy_protocol == other.proxy_protocol
    }
}

impl Plan {
    /// `None` if nobody checks this endpoint.
    pub(super) fn of(full: &EndpointInFull<'_>) -> Option<Self> {
        let check = full.cluster.health_check.as_ref()?;
        let ask = match &check.probe {
            Probe::Connect => Ask::Nothing,
            Probe::Http(wanted) => ask(full.endpoint, wanted),
        };
        let name = full.endpoint.tls.as_ref().map(|tls| tls.server_name.clone());
        Some(Self {
            state: Arc::clone(full.state),
            cluster: Arc::clone(full.cluster_state),
            pace: check.pace,
            ask,
            tls: full.tls.cloned().zip(name),
            proxy_protocol: full.cluster.proxy_protocol,
        })
    }

    /// The same for the same endpoint, in each process.
    pub(super) fn seed(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&*self.state.cluster, &*self.state.label).hash(&mut hasher);
        hasher.finish()
    }
}

fn ask(endpoint: &Endpoint, wanted: &HttpProbe) -> Ask {
    let authority = wanted.host.clone().unwrap_or_else(|| own_name(endpoint));
    let wanted = wanted.clone();
    match endpoint.http2 {
        true => Ask::Http2 { authority, wanted },
        false => Ask::Http1 { request: request(&authority, &wanted), wanted },
    }
}

/// What the endpoint is called by those who are not told otherwise.
fn own_name(endpoint: &Endpoint) -> String {
    match (&endpoint.provider, &endpoint.address) {
        (Some(provider), _) => provider.authority.clone(),
        (None, Address::Service(name)) => name.clone(),
        (None, address @ Address::Tcp { .. }) => address.to_string(),
        (None, Address::Unix(_) | Address::Abstract(_)) => "localhost".to_owned(),
    }
}

/// What checks say who they are.
pub(super) const USER_AGENT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"), " (health)");

fn request(authority: &str, wanted: &HttpProbe) -> Vec<u8> {
    let HttpProbe { method, path, headers, .. } = wanted;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n");
    if !headers.iter().any(|(name, _)| name == "user-agent") {
        request.push_str(&format!("user-agent: {USER_AGENT}\r\n"));
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("connection: close\r\n");
    // A method that has a body where others would wait for it (RFC 9110, 8.6).
    if !matches!(Method::of(method.as_bytes()), Method::Get | Method::Head | Method::Options) {
        request.push_str("content-length: 0\r\n");
    }
    request.push_str("\r\n");
    request.into_bytes()
}
