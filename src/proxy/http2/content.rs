//! The bodies of a stream, both ways, with flow control as the back-pressure.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

use crate::http::h2::{read_trailers, write_trailers};
use crate::proxy::framed::Framed;
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;

/// A body that is received.
pub(super) struct Incoming {
    stream: RecvStream,
    /// Of the last piece, which the peer may not replace before it has been passed on.
    unreleased: usize,
    trailers: Vec<u8>,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream, unreleased: 0, trailers: Vec::new(), ended: false }
    }

    /// Whether the peer has sent all of it.
    pub(super) fn is_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The next piece. Whoever asks has passed the last one on.
    pub(super) fn poll_recv(
        &mut self,
        core: &Core,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        self.release();
        while !self.ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(piece)) => {
                    self.unreleased = piece.len();
                    if !piece.is_empty() {
                        return Poll::Ready(Ok(Some(core.foreign_chunk(piece))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => ready!(self.poll_trailers(cx))?,
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(broken)?;
        self.ended = true;
        if let Some(fields) = trailers {
            write_trailers(&fields, &mut self.trailers)
                .map_err(|refusal| io::Error::other(refusal.explanation()))?;
        }
        Poll::Ready(Ok(()))
    }

    fn release(&mut self) {
        let length = std::mem::take(&mut self.unreleased);
        if length > 0 {
            // It is exactly what the last piece took.
            let _ = self.stream.flow_control().release_capacity(length);
        }
    }

    /// Lines that came behind the body.
    pub(super) fn take_trailers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.trailers)
    }
}

/// A part of a body that is sent.
#[derive(Default)]
pub(in crate::proxy) struct Part {
    content: Bytes,
    trailers: Bytes,
    ends: bool,
}

impl Part {
    /// Content, and what comes behind it.
    pub(in crate::proxy) fn of_framed(framed: &Framed<'_>) -> Self {
        let length = framed.content.iter().map(|span| span.len()).sum();
        let mut content = BytesMut::with_capacity(length);
        framed.content.iter().for_each(|span| content.extend_from_slice(span.of(framed.bytes)));
        let trailers = if framed.ended { framed.trailers } else { &[] };
        Self {
            content: content.freeze(),
            trailers: Bytes::copy_from_slice(trailers),
            ends: framed.ended,
        }
    }

    /// A whole body.
    pub(in crate::proxy) fn of_message(pieces: &[&[u8]]) -> Self {
        Self { content: pieces.concat().into(), trailers: Bytes::new(), ends: true }
    }

    /// Bytes of another protocol.
    pub(in crate::proxy) fn of_tunnel(bytes: &[u8]) -> Self {
        Self { content: Bytes::copy_from_slice(bytes), trailers: Bytes::new(), ends: false }
    }

    pub(super) fn ends(&self) -> bool {
        self.ends
    }

    /// Whether there is nothing but an end.
    pub(super) fn is_end(&self) -> bool {
        self.ends && self.content.is_empty() && self.trailers.is_empty()
    }

    pub(in crate::proxy) fn len(&self) -> usize {
        self.content.len() + self.trailers.len()
    }

    /// Hands the rest of this part to the stream, as much as the peer and the connection take.
    pub(super) fn poll_send(
        &mut self,
        stream: &mut SendStream<Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let ends_here = self.ends && self.trailers.is_empty();
        while !self.content.is_empty() {
            stream.reserve_capacity(self.content.len());
            let room = stream.capacity();
            if room == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                }
            }
            let piece = self.content.split_to(room.min(self.content.len()));
            let is_last = ends_here && self.content.is_empty();
            stream.send_data(piece, is_last).map_err(broken)?;
            if is_last {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(self.end(stream))
    }

    fn end(&self, stream: &mut SendStream<Bytes>) -> io::Result<()> {
        if !self.trailers.is_empty() {
            let fields = read_trailers(&self.trailers);
            let fields = fields.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            return stream.send_trailers(fields).map_err(broken);
        }
        if self.ends {
            stream.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Ok(())
    }
}

/// A stream, or the connection it is on, that is no more.
pub(super) fn broken(error: h2::Error) -> io::Error {
    match error.reason() {
        _ if error.is_io() => error.into_io().unwrap_or_else(reset),
        // The peer has not begun with it (RFC 9113, 8.7).
        Some(Reason::REFUSED_STREAM) => io::ErrorKind::ConnectionRefused.into(),
        _ => reset(),
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
