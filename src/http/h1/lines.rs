//! The lines of a head, which may arrive in pieces.
//!
//! What is wrong with a line depends only on its bytes from the front, so the finding is the same
//! however the head was cut on its way.

use memchr::memchr;

use crate::http::field_name::FieldName;
use crate::http::fields::{Field, Fields};
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::syntax::{token_end, value_end};

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
        if !is_full && !self.may_advance(window) {
            return Ok(false);
        }
        let done = read(self, window);
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

    /// Whether a line may have become complete. Without this, a line that arrives byte by byte
    /// would be read as many times.
    fn may_advance(&self, window: &[u8]) -> bool {
        let news = window.get(self.scanned..).unwrap_or_default();
        self.scanned == 0 || memchr(b'\n', news).is_some()
    }
}

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
pub(super) fn field_line(bytes: &[u8], line: usize) -> Result<(Field, usize), Stop> {
    let name_end = token_end(bytes, line);
    let stop = *bytes.get(name_end).ok_or(Stop::Partial)?;
    if stop != b':' || name_end == line {
        return Err(no_name(bytes, line, name_end));
    }

    let padding = bytes[name_end + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let value_start = name_end + 1 + padding.count();
    let value_end = value_end(bytes, value_start);
    let next = line_end(bytes, value_end)?;

    let padding = bytes[value_start..value_end].iter().rev();
    let padding = padding.take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let field = Field {
        known: FieldName::of(&bytes[line..name_end]),
        name: Span::new(line, name_end),
        value: Span::new(value_start, value_end - padding),
        hop_by_hop: false,
    };
    let hop_by_hop = field.known.is_hop_by_hop();
    Ok((Field { hop_by_hop, ..field }, next))
}

/// Why no colon ends the name that goes from `line` to `name_end`.
#[cold]
fn no_name(bytes: &[u8], line: usize, name_end: usize) -> Stop {
    match bytes[name_end] {
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
