//! The lines of a head, which may arrive in pieces.
//!
//! What is wrong with a line depends only on its bytes from the front, so the finding is the same
//! however the head was cut on its way.

use memchr::memchr;

use crate::http::field_name::FieldName;
use crate::http::fields::{Field, Fields};
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::syntax::{is_token, name_end, token_end, value_end};

/// How much of a head is read before it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// From the first byte to the empty line, both included.
    pub bytes: usize,
    pub fields: usize,
}

/// Why reading stopped before the end of the head.
pub(super) enum Stop {
    /// All bytes were used up.
    Partial,
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Stop {
    /// The refusal; `partial` if the bytes were only used up, and no more can come.
    pub(super) fn refusal_or(self, partial: Refusal) -> Refusal {
        match self {
            Self::Partial => partial,
            Self::Refused(refusal) => refusal,
        }
    }
}

/// How far a head has been read.
#[derive(Default, Debug)]
pub(super) struct Progress {
    /// Where the first line begins that has not been read.
    line: usize,
    pub(super) has_start_line: bool,
    /// Input that has been looked at in vain.
    scanned: usize,
}

impl Progress {
    /// Whether a new head begins: nothing was read, or the input is not that of last time.
    pub(super) fn is_fresh(&self, input: &[u8]) -> bool {
        self.scanned == 0 || input.len() < self.scanned
    }

    /// Has `read` go on at the first line that was not complete. Returns whether the head is now
    /// complete. After that, and after a refusal, a new head begins.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        limits: &HeadLimits,
        read: impl FnOnce(&mut Self, &[u8]) -> Result<(), Stop>,
    ) -> Result<bool, Refusal> {
        let window_bytes = limits.bytes.min(Span::END_MAX);
        let window = &input[..input.len().min(window_bytes)];
        let is_full = window.len() == window_bytes;
        let done = match is_full || self.may_advance(window) {
            true => read(self, window),
            false => Err(Stop::Partial),
        };
        if matches!(done, Err(Stop::Partial)) && !is_full {
            self.scanned = window.len();
            return Ok(false);
        }
        let too_large = match std::mem::take(self).has_start_line {
            true => Refusal::HeadTooLarge,
            false => Refusal::StartLineTooLong,
        };
        done.map(|()| true).map_err(|stop| stop.refusal_or(too_large))
    }

    /// The start line has been read; the fields begin at `next`.
    pub(super) fn end_start_line(&mut self, next: usize) {
        self.line = next;
        self.has_start_line = true;
    }

    /// Whether it is worth while to go on: a line end has come in, or the line is so short that
    /// little is lost. A long line that arrives byte by byte is not read each time.
    fn may_advance(&self, window: &[u8]) -> bool {
        let news = window.get(self.scanned..).unwrap_or_default();
        self.scanned == 0
            || window.len().saturating_sub(self.line) < SHORT_LINE_BYTES
            || memchr(b'\n', news).is_some()
    }
}

/// Enough to see that a peer speaks another protocol.
const SHORT_LINE_BYTES: usize = 64;

/// Reads field lines up to and including the empty line, and returns the length of the head.
pub(super) fn read_fields(
    window: &[u8],
    progress: &mut Progress,
    fields: &mut Fields,
    limits: &HeadLimits,
) -> Result<usize, Stop> {
    loop {
        let line = progress.line;
        if *window.get(line).ok_or(Stop::Partial)? == b'\r' {
            return line_end(window, line);
        }
        let (field, next) = field_line(window, line)?;
        if fields.len() == limits.fields {
            return Err(Refusal::FieldsTooMany.into());
        }
        fields.push(field);
        progress.line = next;
    }
}

/// Reads the field line that begins at `line`. Returns the field and where the next line begins.
// Always inlined: a field that is returned through memory is written in bytes and read in words,
// which costs a third of the time of a whole head.
#[inline(always)]
pub(super) fn field_line(bytes: &[u8], line: usize) -> Result<(Field, usize), Stop> {
    let colon = name_end(bytes, line);
    let name = &bytes[line..colon];
    let known = FieldName::of(name);
    // A known name is a token; only others have to be looked at byte by byte.
    let is_name = known != FieldName::Other || is_token(name);
    if bytes.get(colon) != Some(&b':') || !is_name {
        return Err(no_name(bytes, line));
    }

    let start = colon + 1 + padding(bytes[colon + 1..].iter());
    let end = value_end(bytes, start);
    let next = line_end(bytes, end)?;
    let field = Field {
        known,
        name: Span::new(line, colon),
        value: Span::new(start, end - padding(bytes[start..end].iter().rev())),
        hop_by_hop: known.is_hop_by_hop(),
    };
    Ok((field, next))
}

fn padding<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Why the line that begins at `line` does not begin with a name and a colon.
#[cold]
fn no_name(bytes: &[u8], line: usize) -> Stop {
    let name_end = token_end(bytes, line);
    let Some(stop) = bytes.get(name_end) else { return Stop::Partial };
    match stop {
        b':' => Refusal::FieldNameEmpty.into(),
        b' ' | b'\t' if name_end == line => Refusal::FieldFolded.into(),
        b' ' | b'\t' => Refusal::FieldNameSpace.into(),
        b'\r' | b'\n' => match line_end(bytes, name_end) {
            Ok(_) => Refusal::ColonMissing.into(),
            Err(stop) => stop,
        },
        _ => Refusal::FieldNameInvalid.into(),
    }
}

/// Where the line begins that follows the CRLF at `at`. Anything else there is refused.
pub(super) fn line_end(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match bytes.get(at..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(at + 2),
        [] | [b'\r'] => Err(Stop::Partial),
        [b'\r', ..] => Err(Refusal::CarriageReturnBare.into()),
        [b'\n', ..] => Err(Refusal::LineFeedBare.into()),
        _ => Err(Refusal::FieldValueInvalid.into()),
    }
}
