//! Content, framed for the other side.

use crate::http::message::BodyLength;

/// How content is framed on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyEncoder {
    /// As it is: the length is stated in the head, or the end is that of the connection.
    Identity,
    Chunked,
}

impl BodyEncoder {
    pub fn new(length: BodyLength) -> Self {
        match length {
            BodyLength::Chunked => Self::Chunked,
            BodyLength::Empty | BodyLength::Fixed(_) | BodyLength::UntilClose => Self::Identity,
        }
    }

    /// What stands before `bytes` bytes of content, however many pieces they are in. Nothing
    /// before none: an empty chunk would end the body.
    pub fn before(self, bytes: usize) -> ChunkHead {
        match self {
            Self::Chunked if bytes > 0 => ChunkHead::new(bytes),
            Self::Chunked | Self::Identity => ChunkHead::EMPTY,
        }
    }

    /// What stands after them.
    pub fn after(self, bytes: usize) -> &'static [u8] {
        match self {
            Self::Chunked if bytes > 0 => b"\r\n",
            Self::Chunked | Self::Identity => b"",
        }
    }

    /// Writes the end of the body. `trailers` are whole lines with their CRLF, as of
    /// [`BodyDecoder::trailers`](super::BodyDecoder::trailers); without chunks there is no place
    /// for them.
    pub fn finish(self, trailers: &[u8], out: &mut Vec<u8>) {
        if self == Self::Chunked {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Bytes of the longest head: sixteen digits and CRLF.
const HEAD_BYTES_MAX: usize = 18;

/// The size line of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    /// Filled from the end.
    text: [u8; HEAD_BYTES_MAX],
    start: u8,
}

impl ChunkHead {
    const EMPTY: Self = Self { text: [0; HEAD_BYTES_MAX], start: HEAD_BYTES_MAX as u8 };

    fn new(bytes: usize) -> Self {
        let mut text = *b"                \r\n";
        let mut start = text.len() - 2;
        let mut rest = bytes;
        while rest > 0 {
            start -= 1;
            text[start] = b"0123456789abcdef"[rest % 16];
            rest /= 16;
        }
        Self { text, start: start as u8 }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text[usize::from(self.start)..]
    }
}
