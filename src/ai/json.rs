//! Reads a JSON request body as it passes, in pieces cut anywhere, without keeping or rebuilding it.
//!
//! The body must be one RFC 8259 object and nothing else. All of it is checked, because the
//! upstream reads it again: a document that two readers understand in two ways would let a client
//! name one model here and another one there. So these are refused as well, although a lenient
//! reader takes them: a second member of a watched name, also in an escaped spelling or in other
//! letter case; a byte order mark; text that is not UTF-8; half of a surrogate pair; more than
//! [`NESTING_MAX`] levels.
//!
//! What the watched members say is kept; every other value is only checked.

mod fault;
mod member;
mod nesting;
mod number;
mod text;

use std::ops::Range;

pub use self::fault::{JsonFault, JsonProblem, ValueKind};
pub use self::member::Member;
pub use self::nesting::NESTING_MAX;

use self::nesting::{Container, Nesting};
use self::number::Number;
use self::text::{Taken, Text};

/// Longest model name, in bytes, escapes undone.
pub const MODEL_NAME_MAX: usize = text::TAKEN_MAX;

/// What a body says in its watched members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// With escapes undone; 1 to [`MODEL_NAME_MAX`] bytes.
    pub model: &'a str,
    /// Where the model's string stands in the body, its quotes included.
    pub model_span: Range<usize>,
    /// Whether `stream` is `true`. Absent and `null` mean no.
    pub stream: bool,
    /// Where the value of `stream_options` stands.
    pub stream_options: Option<Range<usize>>,
    /// The greatest of `max_tokens`, `max_completion_tokens` and `max_output_tokens`, as far as
    /// they are plain integers. Anything else is for the upstream to judge.
    pub max_tokens: Option<u64>,
}

/// Reads one body. Memory is fixed, whatever the body holds; [`Scanner::reset`] makes it ready for
/// the next one.
#[derive(Debug)]
pub struct Scanner {
    /// Bytes fed before the present piece.
    base: usize,
    expect: Expect,
    token: Token,
    nesting: Nesting,
    /// Ready for the next string whenever one ends.
    text: Text,
    /// The top-level member whose value is due or being read, if it is a watched one.
    member: Option<Member>,
    /// Where the token or watched value being read began.
    name_start: usize,
    value_start: usize,
    value_kind: ValueKind,
    /// The member name or number being read, of the top level only.
    taken: Taken,
    model: Taken,
    seen: Seen,
    fault: Option<JsonFault>,
}

#[derive(Debug, Default)]
struct Seen {
    members: u8,
    model_span: Range<usize>,
    stream: bool,
    stream_options: Option<Range<usize>>,
    max_tokens: Option<u64>,
}

/// What may come next, between two tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Document,
    NameOrEnd,
    Name,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
    Nothing,
}

/// The token being read.
#[derive(Debug, Clone, Copy)]
enum Token {
    None,
    Text(Role),
    Number(Number),
    /// What is still to come of `true`, `false` or `null`.
    Literal(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    pub fn new() -> Self {
        Self {
            base: 0,
            expect: Expect::Document,
            token: Token::None,
            nesting: Nesting::default(),
            text: Text::default(),
            member: None,
            name_start: 0,
            value_start: 0,
            value_kind: ValueKind::Null,
            taken: Taken::new(),
            model: Taken::new(),
            seen: Seen::default(),
            fault: None,
        }
    }

    /// Forgets everything, for the next body.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Reads the next piece of the body. After a fault every call repeats it.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), JsonFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let outcome = self.scan(piece);
        self.base += piece.len();
        self.fault = outcome.clone().err();
        outcome
    }

    /// Says what was found, once the whole body has been fed.
    pub fn finish(&self) -> Result<Found<'_>, JsonFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.expect != Expect::Nothing {
            let expected = self.expected();
            return Err(JsonFault { at: self.base, problem: JsonProblem::Ended { expected } });
        }
        if self.seen.members & Member::Model.bit() == 0 {
            return Err(JsonFault { at: self.base, problem: JsonProblem::NoModel });
        }
        Ok(Found {
            model: self.model.as_str(),
            model_span: self.seen.model_span.clone(),
            stream: self.seen.stream,
            stream_options: self.seen.stream_options.clone(),
            max_tokens: self.seen.max_tokens,
        })
    }

    fn scan(&mut self, piece: &[u8]) -> Result<(), JsonFault> {
        let mut at = self.resume(piece)?;
        while at < piece.len() {
            at = self.between(piece, at)?;
        }
        Ok(())
    }

    /// Reads the rest of a token that the last piece cut.
    fn resume(&mut self, piece: &[u8]) -> Result<usize, JsonFault> {
        match self.token {
            Token::None => Ok(0),
            Token::Text(role) => self.text(piece, 0, role),
            Token::Number(number) => self.number(piece, 0, number),
            Token::Literal(rest) => self.literal(piece, 0, rest),
        }
    }

    /// Reads white space and then one token, as far as the piece has it.
    fn between(&mut self, piece: &[u8], from: usize) -> Result<usize, JsonFault> {
        let blank = piece[from..].iter().take_while(|byte| is_white_space(**byte)).count();
        let at = from + blank;
        let Some(&byte) = piece.get(at) else { return Ok(at) };
        let offset = self.base + at;
        match (self.expect, byte) {
            (Expect::ValueOrEnd, b']') | (Expect::NameOrEnd, b'}') => self.close(offset + 1)?,
            (Expect::Value | Expect::ValueOrEnd, _) => return self.begin_value(piece, at),
            (Expect::NameOrEnd | Expect::Name, b'"') => {
                self.name_start = offset;
                self.taken.clear();
                return self.text(piece, at + 1, Role::Name);
            }
            (Expect::Colon, b':') => self.expect = Expect::Value,
            (Expect::CommaOrEnd, b',') => self.expect = self.nesting.innermost().after_comma(),
            (Expect::CommaOrEnd, b'}' | b']') if self.nesting.innermost().ends_with(byte) => {
                self.close(offset + 1)?;
            }
            (Expect::Document, b'{') => self.open(Container::Object, offset)?,
            _ => return Err(self.unexpected(byte, offset)),
        }
        Ok(at + 1)
    }

    fn begin_value(&mut self, piece: &[u8], at: usize) -> Result<usize, JsonFault> {
        let (byte, offset) = (piece[at], self.base + at);
        let Some(kind) = ValueKind::of_first_byte(byte) else {
            return Err(self.unexpected(byte, offset));
        };
        if let Some(member) = self.watched_member() {
            self.value_start = offset;
            self.value_kind = kind;
            self.taken.clear();
            if !member.may_be(kind) {
                let problem = JsonProblem::WrongType { member, found: kind };
                return Err(JsonFault { at: offset, problem });
            }
        }
        self.expect = Expect::CommaOrEnd;
        match kind {
            ValueKind::Object => self.open(Container::Object, offset).map(|()| at + 1),
            ValueKind::Array => self.open(Container::Array, offset).map(|()| at + 1),
            ValueKind::String => self.text(piece, at + 1, Role::Value),
            ValueKind::Number => {
                self.take_number(&piece[at..=at]);
                self.number(piece, at + 1, Number::begin(byte))
            }
            ValueKind::True => self.literal(piece, at + 1, b"rue"),
            ValueKind::False => self.literal(piece, at + 1, b"alse"),
            ValueKind::Null => self.literal(piece, at + 1, b"ull"),
        }
    }

    fn open(&mut self, container: Container, offset: usize) -> Result<(), JsonFault> {
        if !self.nesting.push(container) {
            return Err(JsonFault { at: offset, problem: JsonProblem::TooDeep });
        }
        self.expect = match container {
            Container::Object => Expect::NameOrEnd,
            Container::Array => Expect::ValueOrEnd,
        };
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), JsonFault> {
        self.nesting.pop();
        if self.nesting.depth() == 0 {
            self.expect = Expect::Nothing;
            return Ok(());
        }
        self.expect = Expect::CommaOrEnd;
        self.end_value(end)
    }

    fn text(&mut self, piece: &[u8], from: usize, role: Role) -> Result<usize, JsonFault> {
        let taken = match role {
            Role::Name if self.nesting.depth() == 1 => Some(&mut self.taken),
            Role::Value if self.nesting.depth() == 1 && self.member == Some(Member::Model) => {
                Some(&mut self.model)
            }
            _ => None,
        };
        let Some(end) = self.text.scan(piece, from, self.base, taken)? else {
            self.token = Token::Text(role);
            return Ok(piece.len());
        };
        self.token = Token::None;
        match role {
            Role::Name => self.end_name()?,
            Role::Value => self.end_value(self.base + end)?,
        }
        Ok(end)
    }

    fn end_name(&mut self) -> Result<(), JsonFault> {
        self.expect = Expect::Colon;
        if self.nesting.depth() != 1 {
            return Ok(());
        }
        let at = self.name_start;
        self.member = Member::named(self.taken.as_str())
            .map_err(|member| JsonFault { at, problem: JsonProblem::OtherCase(member) })?;
        if let Some(member) = self.member {
            if self.seen.members & member.bit() != 0 {
                return Err(JsonFault { at, problem: JsonProblem::Twice(member) });
            }
            self.seen.members |= member.bit();
        }
        Ok(())
    }

    fn number(&mut self, piece: &[u8], from: usize, begun: Number) -> Result<usize, JsonFault> {
        let mut number = begun;
        let mut at = from;
        while let Some(next) = piece.get(at).and_then(|byte| number.next(*byte)) {
            number = next;
            at += 1;
        }
        self.take_number(&piece[from..at]);
        self.token = Token::Number(number);
        let Some(&byte) = piece.get(at) else { return Ok(at) };
        if !number.is_complete() {
            return Err(self.unexpected(byte, self.base + at));
        }
        self.token = Token::None;
        self.end_value(self.base + at)?;
        Ok(at)
    }

    fn take_number(&mut self, digits: &[u8]) {
        if self.watched_member().is_some() {
            self.taken.push(digits);
        }
    }

    fn literal(
        &mut self,
        piece: &[u8],
        from: usize,
        rest: &'static [u8],
    ) -> Result<usize, JsonFault> {
        let there = &piece[from..];
        let same = there.iter().zip(rest).take_while(|(byte, due)| byte == due).count();
        let at = from + same;
        self.token = Token::Literal(&rest[same..]);
        if same == rest.len() {
            self.token = Token::None;
            self.end_value(self.base + at)?;
        } else if let Some(&byte) = piece.get(at) {
            return Err(self.unexpected(byte, self.base + at));
        }
        Ok(at)
    }

    /// Takes in a value that ends before `end`, if it is that of a watched member.
    fn end_value(&mut self, end: usize) -> Result<(), JsonFault> {
        let Some(member) = self.watched_member() else { return Ok(()) };
        self.member = None;
        let span = self.value_start..end;
        match member {
            Member::Model => {
                if let Some(problem) = self.model_problem() {
                    return Err(JsonFault { at: span.start, problem });
                }
                self.seen.model_span = span;
            }
            Member::Stream => self.seen.stream = self.value_kind == ValueKind::True,
            Member::StreamOptions => self.seen.stream_options = Some(span),
            Member::MaxTokens | Member::MaxCompletionTokens | Member::MaxOutputTokens => {
                let count = self.taken.as_str().parse().ok();
                self.seen.max_tokens = self.seen.max_tokens.max(count);
            }
        }
        Ok(())
    }

    fn model_problem(&self) -> Option<JsonProblem> {
        if self.model.overflowed() {
            Some(JsonProblem::ModelTooLong)
        } else if self.model.as_str().is_empty() {
            Some(JsonProblem::ModelEmpty)
        } else {
            None
        }
    }

    /// The watched member that a value at this depth belongs to.
    fn watched_member(&self) -> Option<Member> {
        if self.nesting.depth() == 1 { self.member } else { None }
    }

    fn unexpected(&self, byte: u8, at: usize) -> JsonFault {
        let problem = match (self.expect, byte) {
            (Expect::Document, 0xef) => JsonProblem::ByteOrderMark,
            _ => JsonProblem::Unexpected { byte, expected: self.expected() },
        };
        JsonFault { at, problem }
    }

    fn expected(&self) -> &'static str {
        match (self.token, self.expect) {
            (Token::Text(_), _) => "the rest of a string",
            (Token::Number(_), _) => "a digit",
            (Token::Literal(_), _) => "`true`, `false` or `null`",
            (Token::None, Expect::Document) => "`{`",
            (Token::None, Expect::NameOrEnd) => "a member name or `}`",
            (Token::None, Expect::Name) => "a member name",
            (Token::None, Expect::Colon) => "`:`",
            (Token::None, Expect::Value) => "a value",
            (Token::None, Expect::ValueOrEnd) => "a value or `]`",
            (Token::None, Expect::CommaOrEnd) => match self.nesting.innermost() {
                Container::Object => "`,` or `}`",
                Container::Array => "`,` or `]`",
            },
            (Token::None, Expect::Nothing) => "the end of the body",
        }
    }
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
