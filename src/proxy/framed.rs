//! Content and its framing, sent as one piece or gathered into one send.

use std::io::{self, IoSlice};

use crate::http::h1::BodyEncoder;
use crate::http::span::Span;
use crate::net::socket::Leave;
use crate::net::stream::Stream;
use crate::runtime::io::Deadline;

/// Up to this much content is copied behind its head: cheaper than having the kernel read a list
/// of pieces, and what most answers and all event streams have.
const COPIED_MAX: usize = 4 * 1024;

/// Spans of content that are sent as they lie. More of them, as in a body of tiny chunks, are
/// cheaper to copy.
const GATHERED_MAX: usize = 8;
/// Head and chunk size, content, end of the chunk, end of the body.
const PIECES_MAX: usize = GATHERED_MAX + 3;

/// One write of a message: its head, or nothing, and the content at hand.
pub(super) struct Framed<'a> {
    /// Holds the head; used up by the send.
    pub(super) out: &'a mut Vec<u8>,
    /// What the spans point into.
    pub(super) bytes: &'a [u8],
    pub(super) content: &'a [Span],
    pub(super) encoder: BodyEncoder,
    /// This content is the last.
    pub(super) ended: bool,
    /// Whole lines, sent behind the last chunk.
    pub(super) trailers: &'a [u8],
    pub(super) leave: Leave,
}

impl Framed<'_> {
    /// Sends it with its framing as bytes, and says how many those were.
    pub(super) async fn send(self, stream: &Stream, deadline: &Deadline) -> io::Result<u64> {
        let length: usize = self.content.iter().map(|span| span.len()).sum();
        self.out.extend_from_slice(self.encoder.before(length).as_bytes());
        if length > COPIED_MAX && self.content.len() <= GATHERED_MAX {
            return self.gather(length, stream, deadline).await;
        }
        for span in self.content {
            self.out.extend_from_slice(span.of(self.bytes));
        }
        self.out.extend_from_slice(self.encoder.after(length));
        if self.ended {
            self.encoder.finish(self.trailers, self.out);
        }
        let total = self.out.len() as u64;
        stream.send_all(&mut [IoSlice::new(self.out)], self.leave, deadline).await?;
        self.out.clear();
        Ok(total)
    }

    async fn gather(self, length: usize, stream: &Stream, deadline: &Deadline) -> io::Result<u64> {
        let mut end = Vec::new();
        if self.ended {
            self.encoder.finish(self.trailers, &mut end);
        }
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut add = |piece| {
            if !<[u8]>::is_empty(piece) {
                pieces[count] = IoSlice::new(piece);
                count += 1;
            }
        };
        add(self.out);
        self.content.iter().for_each(|span| add(span.of(self.bytes)));
        add(self.encoder.after(length));
        add(&end);
        let pieces = &mut pieces[..count];
        let total = pieces.iter().map(|piece| piece.len() as u64).sum();
        stream.send_all(pieces, self.leave, deadline).await?;
        self.out.clear();
        Ok(total)
    }
}
