//! Places in a buffer, kept as numbers so that the buffer may move.

/// A range of bytes in the buffer that a message was read from.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Both ends must fit into 32 bits, which the limits on heads and inputs see to.
    pub fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= Self::END_MAX, "{start}..{end} is no span");
        Self { start: start as u32, end: end as u32 }
    }

    /// The largest offset that a span can hold.
    pub const END_MAX: usize = u32::MAX as usize;

    /// The bytes themselves. `bytes` must be the buffer that the span was made for.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start()..self.end()]
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    pub fn end(self) -> usize {
        self.end as usize
    }

    pub fn len(self) -> usize {
        self.end() - self.start()
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
