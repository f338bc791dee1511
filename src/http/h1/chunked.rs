//! Chunked transfer coding, taken off (RFC 9112, 7.1).
//!
//! ```text
//!            ┌───────────────────────────────────────────┐
//!            ▼                                           │
//!  Size ─► Digits ─► (extensions) ─► SizeLf ─► Data ─► DataCr ─► DataLf
//!                                      │ size 0
//!                                      ▼
//!                        ┌► TrailerStart ─► LastLf ─► End
//!                        └─ TrailerLine ◄┘
//! ```

use super::decoder::SPANS_MAX;
use super::trailers::Trailers;
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::syntax::is_token_byte;

/// Bytes of a size line, extensions included. Extensions are dropped: no longer ones are needed.
const LINE_BYTES_MAX: u16 = 256;

/// As many as 64 bits need.
const DIGITS_MAX: u16 = 16;

/// Sums of sizes must not overflow, in this program or one that uses signed numbers.
const SIZE_MAX: u64 = i64::MAX as u64;

/// A reader of one chunked body. It holds no content, and allocates only if trailers come.
#[derive(Default, Debug)]
pub(super) struct ChunkReader {
    place: Place,
    /// Bytes of the size line so far.
    line_bytes: u16,
    /// The size as far as it is known, then how much of the data is still to come.
    left: u64,
    trailers: Option<Box<Trailers>>,
}

/// What the next byte is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Place {
    #[default]
    Size,
    Digits,
    /// Of an extension, after its semicolon.
    Name,
    NameMore,
    /// After the equals sign.
    Value,
    ValueMore,
    Quoted,
    Escaped,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or of the empty line.
    TrailerStart,
    TrailerLine,
    LastLf,
    End,
}

impl ChunkReader {
    pub(super) fn is_ended(&self) -> bool {
        self.place == Place::End
    }

    pub(super) fn trailers(&self) -> &[u8] {
        self.trailers.as_deref().map(Trailers::kept).unwrap_or_default()
    }

    /// Reads from `input[from..]` and returns where it stopped: at the end of the input, after
    /// the body, or before content for which there was no room.
    pub(super) fn decode(
        &mut self,
        input: &[u8],
        from: usize,
        content: &mut Vec<Span>,
    ) -> Result<usize, Refusal> {
        let full = content.len() + SPANS_MAX;
        let mut at = from;
        while at < input.len() && !self.is_ended() {
            if self.place != Place::Data {
                self.place = self.step(input[at])?;
                at += 1;
            } else if content.len() < full {
                let end = self.take_data(input, at);
                content.push(Span::new(at, end));
                at = end;
            } else {
                break;
            }
        }
        Ok(at)
    }

    /// Returns where the data that is there ends.
    fn take_data(&mut self, input: &[u8], at: usize) -> usize {
        let length = self.left.min((input.len() - at) as u64);
        self.left -= length;
        if self.left == 0 {
            self.place = Place::DataCr;
        }
        at + length as usize
    }

    fn step(&mut self, byte: u8) -> Result<Place, Refusal> {
        match self.place {
            Place::Size | Place::Digits => self.step_size(byte),
            Place::SizeLf | Place::DataCr | Place::DataLf | Place::LastLf => {
                self.step_line_end(byte)
            }
            Place::TrailerStart if byte == b'\r' => Ok(Place::LastLf),
            Place::TrailerStart | Place::TrailerLine => self.step_trailer(byte),
            Place::Data | Place::End => Ok(self.place),
            _ => {
                self.count_line_byte()?;
                step_extension(self.place, byte)
            }
        }
    }

    fn step_size(&mut self, byte: u8) -> Result<Place, Refusal> {
        let Some(digit) = (byte as char).to_digit(16) else {
            return match self.place {
                Place::Digits => after_word(byte, Refusal::ChunkSizeInvalid),
                _ => Err(Refusal::ChunkSizeInvalid),
            };
        };
        if self.place == Place::Size {
            self.line_bytes = 0;
            self.left = 0;
        }
        self.count_line_byte()?;
        self.left = self.left << 4 | u64::from(digit);
        match self.line_bytes > DIGITS_MAX || self.left > SIZE_MAX {
            true => Err(Refusal::ChunkSizeTooLarge),
            false => Ok(Place::Digits),
        }
    }

    fn count_line_byte(&mut self) -> Result<(), Refusal> {
        self.line_bytes += 1;
        match self.line_bytes > LINE_BYTES_MAX {
            true => Err(Refusal::ChunkLineTooLong),
            false => Ok(()),
        }
    }

    fn step_line_end(&self, byte: u8) -> Result<Place, Refusal> {
        match (self.place, byte) {
            (Place::SizeLf, b'\n') if self.left == 0 => Ok(Place::TrailerStart),
            (Place::SizeLf, b'\n') => Ok(Place::Data),
            (Place::DataCr, b'\r') => Ok(Place::DataLf),
            (Place::DataLf, b'\n') => Ok(Place::Size),
            (Place::LastLf, b'\n') => Ok(Place::End),
            (Place::DataCr | Place::DataLf, _) => Err(Refusal::ChunkUnterminated),
            _ => Err(Refusal::CarriageReturnBare),
        }
    }

    fn step_trailer(&mut self, byte: u8) -> Result<Place, Refusal> {
        let is_line_complete = self.trailers.get_or_insert_default().push(byte)?;
        Ok(if is_line_complete { Place::TrailerStart } else { Place::TrailerLine })
    }
}

/// `;name`, `;name=token` or `;name="quoted"`. Without spaces, which the RFC calls bad whitespace.
fn step_extension(place: Place, byte: u8) -> Result<Place, Refusal> {
    let is_text = byte == b'\t' || !byte.is_ascii_control();
    match (place, byte) {
        (Place::Name | Place::NameMore, _) if is_token_byte(byte) => Ok(Place::NameMore),
        (Place::NameMore, b'=') => Ok(Place::Value),
        (Place::Value, b'"') => Ok(Place::Quoted),
        (Place::Value | Place::ValueMore, _) if is_token_byte(byte) => Ok(Place::ValueMore),
        (Place::Quoted, b'"') => Ok(Place::QuotedEnd),
        (Place::Quoted, b'\\') => Ok(Place::Escaped),
        (Place::Quoted | Place::Escaped, _) if is_text => Ok(Place::Quoted),
        (Place::NameMore | Place::ValueMore | Place::QuotedEnd, _) => {
            after_word(byte, Refusal::ChunkExtensionInvalid)
        }
        _ => Err(Refusal::ChunkExtensionInvalid),
    }
}

/// What may follow the size, or an extension that could end here.
fn after_word(byte: u8, otherwise: Refusal) -> Result<Place, Refusal> {
    match byte {
        b';' => Ok(Place::Name),
        b'\r' => Ok(Place::SizeLf),
        b'\n' => Err(Refusal::LineFeedBare),
        _ => Err(otherwise),
    }
}
