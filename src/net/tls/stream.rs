//! A TLS connection with the interface of its socket.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::state::State;
use crate::net::socket::{Leave, Socket};
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;

/// What the handshake settled.
#[derive(Debug)]
pub struct Negotiated {
    pub protocol: Protocol,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// By a ticket, without a certificate being shown again.
    pub resumed: bool,
    /// There if and only if the listener demands one.
    pub client: Option<Rc<ClientCertificate>>,
}

/// What is spoken inside, as ALPN chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Who the client is, by a certificate that has been verified.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name (RFC 4514), in visible ASCII.
    pub subject: String,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// A connection whose handshake is done.
pub struct TlsStream {
    socket: Socket,
    state: RefCell<State>,
    negotiated: Negotiated,
}

impl TlsStream {
    pub(super) fn new(socket: Socket, state: State, negotiated: Negotiated) -> Self {
        Self { socket, state: RefCell::new(state), negotiated }
    }

    pub fn core(&self) -> &Rc<Core> {
        self.socket.core()
    }

    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// As [`Socket::poll_recv`]. An end that the peer has not announced is an error.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.state.borrow_mut().poll_content(&self.socket, cx, Socket::poll_recv)
    }

    /// As [`Socket::poll_recv_later`].
    pub fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.state.borrow_mut().poll_content(&self.socket, cx, Socket::poll_recv_later)
    }

    /// As [`Socket::is_quiet`]. Tickets and key updates that came are read and forgotten: they
    /// are no answer.
    pub fn is_quiet(&self) -> bool {
        self.state.borrow_mut().is_quiet(&self.socket)
    }

    /// As [`Socket::poll_ended`].
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        if self.state.borrow().has_ended() {
            return Poll::Ready(());
        }
        self.socket.poll_ended(cx)
    }

    /// Encrypts and sends at least one byte of the pieces, and says how many. What the socket
    /// does not take of the records, at most four, waits for [`Self::poll_flush`] or the next send.
    pub fn poll_send(
        &self,
        cx: &Context<'_>,
        pieces: &[IoSlice<'_>],
        leave: Leave,
    ) -> Poll<io::Result<usize>> {
        self.state.borrow_mut().poll_send(&self.socket, cx, pieces, leave)
    }

    /// Ready when the socket has taken every record.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_flush(&self.socket, cx)
    }

    /// Says that nothing more will be sent (close_notify); what was sent still arrives.
    pub fn finish_sending(&self) {
        self.state.borrow_mut().say_goodbye(&self.socket);
        self.socket.finish_sending();
    }

    /// As [`Socket::reset_on_close`]; and no close_notify is sent, which would say that all is
    /// well.
    pub fn reset_on_close(&self) {
        self.state.borrow_mut().forbid_goodbye();
        self.socket.reset_on_close();
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.state.borrow_mut().say_goodbye(&self.socket);
    }
}
