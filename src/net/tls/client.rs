//! An upstream connection's side of TLS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, SignatureScheme};

use super::identity::Identity;
use super::provider;
use super::roots::Roots;
use super::server::alpn;

/// Sessions kept to be resumed: some for each name and worker.
const SESSIONS_MAX: usize = 256;

/// What an operator asked for, with the files read.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamTls {
    pub trust: Trust,
    /// Shown to servers that ask who we are.
    pub identity: Option<Arc<Identity>>,
    /// Offer HTTP/2, before HTTP/1.1.
    pub http2: bool,
}

/// Which servers are believed to be who they say.
#[derive(Debug, Clone, PartialEq)]
pub enum Trust {
    Roots(Arc<Roots>),
    /// Every server that has the key to its certificate (`verify = false`).
    Anybody,
}

/// What every handshake with a cluster's endpoints is made with. It remembers sessions, so it is
/// made once for the same settings.
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    pub fn new(settings: &UpstreamTls) -> Self {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions");
        let builder: ConfigBuilder<ClientConfig, WantsClientCert> = match &settings.trust {
            Trust::Roots(roots) => builder.with_root_certificates(roots.store()),
            Trust::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
            }
        };
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let key = Arc::clone(identity.certified_key());
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.alpn_protocols = alpn(settings.http2);
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Self(Arc::new(config))
    }

    /// For those who bring their own loop.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// Accepts every certificate. The server must still have its key: what is given up is knowing
/// who it is, not that the connection has two ends.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
