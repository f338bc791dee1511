//! From a socket to a connection that both sides have agreed on.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use super::client::ClientTls;
use super::distinguished_name;
use super::engine::Engine;
use super::failure::HandshakeFailure;
use super::server::ServerTls;
use super::state::{Received, State};
use super::stream::{ClientCertificate, Negotiated, Protocol, TlsStream};
use crate::net::socket::Socket;
use crate::runtime::io::Deadline;

/// The name of HTTP/2 in ALPN (RFC 9113, 3.1).
pub(super) const ALPN_HTTP2: &[u8] = b"h2";
/// RFC 7301, 6.
pub(super) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Takes a client's handshake, within the deadline.
///
/// # Errors
///
/// Why there is no connection. The client has been told, as far as TLS has words for it.
pub async fn accept(
    socket: Socket,
    server: &ServerTls,
    deadline: &Deadline,
) -> Result<TlsStream, HandshakeFailure> {
    let connection = UnbufferedServerConnection::new(server.config())
        .map_err(|error| HandshakeFailure::tls(error, false))?;
    shake_hands(socket, State::new(Engine::Server(connection)), deadline).await
}

/// Makes itself known to a server called `name`, within the deadline.
///
/// # Errors
///
/// Why there is no connection: among others, that the server is not who it should be.
pub async fn connect(
    socket: Socket,
    client: &ClientTls,
    name: &ServerName<'static>,
    deadline: &Deadline,
) -> Result<TlsStream, HandshakeFailure> {
    let connection = UnbufferedClientConnection::new(client.config(), name.clone())
        .map_err(|error| HandshakeFailure::tls(error, false))?;
    shake_hands(socket, State::new(Engine::Client(connection)), deadline).await
}

async fn shake_hands(
    socket: Socket,
    mut state: State,
    deadline: &Deadline,
) -> Result<TlsStream, HandshakeFailure> {
    let mut first_bytes = FirstBytes::default();
    poll_fn(|cx| match poll_handshake(&mut state, &socket, &mut first_bytes, cx) {
        Poll::Pending => deadline
            .poll_passed(cx)
            .map(|()| Err(HandshakeFailure::io(io::ErrorKind::TimedOut.into()))),
        ready => ready,
    })
    .await?;
    let negotiated = negotiated(&state.engine);
    Ok(TlsStream::new(socket, state, negotiated))
}

fn poll_handshake(
    state: &mut State,
    socket: &Socket,
    first_bytes: &mut FirstBytes,
    cx: &Context<'_>,
) -> Poll<Result<(), HandshakeFailure>> {
    loop {
        match state.look(socket.core()) {
            Ok(Received::Content(chunk)) => state.keep(chunk),
            Ok(Received::Nothing) => {}
            Ok(Received::End) => return Poll::Ready(Err(closed())),
            Err(error) => {
                state.send_alert(socket);
                let failure = HandshakeFailure::tls(error, first_bytes.are_http());
                return Poll::Ready(Err(failure));
            }
        }
        // The last that we have to say, such as a server's tickets, leaves with what is sent first,
        // or when the first receive has to wait.
        if !state.engine.common().is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        if state.poll_flush(socket, cx).map_err(HandshakeFailure::io)?.is_pending() {
            return Poll::Pending;
        }
        match socket.poll_recv(cx).map_err(HandshakeFailure::io)? {
            Poll::Ready(Some(chunk)) => {
                first_bytes.see(&chunk);
                state.push(chunk);
            }
            Poll::Ready(None) => return Poll::Ready(Err(closed())),
            Poll::Pending => return Poll::Pending,
        }
    }
}

fn closed() -> HandshakeFailure {
    HandshakeFailure::io(io::ErrorKind::UnexpectedEof.into())
}

/// What a connection began with, to tell plain HTTP from other bytes that are no TLS.
#[derive(Default)]
struct FirstBytes(Option<[u8; 4]>);

impl FirstBytes {
    fn see(&mut self, bytes: &[u8]) {
        if self.0.is_none() {
            self.0 = bytes.first_chunk().copied();
        }
    }

    /// Methods are capital letters; the first byte of a TLS record is at most 24.
    fn are_http(&self) -> bool {
        self.0.is_some_and(|bytes| bytes[..3].iter().all(u8::is_ascii_uppercase))
    }
}

fn negotiated(engine: &Engine) -> Negotiated {
    let common: &CommonState = engine.common();
    let client = match engine {
        Engine::Server(_) => common.peer_certificates().and_then(<[_]>::first),
        Engine::Client(_) => None,
    };
    Negotiated {
        protocol: match engine.alpn() {
            Some(ALPN_HTTP2) => Protocol::Http2,
            _ => Protocol::Http1,
        },
        version: match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "1.3",
            _ => "1.2",
        },
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        client: client.map(|certificate| Rc::new(describe(certificate))),
    }
}

fn describe(certificate: &CertificateDer<'_>) -> ClientCertificate {
    let hash = digest::digest(&digest::SHA256, certificate);
    let fingerprint = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ClientCertificate { subject: distinguished_name::subject_of(certificate), fingerprint }
}
