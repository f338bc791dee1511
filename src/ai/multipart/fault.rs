//! Why a body is refused.

use std::fmt;

use super::super::json::MODEL_NAME_MAX;
use super::PART_HEAD_MAX;

/// A field whose value matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Model,
    Stream,
}

impl Field {
    const ALL: [Self; 2] = [Self::Model, Self::Stream];

    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
        }
    }

    /// The field of this name. Refused is what some readers take for it: they ignore letter case,
    /// drop white space round a name, or read `model[]` as one more value of `model`.
    pub(super) fn named(name: &[u8]) -> Result<Option<Self>, MultipartProblem> {
        if name.eq_ignore_ascii_case(b"_charset_") {
            return Err(MultipartProblem::Charset);
        }
        let end = memchr::memchr(b'[', name).unwrap_or(name.len());
        let stem = name[..end].trim_ascii();
        let folded = |field: &Self| stem.eq_ignore_ascii_case(field.name().as_bytes());
        match Self::ALL.into_iter().find(folded) {
            Some(field) if field.name().as_bytes() != name => {
                Err(MultipartProblem::OtherCase(field))
            }
            field => Ok(field),
        }
    }
}

/// What is wrong with a body, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultipartFault {
    /// Offset in the body, in bytes.
    pub at: usize,
    pub problem: MultipartProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultipartProblem {
    /// The content type is not multipart/form-data, or its boundary is missing or malformed.
    ContentType,
    NoBoundaryFirst,
    BrokenBoundary,
    BoundaryInPart,
    TextAfterLast,
    Ended,
    HeadTooLong,
    BrokenHead,
    /// No Content-Disposition with a name, or more than one.
    NotOneName,
    /// A part with parts of its own.
    Nested,
    /// A field that says in which charset the others are (RFC 7578, 4.6).
    Charset,
    Twice(Field),
    OtherCase(Field),
    /// A file, or a value that is encoded.
    NotPlain(Field),
    ValueTooLong,
    NoModel,
    ModelEmpty,
    NotUtf8,
    NotBoolean,
}

impl MultipartFault {
    /// The field at fault, for the `param` of OpenAI's error shape.
    pub fn param(&self) -> Option<&'static str> {
        match self.problem {
            MultipartProblem::Twice(field)
            | MultipartProblem::OtherCase(field)
            | MultipartProblem::NotPlain(field) => Some(field.name()),
            MultipartProblem::NoModel
            | MultipartProblem::ModelEmpty
            | MultipartProblem::NotUtf8 => Some(Field::Model.name()),
            MultipartProblem::NotBoolean => Some(Field::Stream.name()),
            _ => None,
        }
    }
}

impl std::error::Error for MultipartFault {}

impl fmt::Display for MultipartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.at, self.problem)
    }
}

impl fmt::Display for MultipartProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContentType => f.write_str("the content type has no usable boundary or charset"),
            Self::NoBoundaryFirst => f.write_str("the body does not begin with the boundary"),
            Self::BrokenBoundary => f.write_str("neither CRLF nor `--` follows a boundary"),
            Self::BoundaryInPart => f.write_str("a boundary that is not on a line of its own"),
            Self::TextAfterLast => f.write_str("text after the last boundary"),
            Self::Ended => f.write_str("the body ends before its last boundary"),
            Self::HeadTooLong => write!(f, "the head of a part exceeds {PART_HEAD_MAX} bytes"),
            Self::BrokenHead => f.write_str("the head of a part is malformed"),
            Self::NotOneName => f.write_str("a part must have one name, plainly written"),
            Self::Nested => f.write_str("a part that has parts of its own"),
            Self::Charset => f.write_str("a field that changes how others are read: `_charset_`"),
            Self::Twice(field) => write!(f, "a second field `{}`", field.name()),
            Self::OtherCase(field) => {
                write!(f, "a field that some readers take for `{}`", field.name())
            }
            Self::NotPlain(field) => write!(f, "`{}` must be plain text", field.name()),
            Self::ValueTooLong => write!(f, "a value is longer than {MODEL_NAME_MAX} bytes"),
            Self::NoModel => f.write_str("the field `model` is missing"),
            Self::ModelEmpty => f.write_str("`model` is empty"),
            Self::NotUtf8 => f.write_str("`model` is not UTF-8"),
            Self::NotBoolean => f.write_str("`stream` must be true or false"),
        }
    }
}
