//! Reads a multipart/form-data request body (RFC 7578) as it passes, in pieces cut anywhere.
//!
//! The fields `model` and `stream` are kept, wherever they stand; files are only searched for the
//! end of their part. The upstream reads the same bytes again, so whatever two readers may take
//! apart differently is refused: text before the first boundary or after the last, a line end other
//! than CRLF, a boundary within a part, a second `model`, a name that needs decoding.

mod boundary;
mod fault;
mod parameters;
mod part_head;

use std::ops::Range;

use memchr::memmem::Finder;

pub use self::boundary::Boundary;
pub use self::fault::{Field, MultipartFault, MultipartProblem};

use self::part_head::PartHead;
use super::json::MODEL_NAME_MAX;

/// Longest head of a part, in bytes. Browsers and SDKs need about 200.
pub const PART_HEAD_MAX: usize = 4096;

/// What a body says in its watched fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// 1 to [`MODEL_NAME_MAX`] bytes.
    pub model: &'a str,
    /// Where the model's name stands in the body.
    pub model_span: Range<usize>,
    /// Whether `stream` is true. Absent means no.
    pub stream: bool,
}

/// Reads one body. Its memory is bounded by [`PART_HEAD_MAX`] and [`MODEL_NAME_MAX`].
#[derive(Debug)]
pub struct Scanner {
    /// Finds the delimiter without its CR: the line feed in front stands nowhere else in it, so a
    /// match that breaks off can begin again at a line feed only.
    finder: Finder<'static>,
    state: State,
    /// Bytes of the delimiter that the last piece ended with.
    matched: usize,
    /// The byte before the match in progress, or before the next piece when there is none.
    before: u8,
    /// Bytes fed before the present piece.
    base: usize,
    head: Vec<u8>,
    /// The watched field whose part is being read.
    field: Option<Field>,
    /// Content of that part so far, the delimiter included.
    value: Vec<u8>,
    value_start: usize,
    model: Option<(String, Range<usize>)>,
    stream: Option<bool>,
    fault: Option<MultipartFault>,
}

/// ```text
///  Start ── delimiter ──> AfterDelimiter ── CRLF ──> Head ── blank line ──> Content
///                           │     ^                                           │
///                           --    └──────────────── delimiter ────────────────┘
///                           v
///                        AfterLast ── CRLF, or nothing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    AfterDelimiter,
    AfterDelimiterCr,
    AfterDelimiterDash,
    Head,
    Content,
    AfterLast,
    AfterLastCr,
    End,
}

impl Scanner {
    pub fn new(boundary: &Boundary) -> Self {
        Self {
            finder: Finder::new(&[b"\n--", boundary.as_bytes()].concat()).into_owned(),
            state: State::Start,
            // The first delimiter has no line before it to end.
            matched: 1,
            before: b'\r',
            base: 0,
            head: Vec::new(),
            field: None,
            value: Vec::new(),
            value_start: 0,
            model: None,
            stream: None,
            fault: None,
        }
    }

    /// Reads the next piece of the body. After a fault every call repeats it.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), MultipartFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let outcome = self.scan(piece);
        self.base += piece.len();
        self.fault = outcome.err();
        outcome
    }

    /// Says what was found, once the whole body has been fed.
    pub fn finish(&self) -> Result<Found<'_>, MultipartFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let fault = |problem| MultipartFault { at: self.base, problem };
        if !matches!(self.state, State::AfterLast | State::End) {
            return Err(fault(MultipartProblem::Ended));
        }
        let model = self.model.as_ref().ok_or(fault(MultipartProblem::NoModel))?;
        Ok(Found {
            model: &model.0,
            model_span: model.1.clone(),
            stream: self.stream.unwrap_or(false),
        })
    }

    fn scan(&mut self, piece: &[u8]) -> Result<(), MultipartFault> {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            at = match self.state {
                State::Head => self.head(piece, at)?,
                State::Content => self.content(piece, at)?,
                _ => {
                    self.state = self.step(byte, self.base + at)?;
                    at + 1
                }
            };
        }
        Ok(())
    }

    /// The states that are left by single bytes.
    fn step(&mut self, byte: u8, at: usize) -> Result<State, MultipartFault> {
        match (self.state, byte) {
            (State::Start, _) if byte == self.finder.needle()[self.matched] => {
                self.matched += 1;
                let is_whole = self.matched == self.finder.needle().len();
                Ok(if is_whole { State::AfterDelimiter } else { State::Start })
            }
            (State::AfterDelimiter, b'\r') => Ok(State::AfterDelimiterCr),
            (State::AfterDelimiter, b'-') => Ok(State::AfterDelimiterDash),
            (State::AfterDelimiterCr, b'\n') => {
                self.head.clear();
                Ok(State::Head)
            }
            (State::AfterDelimiterDash, b'-') => Ok(State::AfterLast),
            (State::AfterLast, b'\r') => Ok(State::AfterLastCr),
            (State::AfterLastCr, b'\n') => Ok(State::End),
            (State::Start, _) => {
                Err(MultipartFault { at, problem: MultipartProblem::NoBoundaryFirst })
            }
            (State::AfterLast | State::AfterLastCr | State::End, _) => {
                Err(MultipartFault { at, problem: MultipartProblem::TextAfterLast })
            }
            _ => Err(MultipartFault { at, problem: MultipartProblem::BrokenBoundary }),
        }
    }

    /// Gathers the head of a part, a line at a time.
    fn head(&mut self, piece: &[u8], from: usize) -> Result<usize, MultipartFault> {
        let line_end = memchr::memchr(b'\n', &piece[from..]);
        let end = line_end.map_or(piece.len(), |length| from + length + 1);
        let start = self.base + from - self.head.len();
        self.head.extend_from_slice(&piece[from..end.min(from + PART_HEAD_MAX + 1)]);
        if self.head.len() > PART_HEAD_MAX {
            return Err(MultipartFault { at: start, problem: MultipartProblem::HeadTooLong });
        }
        if self.head == b"\r\n" || self.head.ends_with(b"\r\n\r\n") {
            self.begin_content(start, self.base + end)?;
        }
        Ok(end)
    }

    fn begin_content(&mut self, head_start: usize, at: usize) -> Result<(), MultipartFault> {
        let head = PartHead::read(&self.head)
            .map_err(|problem| MultipartFault { at: head_start, problem })?;
        self.field = self
            .watched_field(&head)
            .map_err(|problem| MultipartFault { at: head_start, problem })?;
        self.state = State::Content;
        // Some readers end an empty part at a boundary right behind the blank line, others do not:
        // a match that begins as if its line feed had been read finds it, and has no CR before it.
        self.matched = 1;
        self.before = b'\n';
        self.value.clear();
        self.value_start = at;
        Ok(())
    }

    fn watched_field(&self, head: &PartHead<'_>) -> Result<Option<Field>, MultipartProblem> {
        let Some(field) = Field::named(head.name)? else { return Ok(None) };
        let is_second = match field {
            Field::Model => self.model.is_some(),
            Field::Stream => self.stream.is_some(),
        };
        if is_second {
            return Err(MultipartProblem::Twice(field));
        }
        if !head.is_plain_value {
            return Err(MultipartProblem::NotPlain(field));
        }
        Ok(Some(field))
    }

    fn content(&mut self, piece: &[u8], from: usize) -> Result<usize, MultipartFault> {
        let (end, is_whole) = self.find_delimiter(piece, from);
        if self.field.is_some() {
            self.value.extend_from_slice(&piece[from..end.min(from + self.value_max() + 1)]);
            if self.value.len() > self.value_max() {
                let problem = MultipartProblem::ValueTooLong;
                return Err(MultipartFault { at: self.value_start, problem });
            }
        }
        if is_whole {
            self.end_content(self.base + end)?;
            self.state = State::AfterDelimiter;
        }
        Ok(end)
    }

    /// Looks for the next delimiter; returns where the search stopped, and whether it stopped
    /// behind a delimiter rather than at the end of the piece.
    fn find_delimiter(&mut self, piece: &[u8], from: usize) -> (usize, bool) {
        let needle = self.finder.needle();
        let mut at = from;
        while self.matched > 0 {
            if self.matched == needle.len() {
                return (at, true);
            }
            let Some(&byte) = piece.get(at) else { return (at, false) };
            if byte == needle[self.matched] {
                self.matched += 1;
                at += 1;
            } else {
                self.before = needle[self.matched - 1];
                self.matched = 0;
            }
        }
        let rest = &piece[at..];
        let begins = match self.finder.find(rest) {
            Some(begins) => {
                self.matched = needle.len();
                Some(begins)
            }
            None => {
                let begins =
                    memchr::memrchr(b'\n', rest).filter(|n| needle.starts_with(&rest[*n..]));
                self.matched = begins.map_or(0, |begins| rest.len() - begins);
                begins
            }
        };
        let before = &rest[..begins.unwrap_or(rest.len())];
        self.before = before.last().copied().unwrap_or(self.before);
        match begins {
            Some(begins) if self.matched == needle.len() => (at + begins + needle.len(), true),
            _ => (piece.len(), false),
        }
    }

    /// Takes in the part that a delimiter ends before `at`.
    fn end_content(&mut self, at: usize) -> Result<(), MultipartFault> {
        let delimiter = self.finder.needle().len() + b"\r".len();
        if self.before != b'\r' {
            let problem = MultipartProblem::BoundaryInPart;
            return Err(MultipartFault { at: at + 1 - delimiter, problem });
        }
        let Some(field) = self.field.take() else { return Ok(()) };
        let span = self.value_start..at - delimiter;
        self.value.truncate(span.len());
        let fault = |problem| MultipartFault { at: span.start, problem };
        let value = std::str::from_utf8(&self.value);
        match (field, value) {
            (Field::Model, Err(_)) => return Err(fault(MultipartProblem::NotUtf8)),
            (Field::Model, Ok("")) => return Err(fault(MultipartProblem::ModelEmpty)),
            (Field::Model, Ok(name)) if name.len() > MODEL_NAME_MAX => {
                return Err(fault(MultipartProblem::ValueTooLong));
            }
            (Field::Model, Ok(name)) => self.model = Some((name.to_owned(), span)),
            (Field::Stream, value) => {
                let stream = value.ok().and_then(boolean);
                self.stream = Some(stream.ok_or(fault(MultipartProblem::NotBoolean))?);
            }
        }
        Ok(())
    }

    /// Most bytes of a watched field, its delimiter included.
    fn value_max(&self) -> usize {
        MODEL_NAME_MAX + b"\r".len() + self.finder.needle().len()
    }
}

/// What form readers take for a boolean; SDKs send the first spelling.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "1" => Some(true),
        "false" | "False" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
