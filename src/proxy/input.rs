//! Received bytes that have not been used yet.

use crate::runtime::buffers::Chunk;

/// Mostly one receive buffer, read in place. Only what does not fit together in one, such as a
/// head in two pieces, is copied to be contiguous.
#[derive(Default)]
pub(super) struct Input {
    chunk: Option<Chunk>,
    /// Used instead of `chunk` when it is not empty.
    joined: Vec<u8>,
    /// How much of `joined` has been used.
    used: usize,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.chunk {
            Some(chunk) => chunk,
            None => &self.joined[self.used..],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Adds what was received next.
    pub(super) fn push(&mut self, chunk: Chunk) {
        if self.is_empty() {
            self.clear();
            self.chunk = Some(chunk);
            return;
        }
        if let Some(first) = self.chunk.take() {
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&chunk);
    }

    /// Copies what is there, so that its buffer can go back to the worker: for long waits.
    pub(super) fn release_buffer(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.joined = chunk.to_vec();
            self.used = 0;
        }
    }

    /// Forgets the first `count` bytes; the buffer goes back when it is used up.
    pub(super) fn consume(&mut self, count: usize) {
        match &mut self.chunk {
            Some(chunk) => chunk.consume(count),
            None => self.used = (self.used + count).min(self.joined.len()),
        }
        if self.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.chunk = None;
        self.used = 0;
        // An idle connection keeps no memory for a head that once came in pieces.
        self.joined = Vec::new();
    }
}
