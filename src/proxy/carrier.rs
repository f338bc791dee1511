//! What carries the messages of an exchange on one of its sides.
//!
//! An exchange works on the text of heads and on pieces of content. A carrier turns these into
//! what its connection speaks, and back.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::framed::Framed;
use crate::http::h1::BodyDecoder;
use crate::http::message::BodyLength;
use crate::net::stream::Stream;
use crate::runtime::buffers::Chunk;
use crate::runtime::io::Deadline;

/// A connection, or one stream of it, on which messages are received and sent.
pub(super) enum Carrier {
    /// Heads and framing are bytes like any other.
    Http1(Stream),
}

/// Pieces that make up one [`Carrier::send_message`].
const PIECES_MAX: usize = 4;

impl Carrier {
    /// The next of what the peer sends: a head's text first, then the body in its framing.
    /// `None` at the end. Nothing is lost when the caller stops waiting.
    pub(super) fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.poll_recv(cx),
        }
    }

    /// The same for an answer that cannot be there yet.
    pub(super) fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.poll_recv_later(cx),
        }
    }

    /// Ready once the peer has left, whatever it has sent before that nobody has received yet.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(stream) => stream.poll_ended(cx),
        }
    }

    /// A reader of the body behind a head that states this length.
    pub(super) fn decoder(&self, stated: BodyLength) -> BodyDecoder {
        match self {
            Self::Http1(_) => BodyDecoder::new(stated),
        }
    }

    /// Sends a part of a message and says how many bytes that were.
    pub(super) async fn send(&self, part: Framed<'_>, deadline: &Deadline) -> io::Result<u64> {
        match self {
            Self::Http1(stream) => part.send(stream, deadline).await,
        }
    }

    /// Sends an interim response: a head that ends nothing.
    pub(super) async fn send_interim(&self, head: &[u8], deadline: &Deadline) -> io::Result<u64> {
        match self {
            Self::Http1(stream) => stream.send_bytes(head, deadline).await?,
        }
        Ok(head.len() as u64)
    }

    /// Sends a 101 that the client has asked for. What goes either way behind it are bytes of
    /// another protocol.
    pub(super) async fn send_switch(&self, head: &[u8], deadline: &Deadline) -> io::Result<u64> {
        match self {
            Self::Http1(stream) => stream.send_bytes(head, deadline).await?,
        }
        Ok(head.len() as u64)
    }

    /// Sends bytes of another protocol.
    pub(super) async fn send_tunnelled(&self, bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        match self {
            Self::Http1(stream) => stream.send_bytes(bytes, deadline).await,
        }
    }

    /// Says that nothing more will be sent, behind a switch; what was sent still arrives.
    pub(super) fn finish_sending(&self) {
        match self {
            Self::Http1(stream) => stream.finish_sending(),
        }
    }

    /// Sends a message whose body is there as a whole: its head, then up to three pieces.
    pub(super) async fn send_message(
        &self,
        pieces: &[&[u8]],
        deadline: &Deadline,
    ) -> io::Result<u64> {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            slices[count] = IoSlice::new(piece);
            count += 1;
        }
        match self {
            Self::Http1(stream) => stream.send_all(&mut slices[..count], deadline).await?,
        }
        Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
    }

    /// Lets the client notice that the message being sent will not be finished. With chunks or a
    /// length it does anyway; `by_reset` is for where the end of the connection is the end of the
    /// body, and for what the client has left unread.
    pub(super) fn cut(&self, by_reset: bool) {
        match self {
            Self::Http1(stream) if by_reset => stream.reset_on_close(),
            Self::Http1(_) => {}
        }
    }
}
