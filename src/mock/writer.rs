//! Appends JSON from fixed text and a few values: a reply costs little more than copying it.

use crate::ai::quote::push_quoted;

use super::words;

pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn raw(self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn quoted(self, text: &str) -> Self {
        push_quoted(self.0, text);
        self
    }

    pub(super) fn number(self, number: usize) -> Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// The first words of what the mock says, without quotes.
    pub(super) fn words(self, tokens: usize) -> Self {
        words::push_text(self.0, tokens);
        self
    }
}
