//! TLS over a [`Socket`](super::socket::Socket), by rustls and aws-lc-rs.
//!
//! rustls decides what records mean; this module decides where their bytes lie. Its buffers are
//! the worker's: ciphertext is decrypted in the receive buffer it came in, content is handed on in
//! another, records to be sent are made in a scratch buffer of the thread. A connection owns
//! memory only while a record is incomplete or the socket is full.

mod client;
mod distinguished_name;
mod engine;
mod failure;
mod handshake;
mod identity;
mod incoming;
mod names;
mod records;
mod roots;
mod server;
mod state;
mod stream;
mod tickets;
mod validity;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};

pub use self::client::{ClientTls, Trust, UpstreamTls};
pub use self::failure::{HandshakeFailure, HandshakeFault};
pub use self::handshake::{accept, connect};
pub use self::identity::{Chain, Identity, read_key};
pub use self::roots::Roots;
pub use self::server::{ListenerTls, MinVersion, ServerTls};
pub use self::stream::{ClientCertificate, Negotiated, Protocol, TlsStream};
pub use self::tickets::TicketKeys;
pub use self::validity::Validity;

/// The cryptography of all connections: every suite of rustls, all of them with forward secrecy
/// and authenticated encryption. The order is our preference.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        // SHA-256 first: CPUs have instructions for it and none for SHA-384, which takes a fifth
        // of a handshake's time.
        let cipher_suites = vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ];
        // A server takes the first group for which the client sent a share. X25519 costs 22 µs
        // less than its hybrid with ML-KEM, which stays on offer.
        let kx_groups = vec![
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
            kx_group::X25519MLKEM768,
        ];
        Arc::new(CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}
