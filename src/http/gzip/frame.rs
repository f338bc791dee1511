//! What stands round the compressed data of a member (RFC 1952, 2.3), byte by byte.
//!
//! ```text
//!  Fixed ─> [ExtraLength ─> Extra] ─> [Name] ─> [Comment] ─> [HeaderChecksum] ─> Content
//!                                                           End <─ Length <─ Checksum <─┘
//! ```

use flate2::Crc;

use super::GzipProblem;

/// ID1, ID2, and the only method that there is.
const BEGINNING: [u8; 3] = [0x1f, 0x8b, 8];
/// These, the flags, a time, extra flags and an operating system.
const FIXED_BYTES: u32 = 10;
const FLAGS_AT: u32 = 3;

const HAS_HEADER_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
/// A decompressor "must give an error indication" when one of them is set (2.3.1.2).
const RESERVED: u8 = 0b1110_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Part {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    HeaderChecksum,
    Content,
    Checksum,
    Length,
    End,
}

pub(super) struct Frame {
    part: Part,
    /// Bytes of the part so far.
    read: u32,
    /// These bytes as a number, the lowest first; of the last four.
    number: u32,
    flags: u8,
    extra_bytes: u32,
    header: Crc,
}

impl Default for Frame {
    fn default() -> Self {
        Self { part: Part::Fixed, read: 0, number: 0, flags: 0, extra_bytes: 0, header: Crc::new() }
    }
}

impl Frame {
    pub(super) fn is_in_content(&self) -> bool {
        self.part == Part::Content
    }

    pub(super) fn is_ended(&self) -> bool {
        self.part == Part::End
    }

    pub(super) fn end_content(&mut self) {
        self.begin(Part::Checksum);
    }

    /// Reads a byte outside the compressed data. `content` is what has come out of that so far.
    pub(super) fn step(&mut self, byte: u8, content: &Crc) -> Result<(), GzipProblem> {
        if self.part < Part::HeaderChecksum {
            self.header.update(&[byte]);
        }
        self.number = self.number >> 8 | u32::from(byte) << 24;
        self.read = self.read.saturating_add(1);
        let (number, half) = (self.number, self.number >> 16);
        match self.part {
            Part::Fixed => return self.fixed(byte),
            Part::ExtraLength if self.read == 2 => {
                self.extra_bytes = half;
                self.begin(Part::Extra);
            }
            Part::Extra if self.read == self.extra_bytes => self.begin(Part::Name),
            Part::Name if byte == 0 => self.begin(Part::Comment),
            Part::Comment if byte == 0 => self.begin(Part::HeaderChecksum),
            Part::HeaderChecksum if self.read == 2 => {
                expect(half == self.header.sum() & 0xffff, GzipProblem::HeaderChecksum)?;
                self.begin(Part::Content);
            }
            Part::Checksum if self.read == 4 => {
                expect(number == content.sum(), GzipProblem::Checksum)?;
                self.begin(Part::Length);
            }
            Part::Length if self.read == 4 => {
                expect(number == content.amount(), GzipProblem::Length)?;
                self.begin(Part::End);
            }
            Part::End => return Err(GzipProblem::Trailing),
            _ => {}
        }
        Ok(())
    }

    fn fixed(&mut self, byte: u8) -> Result<(), GzipProblem> {
        let index = self.read - 1;
        if let Some(due) = BEGINNING.get(index as usize) {
            return expect(byte == *due, GzipProblem::NotGzip);
        }
        if index == FLAGS_AT {
            expect(byte & RESERVED == 0, GzipProblem::UnknownFlag)?;
            self.flags = byte;
        }
        if self.read == FIXED_BYTES {
            self.begin(Part::ExtraLength);
        }
        Ok(())
    }

    /// Goes on to `part`, or to the next one behind it that is there.
    fn begin(&mut self, part: Part) {
        let has = |flag| self.flags & flag != 0;
        let next = match part {
            Part::ExtraLength if !has(HAS_EXTRA) => Part::Name,
            Part::Extra if self.extra_bytes == 0 => Part::Name,
            Part::Name if !has(HAS_NAME) => Part::Comment,
            Part::Comment if !has(HAS_COMMENT) => Part::HeaderChecksum,
            Part::HeaderChecksum if !has(HAS_HEADER_CHECKSUM) => Part::Content,
            _ => {
                self.part = part;
                self.read = 0;
                return;
            }
        };
        self.begin(next);
    }
}

fn expect(holds: bool, otherwise: GzipProblem) -> Result<(), GzipProblem> {
    if holds { Ok(()) } else { Err(otherwise) }
}
