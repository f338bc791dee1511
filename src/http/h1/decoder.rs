//! Bodies, taken off a connection: where the content is, and where the body ends.

use super::chunked::ChunkReader;
use crate::http::message::BodyLength;
use crate::http::refusal::Refusal;
use crate::http::span::Span;

/// How many spans of content one call of [`BodyDecoder::decode`] adds at most, so that a body of
/// one-byte chunks does not make the list grow to a multiple of the input.
pub const SPANS_MAX: usize = 64;

/// A reader of one body. It holds no content.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// How many bytes are still to come.
    Fixed(u64),
    Chunked(ChunkReader),
    UntilClose,
    /// Ended by its carrier, with these trailers.
    Ended(Box<[u8]>),
}

/// What one call of [`BodyDecoder::decode`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Bytes that belong to the body, content or not: to be counted from where the call began.
    pub consumed: usize,
    /// The body has ended, trailers included. What follows is another message.
    pub ended: bool,
}

impl Default for BodyDecoder {
    /// Of a body that is not there.
    fn default() -> Self {
        Self { state: State::Fixed(0) }
    }
}

impl BodyDecoder {
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::Empty => State::Fixed(0),
            BodyLength::Fixed(bytes) => State::Fixed(bytes),
            BodyLength::Chunked => State::Chunked(ChunkReader::default()),
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Reads from `input[from..]`, and adds what is content to `content`, none of it empty.
    ///
    /// If the body has not ended and not all of the input was consumed, there was more content
    /// than [`SPANS_MAX`] spans: call again with the rest.
    pub fn decode(
        &mut self,
        input: &[u8],
        from: usize,
        content: &mut Vec<Span>,
    ) -> Result<Decoded, Refusal> {
        let input = &input[..input.len().min(Span::END_MAX)];
        let end = match &mut self.state {
            State::Fixed(left) => {
                let length = (*left).min(input.len().saturating_sub(from) as u64);
                *left -= length;
                push(content, from, from + length as usize)
            }
            State::UntilClose => push(content, from, input.len().max(from)),
            State::Ended(_) => from,
            State::Chunked(reader) => reader.decode(input, from, content)?,
        };
        Ok(Decoded { consumed: end - from, ended: self.is_ended() })
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match &self.state {
            State::Fixed(left) => Some(*left),
            State::Ended(_) => Some(0),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    pub fn is_ended(&self) -> bool {
        match &self.state {
            State::Fixed(left) => *left == 0,
            State::Chunked(reader) => reader.is_ended(),
            State::UntilClose => false,
            State::Ended(_) => true,
        }
    }

    /// The sender has closed the connection. That ends a body that goes on until then; any other
    /// was cut short unless it had ended.
    pub fn at_eof(&mut self) -> Result<(), Refusal> {
        if let State::UntilClose = self.state {
            self.state = State::Fixed(0);
        }
        if self.is_ended() { Ok(()) } else { Err(Refusal::BodyIncomplete) }
    }

    /// The carrier of the body says that it has ended, with these trailers: lines that may be
    /// forwarded.
    pub fn end(&mut self, trailers: Vec<u8>) {
        self.state = State::Ended(trailers.into_boxed_slice());
    }

    /// Trailer lines that may be forwarded, each with its CRLF; none before the body has ended.
    /// Left out are all fields that the engine knows by name: framing, routing, credentials and
    /// what describes the content have no effect, or a dangerous one, behind a body.
    pub fn trailers(&self) -> &[u8] {
        match &self.state {
            State::Chunked(reader) if reader.is_ended() => reader.trailers(),
            State::Ended(trailers) => trailers,
            _ => &[],
        }
    }
}

/// Returns `end`.
fn push(content: &mut Vec<Span>, start: usize, end: usize) -> usize {
    if start < end {
        content.push(Span::new(start, end));
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_small_since_every_connection_has_one() {
        assert!(size_of::<BodyDecoder>() <= 24);
    }

    #[test]
    fn tiny_chunks_are_given_out_in_portions() {
        let wire = ["1\r\nx\r\n".repeat(SPANS_MAX + 1), "0\r\n\r\n".to_owned()].concat();
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let mut content = vec![];
        let first = decoder.decode(wire.as_bytes(), 0, &mut content).unwrap();
        assert_eq!((content.len(), first.ended), (SPANS_MAX, false));
        let second = decoder.decode(wire.as_bytes(), first.consumed, &mut content).unwrap();
        assert_eq!((content.len(), second.ended), (SPANS_MAX + 1, true));
        assert_eq!(first.consumed + second.consumed, wire.len());
    }

    #[test]
    fn content_is_given_out_before_its_chunk_is_complete() {
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let mut content = vec![];
        let decoded = decoder.decode(b"10\r\nabc", 0, &mut content);
        assert_eq!(decoded, Ok(Decoded { consumed: 7, ended: false }));
        assert_eq!(content, [Span::new(4, 7)]);
    }

    #[test]
    fn a_closed_connection_ends_only_a_body_that_waits_for_it() {
        let at_eof = |length, input: &[u8]| {
            let mut decoder = BodyDecoder::new(length);
            decoder.decode(input, 0, &mut vec![]).unwrap();
            decoder.at_eof().map(|()| decoder.is_ended())
        };
        assert_eq!(at_eof(BodyLength::UntilClose, b"abc"), Ok(true));
        assert_eq!(at_eof(BodyLength::Empty, b""), Ok(true));
        assert_eq!(at_eof(BodyLength::Fixed(3), b"abc"), Ok(true));
        assert_eq!(at_eof(BodyLength::Fixed(4), b"abc"), Err(Refusal::BodyIncomplete));
        assert_eq!(at_eof(BodyLength::Chunked, b"3\r\nabc\r\n"), Err(Refusal::BodyIncomplete));
        assert_eq!(at_eof(BodyLength::Chunked, b"0\r\n\r\n"), Ok(true));
    }

    #[test]
    fn a_carrier_may_end_a_body_with_trailers() {
        let mut decoder = BodyDecoder::new(BodyLength::UntilClose);
        let mut content = vec![];
        decoder.decode(b"abc", 0, &mut content).unwrap();
        assert!(!decoder.is_ended());
        decoder.end(b"a: b\r\n".to_vec());
        assert_eq!(decoder.decode(b"next", 4, &mut content).unwrap().consumed, 0);
        assert_eq!((decoder.is_ended(), decoder.trailers()), (true, &b"a: b\r\n"[..]));
    }

    #[test]
    fn trailers_are_kept_unless_they_could_do_harm() {
        let wire = b"0\r\nX-Sum: 1\r\nContent-Length: 9\r\nauthorization: b\r\nX_Real_IP: c\r\n\
            Set-Cookie: d\r\ngrpc-status:  0 \r\n\r\n";
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let (last, rest) = wire.split_last().unwrap();
        decoder.decode(rest, 0, &mut vec![]).unwrap();
        assert_eq!(decoder.trailers(), b"");
        decoder.decode(&[*last], 0, &mut vec![]).unwrap();
        assert_eq!(decoder.trailers(), b"X-Sum: 1\r\ngrpc-status:  0 \r\n");
    }
}
