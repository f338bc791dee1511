//! Content and its framing, gathered into one send.

use std::io::{self, IoSlice};

use crate::http::span::Span;
use crate::net::socket::Socket;
use crate::runtime::io::Deadline;

/// Spans of content that are sent as they lie. More of them, as in a body of tiny chunks, are
/// cheaper to copy together than to gather.
const GATHERED_MAX: usize = 8;
/// Head, chunk size, content, end.
const PIECES_MAX: usize = GATHERED_MAX + 5;

/// A chunk-size line: sixteen hexadecimal digits and CRLF at most.
const SIZE_LINE_MAX: usize = 18;

/// One write of a message: its head, or nothing, and the content at hand.
pub(super) struct Framed<'a> {
    pub(super) head: &'a [u8],
    /// What the spans point into.
    pub(super) bytes: &'a [u8],
    pub(super) content: &'a [Span],
    pub(super) chunked: bool,
    /// This content is the last.
    pub(super) ended: bool,
    /// Whole lines, sent behind the last chunk.
    pub(super) trailers: &'a [u8],
}

impl Framed<'_> {
    /// Sends it and says how many bytes that were.
    pub(super) async fn send(&self, socket: &Socket, deadline: &Deadline) -> io::Result<u64> {
        let length: usize = self.content.iter().map(|span| span.len()).sum();
        let mut size_line = [0; SIZE_LINE_MAX];
        let size_line = match self.chunked && length > 0 {
            true => write_size_line(length, &mut size_line),
            false => &[],
        };
        let joined: Vec<u8>;
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut add = |piece| {
            if !<[u8]>::is_empty(piece) {
                pieces[count] = IoSlice::new(piece);
                count += 1;
            }
        };
        add(self.head);
        add(size_line);
        if self.content.len() <= GATHERED_MAX {
            self.content.iter().for_each(|span| add(span.of(self.bytes)));
        } else {
            joined = self.join(length);
            add(&joined);
        }
        let (after_content, after_trailers): (&[u8], &[u8]) =
            match (self.chunked, self.ended, length > 0) {
                (false, ..) => (b"", b""),
                (true, false, true) => (b"\r\n", b""),
                (true, false, false) => (b"", b""),
                (true, true, true) => (b"\r\n0\r\n", b"\r\n"),
                (true, true, false) => (b"0\r\n", b"\r\n"),
            };
        add(after_content);
        if self.ended && self.chunked {
            add(self.trailers);
        }
        add(after_trailers);
        let total = pieces[..count].iter().map(|piece| piece.len() as u64).sum();
        socket.send_all(&mut pieces[..count], deadline).await?;
        Ok(total)
    }

    fn join(&self, length: usize) -> Vec<u8> {
        let mut joined = Vec::with_capacity(length);
        self.content.iter().for_each(|span| joined.extend_from_slice(span.of(self.bytes)));
        joined
    }
}

/// RFC 9112, 7.1: the size in hexadecimal, then CRLF.
fn write_size_line(size: usize, line: &mut [u8; SIZE_LINE_MAX]) -> &[u8] {
    let mut at = SIZE_LINE_MAX - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut rest = size;
    loop {
        at -= 1;
        line[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
        if rest == 0 {
            return &line[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_line_is_lower_case_hex_without_leading_zeroes() {
        for (size, line) in [(1, "1\r\n"), (255, "ff\r\n"), (32_768, "8000\r\n")] {
            assert_eq!(write_size_line(size, &mut [0; SIZE_LINE_MAX]), line.as_bytes());
        }
        let mut buffer = [0; SIZE_LINE_MAX];
        assert_eq!(write_size_line(usize::MAX, &mut buffer), b"ffffffffffffffff\r\n");
    }
}
