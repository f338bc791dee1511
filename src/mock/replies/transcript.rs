//! What the mock hears in audio, whatever it is.

use super::events::{Event, Script};
use crate::mock::plan::Request;
use crate::mock::words;
use crate::mock::writer::Writer;

pub(super) fn write(request: &Request, tokens: usize, out: &mut Vec<u8>) {
    let transcript = Transcript::new(request, tokens);
    transcript.push_text_and_usage(Writer(out).raw("{")).raw("}");
}

/// A transcript as events: its words, then all of it.
pub(super) struct Transcript {
    tokens: usize,
    prompt_tokens: usize,
}

impl Transcript {
    pub(super) fn new(request: &Request, tokens: usize) -> Self {
        Self { tokens, prompt_tokens: request.prompt_tokens }
    }

    fn push_text_and_usage<'a>(&self, writer: Writer<'a>) -> Writer<'a> {
        writer
            .raw(r#""text":""#)
            .words(self.tokens)
            .raw(r#"","usage":{"type":"tokens","input_tokens":"#)
            .number(self.prompt_tokens)
            .raw(r#","output_tokens":"#)
            .number(self.tokens)
            .raw(r#","total_tokens":"#)
            .number(self.prompt_tokens + self.tokens)
            .raw("}")
    }
}

impl Script for Transcript {
    fn opening_events(&self) -> usize {
        0
    }

    fn closing_events(&self) -> usize {
        1
    }

    fn write(&self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Opening(_) => {}
            Event::Token(index) => {
                Writer(out)
                    .raw(r#"data: {"type":"transcript.text.delta","delta":""#)
                    .raw(words::token(index))
                    .raw("\"}\n\n");
            }
            Event::Closing(_) => {
                let writer = Writer(out).raw(r#"data: {"type":"transcript.text.done","#);
                self.push_text_and_usage(writer).raw("}\n\n");
            }
        }
    }
}
