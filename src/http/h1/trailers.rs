//! Trailers: the fields behind a chunked body (RFC 9112, 7.1.2).

use super::lines::field_line;
use crate::http::field_name::FieldName;
use crate::http::refusal::Refusal;

/// Bytes of all trailer lines of one body.
pub const TRAILER_BYTES_MAX: usize = 4096;

/// Checks trailer lines, and keeps those that may be forwarded.
#[derive(Default, Debug)]
pub(super) struct Trailers {
    /// The line that is arriving.
    line: Vec<u8>,
    kept: Vec<u8>,
    bytes: usize,
}

impl Trailers {
    /// Whole lines with their CRLF, as sent.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Takes the next byte; whether it ended a line.
    pub(super) fn push(&mut self, byte: u8) -> Result<bool, Refusal> {
        self.bytes += 1;
        if self.bytes > TRAILER_BYTES_MAX {
            return Err(Refusal::TrailersTooLarge);
        }
        self.line.push(byte);
        if byte != b'\n' {
            return Ok(false);
        }
        self.end_line()?;
        Ok(true)
    }

    fn end_line(&mut self) -> Result<(), Refusal> {
        let line = field_line(&self.line, 0);
        let (field, _) = line.map_err(|stop| stop.refusal_or(Refusal::ColonMissing))?;
        if FieldName::is_trailer(field.name.of(&self.line)) {
            self.kept.extend_from_slice(&self.line);
        }
        self.line.clear();
        Ok(())
    }
}
