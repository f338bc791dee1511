//! A byte stream to a peer, whatever is between us and its bytes.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use super::socket::{Leave, Socket};
use super::tls::{Protocol, TlsStream};
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;
use crate::runtime::io::Deadline;

/// A connection that carries bytes both ways.
pub enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream>),
}

impl Stream {
    pub fn core(&self) -> &Rc<Core> {
        match self {
            Self::Plain(socket) => socket.core(),
            Self::Tls(tls) => tls.core(),
        }
    }

    /// Which protocol was agreed upon; `None` where there is no way to agree.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(tls.negotiated().protocol),
        }
    }

    /// The next received bytes; `None` at the end of the stream. Nothing is lost when the caller
    /// stops waiting: the next call finds it.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Plain(socket) => socket.poll_recv(cx),
            Self::Tls(tls) => tls.poll_recv(cx),
        }
    }

    /// The same for an answer that cannot be there yet.
    pub fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Plain(socket) => socket.poll_recv_later(cx),
            Self::Tls(tls) => tls.poll_recv_later(cx),
        }
    }

    /// Whether neither data nor an end nor an error has come. For a connection that lies idle
    /// this is the proof that it can be used.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Tls(tls) => tls.is_quiet(),
        }
    }

    /// Ready once the peer has ended or broken the connection, whatever lies unread before that.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(socket) => socket.poll_ended(cx),
            Self::Tls(tls) => tls.poll_ended(cx),
        }
    }

    /// Sends as much as the connection takes, waiting until that is more than nothing.
    pub fn poll_send(
        &self,
        cx: &Context<'_>,
        pieces: &[IoSlice<'_>],
        leave: Leave,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_send(cx, pieces, leave),
            Self::Tls(tls) => tls.poll_send(cx, pieces, leave),
        }
    }

    /// Ready when the kernel has taken what [`Self::poll_send`] took.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Sends one piece whole, within the deadline.
    pub async fn send_bytes(&self, bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        self.send_all(&mut [IoSlice::new(bytes)], Leave::AtOnce, deadline).await
    }

    /// Sends all pieces, within the deadline. One loop for all kinds of streams: every connection's
    /// task has room for its state.
    pub async fn send_all(
        &self,
        pieces: &mut [IoSlice<'_>],
        leave: Leave,
        deadline: &Deadline,
    ) -> io::Result<()> {
        let mut pieces = pieces;
        // Empty pieces in front go; of nothing at all nothing is sent.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let sent = deadline.limit(|cx| self.poll_send(cx, pieces, leave)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut pieces, sent);
        }
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(_) => deadline.limit(|cx| self.poll_flush(cx)).await,
        }
    }

    /// Says that nothing more will be sent; what was sent still arrives.
    pub fn finish_sending(&self) {
        match self {
            Self::Plain(socket) => socket.finish_sending(),
            Self::Tls(tls) => tls.finish_sending(),
        }
    }

    /// Drops what was not delivered and answers with a reset when this stream closes: the only
    /// way to tell an HTTP/1 peer that a body which ends with the connection is not whole.
    pub fn reset_on_close(&self) {
        match self {
            Self::Plain(socket) => socket.reset_on_close(),
            Self::Tls(tls) => tls.reset_on_close(),
        }
    }
}
