//! Received ciphertext on its way into the engine.

use rustls::Error;

use super::engine::{Engine, Intent, Sinks, Step};
use crate::runtime::buffers::Chunk;

/// Type, version, length (RFC 8446, 5.1).
const HEADER: usize = 5;

/// What may wait to be whole: the largest handshake message that rustls takes (64 KiB), in
/// records, and a record of another.
const HELD_MAX: usize = 96 << 10;

/// The received bytes that the engine has not done with. What is whole is decrypted where it was
/// received; only the pieces of a record that came in two receives are copied to be together.
#[derive(Default)]
pub(super) struct Incoming {
    /// The beginning of a record, or of a handshake message that takes several.
    held: Vec<u8>,
    /// Where the incomplete record in `held` begins. What stands before it the engine has decrypted
    /// and moved about: no header can be read there any more.
    last: usize,
    /// What follows, beginning with a record if nothing is held.
    chunk: Option<Chunk>,
    /// The bytes of the incomplete record that the chunk ends with, once the engine has begun on it.
    chunk_last: Option<usize>,
}

impl Incoming {
    /// Nothing is kept: what came so far was whole.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.chunk.is_none()
    }

    /// Adds what was received next; what came before must have been worked off.
    pub(super) fn push(&mut self, chunk: Chunk) {
        debug_assert!(self.chunk.is_none(), "chunks are worked off one by one");
        self.chunk = Some(chunk);
        self.chunk_last = None;
    }

    /// Lets the engine work until it needs more than there is, or `enough` says so.
    pub(super) fn work_off(
        &mut self,
        engine: &mut Engine,
        sinks: &mut Sinks<'_>,
        enough: impl Fn() -> bool,
    ) -> Result<Step, Error> {
        loop {
            let in_chunk = self.begin_chunk();
            match self.step(engine, Intent::Receive, sinks)? {
                Step::Again if enough() => return Ok(Step::Again),
                Step::Again => {}
                step @ (Step::Blocked | Step::Done) if in_chunk => {
                    self.hold_chunk();
                    return Ok(step);
                }
                Step::Blocked | Step::Done if self.chunk.is_some() => self.complete_held()?,
                step => return Ok(step),
            }
        }
    }

    /// Whether the chunk is next. Where its records end is noted before the engine changes it.
    fn begin_chunk(&mut self) -> bool {
        match &self.chunk {
            Some(chunk) if self.held.is_empty() => {
                self.chunk_last.get_or_insert_with(|| incomplete(chunk));
                true
            }
            _ => false,
        }
    }

    /// One step over what lies in front.
    pub(super) fn step(
        &mut self,
        engine: &mut Engine,
        intent: Intent<'_>,
        sinks: &mut Sinks<'_>,
    ) -> Result<Step, Error> {
        match &mut self.chunk {
            // What has not been looked at yet is no business of a send: content in it would have
            // nowhere to go.
            Some(chunk) if self.held.is_empty() && matches!(intent, Intent::Receive) => {
                let (used, step) = engine.step(chunk.bytes_mut(), intent, sinks);
                chunk.consume(used);
                if chunk.is_empty() {
                    self.chunk = None;
                }
                step
            }
            _ => {
                let (used, step) = engine.step(&mut self.held, intent, sinks);
                self.held.drain(..used);
                self.last = self.last.saturating_sub(used);
                if self.held.is_empty() {
                    // An idle connection keeps no memory.
                    self.held = Vec::new();
                }
                step
            }
        }
    }

    /// The engine has seen all of the chunk and lacks more: it must find the same bytes next time.
    fn hold_chunk(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.held.extend_from_slice(&chunk);
            self.last = self.held.len() - self.chunk_last.unwrap_or(0).min(self.held.len());
        }
    }

    /// Adds to what is held so much of the chunk as the engine may go on with.
    fn complete_held(&mut self) -> Result<(), Error> {
        let Some(chunk) = &mut self.chunk else { return Ok(()) };
        if self.held.is_empty() {
            return Ok(());
        }
        let count = missing(&self.held[self.last..]).min(chunk.len());
        self.held.extend_from_slice(&chunk[..count]);
        chunk.consume(count);
        if chunk.is_empty() {
            self.chunk = None;
        }
        if missing(&self.held[self.last..]) == 0 {
            self.last = self.held.len();
        }
        if self.held.len() > HELD_MAX { Err(Error::PeerSentOversizedRecord) } else { Ok(()) }
    }
}

/// How many bytes the record lacks that `bytes` begins with, or its header.
fn missing(bytes: &[u8]) -> usize {
    match bytes.split_first_chunk::<HEADER>() {
        None => HEADER - bytes.len(),
        Some(([_, _, _, high, low], content)) => {
            usize::from(u16::from_be_bytes([*high, *low])).saturating_sub(content.len())
        }
    }
}

/// How many bytes of an incomplete record stand at the end of `records`.
fn incomplete(records: &[u8]) -> usize {
    let mut rest = records;
    while let Some(([_, _, _, high, low], after)) = rest.split_first_chunk::<HEADER>() {
        match after.get(usize::from(u16::from_be_bytes([*high, *low]))..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_completed_header_first() {
        assert_eq!(missing(b""), 5);
        assert_eq!(missing(&[23, 3, 3]), 2);
        assert_eq!(missing(&[23, 3, 3, 1, 0]), 256);
        assert_eq!(missing(&[23, 3, 3, 0, 3, b'a']), 2);
        assert_eq!(missing(&[23, 3, 3, 0, 1, b'a']), 0);
    }

    #[test]
    fn what_stands_behind_whole_records_is_incomplete() {
        assert_eq!(incomplete(b""), 0);
        assert_eq!(incomplete(&[23, 3, 3, 0, 1, b'a']), 0);
        assert_eq!(incomplete(&[23, 3, 3, 0, 1, b'a', 23, 3]), 2);
        assert_eq!(incomplete(&[23, 3, 3, 0, 1, b'a', 23, 3, 3, 0, 9, b'b']), 6);
    }
}
