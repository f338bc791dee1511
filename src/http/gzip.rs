//! The content coding gzip (RFC 9110, 8.4.1.3; RFC 1952), undone as it comes.
//!
//! One member is read, with its checksums, and nothing may follow it. RFC 1952 allows more
//! members, but many readers stop behind the first one, some in silence; and a body of empty
//! members would be work without an end.

mod fault;
mod frame;
#[cfg(test)]
mod tests;

use flate2::{Crc, Decompress, FlushDecompress, Status};

pub use self::fault::{GzipFault, GzipProblem};

use self::frame::Frame;

/// Most bytes that one call of [`GzipReader::read`] adds: as much as a receive buffer has. What is
/// small expands by up to 1,032 to 1, so a limit has to be looked at between calls.
pub const OUTPUT_MAX: usize = 32 * 1024;

/// What a reader takes: the window that matches reach back into, and the tables of its codes.
pub const MEMORY: usize = 48 * 1024;

/// Reads one compressed body, in pieces cut anywhere.
pub struct GzipReader {
    frame: Frame,
    inflate: Decompress,
    /// Of the content; counts its bytes, too.
    content: Crc,
    /// Compressed bytes read.
    at: u64,
}

impl Default for GzipReader {
    fn default() -> Self {
        Self {
            frame: Frame::default(),
            inflate: Decompress::new(false),
            content: Crc::new(),
            at: 0,
        }
    }
}

impl GzipReader {
    /// Reads on in `input`, moves it past what was read, and adds up to [`OUTPUT_MAX`] bytes of
    /// content to `out`. Says whether all that `input` tells has been told; if not, call again.
    pub fn read(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, GzipFault> {
        while !self.frame.is_in_content() {
            let Some((&byte, rest)) = input.split_first() else { return Ok(true) };
            self.frame.step(byte, &self.content).map_err(|problem| self.fault(problem))?;
            self.at += 1;
            *input = rest;
        }
        self.inflate(input, out)
    }

    /// Once there is no more input: an error if the body breaks off.
    pub fn finish(&self) -> Result<(), GzipFault> {
        match self.frame.is_ended() {
            true => Ok(()),
            false => Err(self.fault(GzipProblem::Ended)),
        }
    }

    fn inflate(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, GzipFault> {
        let (read_before, written_before) = (self.inflate.total_in(), self.inflate.total_out());
        let before = out.len();
        out.resize(before + OUTPUT_MAX, 0);
        let outcome = self.inflate.decompress(input, &mut out[before..], FlushDecompress::None);
        let read = (self.inflate.total_in() - read_before) as usize;
        let written = (self.inflate.total_out() - written_before) as usize;
        out.truncate(before + written);
        self.content.update(&out[before..]);
        self.at += read as u64;
        *input = &input[read..];
        match outcome {
            Ok(Status::StreamEnd) => {
                self.frame.end_content();
                Ok(input.is_empty())
            }
            // Room that is left proves nothing: the window is emptied before more is read.
            Ok(_) if read + written > 0 => Ok(false),
            Ok(_) if input.is_empty() => Ok(true),
            _ => Err(self.fault(GzipProblem::Corrupt)),
        }
    }

    fn fault(&self, problem: GzipProblem) -> GzipFault {
        GzipFault { at: self.at, problem }
    }
}
