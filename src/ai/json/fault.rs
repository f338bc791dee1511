//! Why a body is refused.

use std::fmt;

use super::{MODEL_NAME_MAX, Member, NESTING_MAX};

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonFault {
    /// Offset in the body, in bytes.
    pub at: usize,
    pub problem: JsonProblem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonProblem {
    Unexpected { byte: u8, expected: &'static str },
    Ended { expected: &'static str },
    ByteOrderMark,
    NotUtf8,
    ControlCharacter(u8),
    UnknownEscape(u8),
    HalfSurrogatePair,
    TooDeep,
    Twice(Member),
    OtherCase(Member),
    WrongType { member: Member, found: ValueKind },
    NoModel,
    ModelEmpty,
    ModelTooLong,
}

impl JsonFault {
    /// The member at fault, for the `param` of OpenAI's error shape.
    pub fn param(&self) -> Option<&'static str> {
        match &self.problem {
            JsonProblem::Twice(member)
            | JsonProblem::OtherCase(member)
            | JsonProblem::WrongType { member, .. } => Some(member.name()),
            JsonProblem::NoModel | JsonProblem::ModelEmpty | JsonProblem::ModelTooLong => {
                Some(Member::Model.name())
            }
            JsonProblem::Unexpected { .. }
            | JsonProblem::Ended { .. }
            | JsonProblem::ByteOrderMark
            | JsonProblem::NotUtf8
            | JsonProblem::ControlCharacter(_)
            | JsonProblem::UnknownEscape(_)
            | JsonProblem::HalfSurrogatePair
            | JsonProblem::TooDeep => None,
        }
    }
}

impl std::error::Error for JsonFault {}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.problem)
    }
}

impl fmt::Display for JsonProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { byte, expected } => {
                write!(f, "expected {expected}, found {}", Shown(*byte))
            }
            Self::Ended { expected } => write!(f, "the body ends where {expected} is expected"),
            Self::ByteOrderMark => f.write_str("a byte order mark"),
            Self::NotUtf8 => f.write_str("a string that is not UTF-8"),
            Self::ControlCharacter(byte) => {
                write!(f, "a control character in a string must be escaped, found {}", Shown(*byte))
            }
            Self::UnknownEscape(byte) => write!(f, "no such escape in a string: {}", Shown(*byte)),
            Self::HalfSurrogatePair => f.write_str("half of a surrogate pair in a string"),
            Self::TooDeep => write!(f, "more than {NESTING_MAX} levels of arrays and objects"),
            Self::Twice(member) => write!(f, "a second member `{}`", member.name()),
            Self::OtherCase(member) => {
                write!(f, "a member that some readers take for `{}`", member.name())
            }
            Self::WrongType { member, found } => {
                let (name, wanted) = (member.name(), member.wanted());
                write!(f, "`{name}` must be {wanted}, found {}", found.name())
            }
            Self::NoModel => f.write_str("the member `model` is missing"),
            Self::ModelEmpty => f.write_str("`model` is empty"),
            Self::ModelTooLong => write!(f, "`model` is longer than {MODEL_NAME_MAX} bytes"),
        }
    }
}

/// A byte for people: itself when it can be seen, else its number.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            byte @ 0x21..=0x7e => write!(f, "`{}`", char::from(byte)),
            byte => write!(f, "byte 0x{byte:02x}"),
        }
    }
}

/// What kind of value a member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    String,
    Number,
    Object,
    Array,
    True,
    False,
    Null,
}

impl ValueKind {
    /// The first byte of a value tells its kind.
    pub(super) fn of_first_byte(byte: u8) -> Option<Self> {
        match byte {
            b'"' => Some(Self::String),
            b'-' | b'0'..=b'9' => Some(Self::Number),
            b'{' => Some(Self::Object),
            b'[' => Some(Self::Array),
            b't' => Some(Self::True),
            b'f' => Some(Self::False),
            b'n' => Some(Self::Null),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::True | Self::False => "a boolean",
            Self::Null => "null",
        }
    }
}
