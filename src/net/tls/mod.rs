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

use rustls::crypto::{CryptoProvider, aws_lc_rs};

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
/// and authenticated encryption.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        // A server takes the first group for which the client sent a share. X25519 costs 22 µs
        // less than its hybrid with ML-KEM, which stays on offer.
        let kx_groups = vec![
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
            aws_lc_rs::kx_group::SECP384R1,
            aws_lc_rs::kx_group::X25519MLKEM768,
        ];
        Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
    };
    Arc::clone(PROVIDER.get_or_init(make))
}
