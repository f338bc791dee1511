//! A string, read on from wherever the last piece ended.

use super::{JsonFault, JsonProblem};

/// Most bytes of a string that are kept.
pub(super) const TAKEN_MAX: usize = 256;

/// The string being read: what of it has been understood only in part.
#[derive(Debug, Default)]
pub(super) struct Text {
    state: State,
    /// The first half of a surrogate pair whose second half is due; 0 is none.
    high: u16,
    /// The beginning of a character whose other bytes are in the next piece.
    partial: [u8; 4],
    partial_bytes: usize,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Plain,
    /// After a backslash.
    Escape,
    /// Within `\uXXXX`.
    Unit { unit: u16, digits: u8 },
    /// After the first half of a surrogate pair.
    SecondHalf,
}

impl Text {
    /// Reads from `piece[from]` up to the closing quote and returns the index behind it, or `None`
    /// when the string goes on in the next piece. `base` is the offset of the piece in the body.
    pub(super) fn scan(
        &mut self,
        piece: &[u8],
        from: usize,
        base: usize,
        mut taken: Option<&mut Taken>,
    ) -> Result<Option<usize>, JsonFault> {
        let mut at = from;
        loop {
            if let State::Plain = self.state {
                let (length, is_ascii) = plain_run(&piece[at..]);
                let run = &piece[at..at + length];
                if !is_ascii || self.partial_bytes > 0 {
                    self.check_utf8(run, base + at, at + length == piece.len())?;
                }
                take(&mut taken, run);
                at += run.len();
            }
            let Some(&byte) = piece.get(at) else { return Ok(None) };
            at += 1;
            if byte == b'"' && matches!(self.state, State::Plain) {
                return Ok(Some(at));
            }
            let decoded = self.escape(byte);
            let decoded = decoded.map_err(|problem| JsonFault { at: base + at - 1, problem })?;
            if let Some(decoded) = decoded {
                take(&mut taken, decoded.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    /// Takes one byte that is not plain text and returns the character that it completes.
    fn escape(&mut self, byte: u8) -> Result<Option<char>, JsonProblem> {
        let (state, decoded) = match (self.state, byte) {
            (State::Plain | State::SecondHalf, b'\\') => (State::Escape, None),
            (State::Plain, _) => return Err(JsonProblem::ControlCharacter(byte)),
            (State::SecondHalf, _) => return Err(JsonProblem::HalfSurrogatePair),
            (State::Escape, b'u') => (State::Unit { unit: 0, digits: 0 }, None),
            (State::Escape, _) if self.high != 0 => return Err(JsonProblem::HalfSurrogatePair),
            (State::Escape, _) => (State::Plain, Some(short_escape(byte)?)),
            (State::Unit { unit, digits }, _) => {
                let digit = char::from(byte).to_digit(16);
                let digit = digit.ok_or(JsonProblem::UnknownEscape(byte))?;
                let unit = unit << 4 | digit as u16;
                match digits {
                    3 => self.complete_unit(unit)?,
                    _ => (State::Unit { unit, digits: digits + 1 }, None),
                }
            }
        };
        self.state = state;
        Ok(decoded)
    }

    /// Joins a UTF-16 unit with the one before it (RFC 8259, section 7).
    fn complete_unit(&mut self, unit: u16) -> Result<(State, Option<char>), JsonProblem> {
        let high = std::mem::take(&mut self.high);
        let pair = [high, unit];
        let units = if high == 0 { &pair[1..] } else { &pair[..] };
        match char::decode_utf16(units.iter().copied()).next() {
            Some(Ok(character)) => Ok((State::Plain, Some(character))),
            _ if high == 0 && (0xd800..0xdc00).contains(&unit) => {
                self.high = unit;
                Ok((State::SecondHalf, None))
            }
            _ => Err(JsonProblem::HalfSurrogatePair),
        }
    }

    /// Checks a run of text at `offset`. A character may be cut only where the piece ends.
    fn check_utf8(&mut self, run: &[u8], offset: usize, at_end: bool) -> Result<(), JsonFault> {
        let fault = |at| JsonFault { at, problem: JsonProblem::NotUtf8 };
        let begun = offset - self.partial_bytes;
        let mut rest = run;
        while self.partial_bytes > 0 {
            let Some((&byte, after)) = rest.split_first() else {
                return if at_end { Ok(()) } else { Err(fault(begun)) };
            };
            rest = after;
            self.partial[self.partial_bytes] = byte;
            self.partial_bytes += 1;
            match std::str::from_utf8(&self.partial[..self.partial_bytes]) {
                Ok(_) => self.partial_bytes = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(fault(begun)),
            }
        }
        let Err(error) = std::str::from_utf8(rest) else { return Ok(()) };
        let cut = &rest[error.valid_up_to()..];
        if error.error_len().is_some() || !at_end {
            return Err(fault(offset + run.len() - cut.len()));
        }
        self.partial[..cut.len()].copy_from_slice(cut);
        self.partial_bytes = cut.len();
        Ok(())
    }
}

fn short_escape(byte: u8) -> Result<char, JsonProblem> {
    match byte {
        b'"' | b'\\' | b'/' => Ok(char::from(byte)),
        b'b' => Ok('\u{8}'),
        b'f' => Ok('\u{c}'),
        b'n' => Ok('\n'),
        b'r' => Ok('\r'),
        b't' => Ok('\t'),
        _ => Err(JsonProblem::UnknownEscape(byte)),
    }
}

/// How many bytes come before the first quote, backslash or control character, and whether all of
/// them are ASCII.
///
/// Eight bytes at a time. In each term, the lowest byte with its high bit set is the first match:
/// a subtraction can only borrow from bytes above a match.
fn plain_run(bytes: &[u8]) -> (usize, bool) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * ONES;
    const QUOTES: u64 = b'"' as u64 * ONES;
    const BACKSLASHES: u64 = b'\\' as u64 * ONES;

    let mut any = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = (word ^ QUOTES).wrapping_sub(ONES) & !(word ^ QUOTES);
        let backslashes = (word ^ BACKSLASHES).wrapping_sub(ONES) & !(word ^ BACKSLASHES);
        let controls = word.wrapping_sub(0x20 * ONES) & !word;
        let found = (quotes | backslashes | controls) & HIGH_BITS;
        if found != 0 {
            let before_match = (found & found.wrapping_neg()) - 1;
            any |= word & before_match;
            return (index * 8 + found.trailing_zeros() as usize / 8, any & HIGH_BITS == 0);
        }
        any |= word;
    }
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    let is_ascii = any & HIGH_BITS == 0 && rest[..length].is_ascii();
    (bytes.len() - rest.len() + length, is_ascii)
}

fn take(taken: &mut Option<&mut Taken>, bytes: &[u8]) {
    if let Some(taken) = taken {
        taken.push(bytes);
    }
}

/// The first [`TAKEN_MAX`] bytes of a string, escapes undone.
#[derive(Debug)]
pub(super) struct Taken {
    bytes: [u8; TAKEN_MAX],
    length: usize,
    overflowed: bool,
}

impl Taken {
    pub(super) fn new() -> Self {
        Self { bytes: [0; TAKEN_MAX], length: 0, overflowed: false }
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
        self.overflowed = false;
    }

    pub(super) fn push(&mut self, more: &[u8]) {
        let end = self.length + more.len();
        match self.bytes.get_mut(self.length..end) {
            Some(room) => {
                room.copy_from_slice(more);
                self.length = end;
            }
            None => self.overflowed = true,
        }
    }

    /// Whether the string was longer than what is kept.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Empty for a string that overflowed, so that half a name is never taken for a whole one.
    pub(super) fn as_str(&self) -> &str {
        let kept = if self.overflowed { &[] } else { &self.bytes[..self.length] };
        std::str::from_utf8(kept).expect("each run was checked before it was taken")
    }
}
