//! OpenAI's older completions: text without roles.

use super::events::{Event, Script};
use super::{Told, finish_reason, push_usage};
use crate::mock::plan::{Request, Text};
use crate::mock::words;
use crate::mock::writer::Writer;

const START: &str = r#"{"id":"cmpl-mock","object":"text_completion","created":1700000000,"model":"#;

pub(super) fn write(request: &Request, text: &Text, out: &mut Vec<u8>) {
    let writer = Writer(out)
        .raw(START)
        .quoted(&request.model)
        .raw(r#","choices":[{"index":0,"text":""#)
        .words(text.tokens)
        .raw(r#"","logprobs":null,"finish_reason":""#)
        .raw(finish_reason(text.is_cut))
        .raw(r#""}],"usage":"#);
    push_usage(writer, request.prompt_tokens, text.tokens).raw("}");
}

/// A completion as chunks: one for each LLM token, the reason of the end, the usage if it was asked
/// for, and `[DONE]`.
pub(super) struct Chunks(Told);

impl Chunks {
    pub(super) fn new(request: &Request, text: &Text) -> Self {
        Self(Told::new(request, text))
    }

    fn begin<'a>(&self, out: &'a mut Vec<u8>) -> Writer<'a> {
        Writer(out).raw("data: ").raw(START).quoted(&self.0.model).raw(r#","choices":["#)
    }
}

impl Script for Chunks {
    fn opening_events(&self) -> usize {
        0
    }

    fn closing_events(&self) -> usize {
        2 + usize::from(self.0.text.include_usage)
    }

    fn write(&self, event: Event, out: &mut Vec<u8>) {
        let choice = r#"{"index":0,"logprobs":null,"text":""#;
        match event {
            Event::Opening(_) => {}
            Event::Token(index) => {
                self.begin(out)
                    .raw(choice)
                    .raw(words::token(index))
                    .raw("\",\"finish_reason\":null}]}\n\n");
            }
            Event::Closing(0) => {
                self.begin(out)
                    .raw(choice)
                    .raw(r#"","finish_reason":""#)
                    .raw(finish_reason(self.0.text.is_cut))
                    .raw("\"}]}\n\n");
            }
            Event::Closing(1) if self.0.text.include_usage => {
                let writer = self.begin(out).raw(r#"],"usage":"#);
                push_usage(writer, self.0.prompt_tokens, self.0.text.tokens).raw("}\n\n");
            }
            Event::Closing(_) => out.extend_from_slice(b"data: [DONE]\n\n"),
        }
    }
}
