//! What carries the messages of an exchange on one of its sides.
//!
//! An exchange works on the text of heads and on pieces of content. A carrier turns these into
//! what its connection speaks, and back.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use super::framed::Framed;
use super::http2::{ClientStream, Part, ServerStream};
use crate::http::h1::BodyDecoder;
use crate::http::message::BodyLength;
use crate::http::refusal::Refusal;
use crate::net::socket::Leave;
use crate::net::stream::Stream;
use crate::runtime::buffers::Chunk;
use crate::runtime::io::Deadline;

/// A connection, or one stream of it, on which messages are received and sent.
pub(super) enum Carrier {
    /// Heads and framing are bytes like any other.
    Http1(Stream),
    /// A request of an HTTP/2 client.
    Http2(Box<ServerStream>),
    /// A request to an HTTP/2 server.
    Http2Upstream(Box<ClientStream>),
}

/// Pieces that make up one [`Carrier::send_message`].
const PIECES_MAX: usize = 4;

impl Carrier {
    /// The next of what the peer sends: a head's text first, then the body in its framing.
    /// `None` at the end. Nothing is lost when the caller stops waiting.
    pub(super) fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.poll_recv(cx),
            Self::Http2(stream) => stream.poll_recv(cx),
            Self::Http2Upstream(stream) => stream.poll_recv(cx),
        }
    }

    /// The same for an answer that cannot be there yet.
    pub(super) fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Http1(stream) => stream.poll_recv_later(cx),
            Self::Http2(stream) => stream.poll_recv(cx),
            Self::Http2Upstream(stream) => stream.poll_recv(cx),
        }
    }

    /// Ready once the peer has left, whatever it has sent before that nobody has received yet.
    pub(super) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(stream) => stream.poll_ended(cx),
            Self::Http2(stream) => stream.poll_gone(cx),
            // Its end comes with its frames.
            Self::Http2Upstream(_) => Poll::Pending,
        }
    }

    /// A reader of the body behind a head that states this length. In HTTP/2 the end of a body is
    /// that of its stream, which has been held to the length that the head states.
    pub(super) fn decoder(&self, stated: BodyLength) -> BodyDecoder {
        let is_ended = match self {
            Self::Http1(_) => return BodyDecoder::new(stated),
            Self::Http2(stream) => stream.is_ended(),
            Self::Http2Upstream(stream) => stream.is_ended(),
        };
        // Also behind a head that has none: an answer to HEAD, or a tunnel.
        let is_ended = is_ended || stated == BodyLength::Empty;
        BodyDecoder::new(if is_ended { BodyLength::Empty } else { BodyLength::UntilClose })
    }

    /// Tells a reader that no more comes. It is an error if the body is not whole.
    pub(super) fn end(&self, body: &mut BodyDecoder) -> Result<(), Refusal> {
        match self {
            Self::Http1(_) => body.at_eof(),
            Self::Http2(stream) => {
                body.end(stream.take_trailers());
                Ok(())
            }
            Self::Http2Upstream(stream) => {
                body.end(stream.take_trailers());
                Ok(())
            }
        }
    }

    /// Whether other messages go their own way beside this one.
    pub(super) fn is_multiplexed(&self) -> bool {
        match self {
            Self::Http1(_) => false,
            Self::Http2(_) | Self::Http2Upstream(_) => true,
        }
    }

    /// Whether the upstream has said that it did nothing with the request: it can be sent again,
    /// whatever it asks for.
    pub(super) fn is_unprocessed(&self) -> bool {
        match self {
            Self::Http1(_) | Self::Http2(_) => false,
            Self::Http2Upstream(stream) => stream.is_unprocessed(),
        }
    }

    /// Whether the last byte of an HTTP/2 response has been sent.
    pub(super) fn is_answered(&self) -> bool {
        match self {
            Self::Http1(_) | Self::Http2Upstream(_) => false,
            Self::Http2(stream) => stream.is_answered(),
        }
    }

    /// Sends a part of a message and says how many bytes that were.
    pub(super) async fn send(&self, part: Framed<'_>, deadline: &Deadline) -> io::Result<u64> {
        if let Self::Http1(stream) = self {
            return part.send(stream, deadline).await;
        }
        let content = Part::of_framed(&part);
        let length = part.out.len() + content.len();
        self.begin(part.out, content)?;
        part.out.clear();
        deadline.limit(|cx| self.poll_sent(cx)).await?;
        Ok(length as u64)
    }

    /// Hands a part of a message to a stream of HTTP/2.
    fn begin(&self, head: &[u8], part: Part) -> io::Result<()> {
        match self {
            Self::Http1(_) => Ok(()),
            Self::Http2(stream) => stream.begin(head, part),
            Self::Http2Upstream(stream) => stream.begin(head, part),
        }
    }

    /// Ready when it has been taken. Kept out of the futures that wait: every connection's task
    /// has room for those.
    fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Http1(_) => Poll::Ready(Ok(())),
            Self::Http2(stream) => stream.poll_sent(cx),
            Self::Http2Upstream(stream) => stream.poll_sent(cx),
        }
    }

    /// Sends an interim response: a head that ends nothing.
    pub(super) async fn send_interim(&self, head: &[u8], deadline: &Deadline) -> io::Result<u64> {
        match self {
            Self::Http1(stream) => stream.send_bytes(head, deadline).await?,
            Self::Http2(stream) => stream.send_interim(head)?,
            // Requests have none.
            Self::Http2Upstream(_) => {}
        }
        Ok(head.len() as u64)
    }

    /// Sends a 101 that the client has asked for. What goes either way behind it are bytes of
    /// another protocol.
    pub(super) async fn send_switch(&self, head: &[u8], deadline: &Deadline) -> io::Result<u64> {
        match self {
            Self::Http1(stream) => stream.send_bytes(head, deadline).await?,
            Self::Http2(stream) => stream.send_switch(head)?,
            // Only clients are told of a switch.
            Self::Http2Upstream(_) => {}
        }
        Ok(head.len() as u64)
    }

    /// Sends bytes of another protocol.
    pub(super) async fn send_tunnelled(&self, bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        match self {
            Self::Http1(stream) => stream.send_bytes(bytes, deadline).await,
            Self::Http2(_) | Self::Http2Upstream(_) => {
                self.begin(&[], Part::of_tunnel(bytes))?;
                deadline.limit(|cx| self.poll_sent(cx)).await
            }
        }
    }

    /// Sends a message whose body is there as a whole: its head, then up to three pieces.
    pub(super) async fn send_message(
        &self,
        pieces: &[&[u8]],
        leave: Leave,
        deadline: &Deadline,
    ) -> io::Result<u64> {
        match (self, pieces) {
            (Self::Http1(stream), _) => gather(stream, pieces, leave, deadline).await?,
            (_, [head, body @ ..]) => {
                self.begin(head, Part::of_message(body))?;
                deadline.limit(|cx| self.poll_sent(cx)).await?;
            }
            (_, []) => {}
        }
        Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
    }

    /// Says that nothing more will be sent; what was sent still arrives.
    pub(super) fn finish_sending(&self) {
        match self {
            Self::Http1(stream) => stream.finish_sending(),
            Self::Http2(stream) => stream.finish(),
            // The end of a request goes with its last part.
            Self::Http2Upstream(_) => {}
        }
    }

    /// Lets the client notice that the message being sent will not be finished. With chunks or a
    /// length it does anyway; `by_reset` is for where the end of the connection is the end of the
    /// body, and for what the client has left unread.
    pub(super) fn cut(&self, by_reset: bool) {
        match self {
            Self::Http1(stream) if by_reset => stream.reset_on_close(),
            Self::Http1(_) => {}
            Self::Http2(stream) => stream.cut(),
            // It is reset when it is dropped.
            Self::Http2Upstream(_) => {}
        }
    }
}

async fn gather(
    stream: &Stream,
    pieces: &[&[u8]],
    leave: Leave,
    deadline: &Deadline,
) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let mut count = 0;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        slices[count] = IoSlice::new(piece);
        count += 1;
    }
    stream.send_all(&mut slices[..count], leave, deadline).await
}
