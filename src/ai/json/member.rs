//! The members of a call that are watched, and when a name counts as theirs.

use super::ValueKind;

/// A top-level member whose value matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
}

impl Member {
    const ALL: [Self; 6] = [
        Self::Model,
        Self::Stream,
        Self::StreamOptions,
        Self::MaxTokens,
        Self::MaxCompletionTokens,
        Self::MaxOutputTokens,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stream => "stream",
            Self::StreamOptions => "stream_options",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
        }
    }

    /// The member of this name, escapes undone. The error is the member that a reader which
    /// ignores letter case would take it for; Go's encoding/json, in several model servers, is one.
    pub(super) fn named(name: &str) -> Result<Option<Self>, Self> {
        // Most names end here: no watched one begins otherwise, in any spelling.
        if !matches!(name.as_bytes().first(), Some(b'm' | b'M' | b's' | b'S' | 0x80..)) {
            return Ok(None);
        }
        match Self::ALL.into_iter().find(|member| is_same_folded(name, member.name())) {
            Some(member) if member.name() == name => Ok(Some(member)),
            Some(member) => Err(member),
            None => Ok(None),
        }
    }

    /// One bit of its own for each member.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) fn may_be(self, kind: ValueKind) -> bool {
        match self {
            Self::Model => kind == ValueKind::String,
            Self::Stream => matches!(kind, ValueKind::True | ValueKind::False | ValueKind::Null),
            Self::StreamOptions => matches!(kind, ValueKind::Object | ValueKind::Null),
            Self::MaxTokens | Self::MaxCompletionTokens | Self::MaxOutputTokens => true,
        }
    }

    /// What [`Member::may_be`] allows, in words.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Model => "a string",
            Self::Stream => "a boolean or null",
            Self::StreamOptions => "an object or null",
            Self::MaxTokens | Self::MaxCompletionTokens | Self::MaxOutputTokens => "a number",
        }
    }
}

/// Compares as Unicode simple case folding does. Only these two characters outside ASCII fold to
/// ASCII letters: the long s and the Kelvin sign.
fn is_same_folded(name: &str, lower: &str) -> bool {
    let folded = name.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(lower.chars())
}
