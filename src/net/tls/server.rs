//! A listener's side of TLS.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::handshake::{ALPN_HTTP1, ALPN_HTTP2};
use super::identity::Identity;
use super::provider;
use super::roots::Roots;
use super::tickets::{Scope, TicketKeys, Ticketer};

/// What an operator asked for, with the files read.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// At least one; the first is for clients that name nobody known.
    pub identities: Vec<Arc<Identity>>,
    /// Set: clients must show a certificate that one of these vouches for.
    pub client_ca: Option<Arc<Roots>>,
    pub min_version: MinVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    Tls12,
    Tls13,
}

/// What every handshake on a listener is made with.
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// `http2`: HTTP/2 is offered, before HTTP/1.1.
    pub fn new(settings: &ListenerTls, keys: &Arc<TicketKeys>, http2: bool) -> Self {
        let versions = match settings.min_version {
            MinVersion::Tls12 => &[&TLS13, &TLS12][..],
            MinVersion::Tls13 => &[&TLS13][..],
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("the provider has suites for both versions");
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.store(), provider())
                        .build()
                        .expect("there is an authority, and no list of revocations");
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Chosen(settings.identities.clone())));
        config.alpn_protocols = alpn(http2);
        // All suites are good enough, and ours are in the order of what they cost.
        config.ignore_client_order = true;
        // Tickets are all there is: what a server keeps of sessions would be one worker's.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Ticketer::new(keys, scope(settings)));
        Self(Arc::new(config))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

pub(super) fn alpn(http2: bool) -> Vec<Vec<u8>> {
    let offered: &[&[u8]] = if http2 { &[ALPN_HTTP2, ALPN_HTTP1] } else { &[ALPN_HTTP1] };
    offered.iter().map(|name| name.to_vec()).collect()
}

/// A resumed session shows no certificate: it must have begun where the same clients were let in.
fn scope(settings: &ListenerTls) -> Scope {
    let mut hash = digest::Context::new(&digest::SHA256);
    for certificate in settings.client_ca.iter().flat_map(|roots| roots.certificates()) {
        hash.update(&(certificate.len() as u64).to_be_bytes());
        hash.update(certificate);
    }
    let mut scope = Scope::default();
    scope.copy_from_slice(hash.finish().as_ref());
    scope
}

/// Chooses by the name that the client asks for (SNI).
#[derive(Debug)]
struct Chosen(Vec<Arc<Identity>>);

impl ResolvesServerCert for Chosen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        // Among equals, one whose signatures the client understands: RSA and ECDSA side by side.
        let suits = |identity: &&Arc<Identity>| {
            identity.certified_key().key.choose_scheme(schemes).is_some()
        };
        let chosen = name.and_then(|name| {
            let named = |exact: bool| {
                self.0.iter().filter(suits).find(|identity| {
                    let mut names = identity.chain.names().iter();
                    names.any(|pattern| pattern.is_exact() == exact && pattern.matches(&name))
                })
            };
            named(true).or_else(|| named(false))
        });
        let chosen = chosen.or_else(|| self.0.iter().find(suits)).or(self.0.first())?;
        Some(Arc::clone(chosen.certified_key()))
    }
}
