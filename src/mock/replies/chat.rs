//! OpenAI's chat completions.

use super::events::{Event, Script};
use super::{Told, finish_reason, push_usage};
use crate::mock::plan::{Request, Text};
use crate::mock::words;
use crate::mock::writer::Writer;

const WHOLE: &str =
    r#"{"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":"#;
const CHUNK: &str =
    r#"data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":"#;

pub(super) fn write(request: &Request, text: &Text, out: &mut Vec<u8>) {
    let writer = Writer(out)
        .raw(WHOLE)
        .quoted(&request.model)
        .raw(r#","choices":[{"index":0,"message":{"role":"assistant","content":""#)
        .words(text.tokens)
        .raw(r#"","refusal":null},"logprobs":null,"finish_reason":""#)
        .raw(finish_reason(text.is_cut))
        .raw(r#""}],"usage":"#);
    push_usage(writer, request.prompt_tokens, text.tokens).raw("}");
}

/// A chat as chunks: the role, a chunk for each LLM token, the reason of the end, the usage if it
/// was asked for, and `[DONE]`.
pub(super) struct Chunks(Told);

impl Chunks {
    pub(super) fn new(request: &Request, text: &Text) -> Self {
        Self(Told::new(request, text))
    }

    fn begin<'a>(&self, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(out).raw(CHUNK).quoted(&self.0.model).raw(r#","choices":["#)
    }

    /// Ends a chunk that is not the one with the usage.
    fn end(&self, writer: Writer<'_>) {
        writer.raw(if self.0.text.include_usage { "],\"usage\":null}\n\n" } else { "]}\n\n" });
    }
}

impl Script for Chunks {
    fn opening_events(&self) -> usize {
        1
    }

    fn closing_events(&self) -> usize {
        2 + usize::from(self.0.text.include_usage)
    }

    fn write(&self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Opening(_) => self.end(self.begin(out).raw(
                r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}"#,
            )),
            Event::Token(index) => self.end(
                self.begin(out)
                    .raw(r#"{"index":0,"delta":{"content":""#)
                    .raw(words::token(index))
                    .raw(r#""},"finish_reason":null}"#),
            ),
            Event::Closing(0) => self.end(
                self.begin(out)
                    .raw(r#"{"index":0,"delta":{},"finish_reason":""#)
                    .raw(finish_reason(self.0.text.is_cut))
                    .raw(r#""}"#),
            ),
            Event::Closing(1) if self.0.text.include_usage => {
                let writer = self.begin(out).raw(r#"],"usage":"#);
                push_usage(writer, self.0.prompt_tokens, self.0.text.tokens).raw("}\n\n");
            }
            Event::Closing(_) => out.extend_from_slice(b"data: [DONE]\n\n"),
        }
    }
}
