//! Which frames pass, by their headers alone (RFC 9113, 4.1): for counting what costs and moves
//! nothing. What frames mean is left to the `h2` crate.

use super::PREFACE;

/// A frame's kind, as far as anybody here asks for it (RFC 9113, 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameKind {
    Data,
    Headers,
    Priority,
    Reset,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    Unknown,
}

/// A frame's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    pub kind: FrameKind,
    flags: u8,
    length: u32,
}

const HEADER_BYTES: usize = 9;
/// Of SETTINGS and PING.
const ACK: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
const END_HEADERS: u8 = 0x4;

impl FrameHead {
    fn read(header: &[u8; HEADER_BYTES]) -> Self {
        let [high, middle, low, kind, flags, ..] = *header;
        let kind = match kind {
            0 => FrameKind::Data,
            1 => FrameKind::Headers,
            2 => FrameKind::Priority,
            3 => FrameKind::Reset,
            4 => FrameKind::Settings,
            5 => FrameKind::PushPromise,
            6 => FrameKind::Ping,
            7 => FrameKind::GoAway,
            8 => FrameKind::WindowUpdate,
            9 => FrameKind::Continuation,
            _ => FrameKind::Unknown,
        };
        Self { kind, flags, length: u32::from_be_bytes([0, high, middle, low]) }
    }

    /// Answers a frame of ours.
    pub fn is_ack(self) -> bool {
        matches!(self.kind, FrameKind::Settings | FrameKind::Ping) && self.flags & ACK != 0
    }

    fn is_of_head(self) -> bool {
        matches!(self.kind, FrameKind::Headers | FrameKind::Continuation)
    }

    fn ends_head(self) -> bool {
        self.is_of_head() && self.flags & END_HEADERS != 0
    }
}

/// Follows the frames that a client sends.
#[derive(Debug)]
pub struct Frames {
    header: [u8; HEADER_BYTES],
    /// Of `header`, when a frame's header comes in pieces.
    filled: usize,
    /// Bytes to skip before the next header.
    left: usize,
    /// The frames since HEADERS have not ended the head they began.
    in_head: bool,
    /// The payload being skipped does.
    ends_head: bool,
}

impl Frames {
    /// For a connection whose preface is still to come.
    pub fn new() -> Self {
        Self {
            header: [0; HEADER_BYTES],
            filled: 0,
            left: PREFACE.len(),
            in_head: false,
            ends_head: false,
        }
    }

    /// Looks at the next bytes of the connection, and tells `each` of the frames that begin.
    pub fn follow(&mut self, mut bytes: &[u8], mut each: impl FnMut(FrameHead)) {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            if self.left == 0 && self.ends_head {
                self.in_head = false;
                self.ends_head = false;
            }
            if bytes.is_empty() {
                return;
            }
            let Some(head) = self.next_header(&mut bytes) else { return };
            self.left = head.length as usize;
            self.in_head |= head.is_of_head();
            self.ends_head = head.ends_head();
            each(head);
        }
    }

    fn next_header(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        let taken = (HEADER_BYTES - self.filled).min(bytes.len());
        self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        *bytes = &bytes[taken..];
        if self.filled < HEADER_BYTES {
            return None;
        }
        self.filled = 0;
        Some(FrameHead::read(&self.header))
    }

    /// Whether a head has begun and not ended.
    pub fn is_in_head(&self) -> bool {
        self.in_head
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn frames_are_told_apart_wherever_they_are_cut() {
        let bytes = [
            PREFACE.to_vec(),
            frame(4, 0, b"012345"),
            frame(4, 1, b""),
            frame(1, 4, b"head"),
            frame(0, 1, &[6; 70_000]),
            frame(0xf7, 0, b"x"),
        ]
        .concat();
        for step in [1, 2, 7, 9, 10, 4096, bytes.len()] {
            let mut frames = Frames::new();
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                frames.follow(piece, |head| seen.push((head.kind, head.is_ack())));
            }
            let settings = [(FrameKind::Settings, false), (FrameKind::Settings, true)];
            let others = [FrameKind::Headers, FrameKind::Data, FrameKind::Unknown];
            let others = others.map(|kind| (kind, false));
            assert_eq!(seen, [&settings[..], &others].concat(), "{step}");
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_byte() {
        let mut frames = Frames::new();
        let mut at = |bytes: &[u8]| {
            frames.follow(bytes, |_| {});
            frames.is_in_head()
        };
        assert!(!at(PREFACE));
        let headers = frame(1, 0, b"abc");
        assert!(!at(&headers[..8]));
        assert!(at(&headers[8..]));
        let last = frame(9, 4, b"def");
        assert!(at(&last[..11]));
        assert!(!at(&last[11..]));
        assert!(!at(&frame(1, 4, b"")));
    }
}
