//! Anthropic's messages.

use super::Told;
use super::events::{Event, Script};
use crate::mock::plan::{Request, Text};
use crate::mock::words;
use crate::mock::writer::Writer;

const START: &str = r#"{"id":"msg_mock","type":"message","role":"assistant","model":"#;

pub(super) fn write(request: &Request, text: &Text, out: &mut Vec<u8>) {
    Writer(out)
        .raw(START)
        .quoted(&request.model)
        .raw(r#","content":[{"type":"text","text":""#)
        .words(text.tokens)
        .raw(r#""}],"stop_reason":""#)
        .raw(stop_reason(text.is_cut))
        .raw(r#"","stop_sequence":null,"usage":{"input_tokens":"#)
        .number(request.prompt_tokens)
        .raw(r#","output_tokens":"#)
        .number(text.tokens)
        .raw("}}");
}

/// The answer to a request to count, not to speak.
pub(super) fn write_count(request: &Request, out: &mut Vec<u8>) {
    Writer(out).raw(r#"{"input_tokens":"#).number(request.prompt_tokens).raw("}");
}

fn stop_reason(is_cut: bool) -> &'static str {
    if is_cut { "max_tokens" } else { "end_turn" }
}

/// A message as events, with a ping where Anthropic sends one.
pub(super) struct Story(Told);

impl Story {
    pub(super) fn new(request: &Request, text: &Text) -> Self {
        Self(Told::new(request, text))
    }

    fn write_start(&self, writer: Writer<'_>) {
        writer
            .raw(r#","message":"#)
            .raw(START)
            .quoted(&self.0.model)
            .raw(r#","content":[],"stop_reason":null,"stop_sequence":null,"#)
            .raw(r#""usage":{"input_tokens":"#)
            .number(self.0.prompt_tokens)
            .raw(",\"output_tokens\":0}}}\n\n");
    }

    fn write_end(&self, writer: Writer<'_>) {
        writer
            .raw(r#","delta":{"stop_reason":""#)
            .raw(stop_reason(self.0.text.is_cut))
            .raw(r#"","stop_sequence":null},"usage":{"output_tokens":"#)
            .number(self.0.text.tokens)
            .raw("}}\n\n");
    }
}

impl Script for Story {
    fn opening_events(&self) -> usize {
        3
    }

    fn closing_events(&self) -> usize {
        3
    }

    fn write(&self, event: Event, out: &mut Vec<u8>) {
        let writer = Writer(out);
        match event {
            Event::Opening(0) => self.write_start(begin(writer, "message_start")),
            Event::Opening(1) => {
                begin(writer, "content_block_start")
                    .raw(",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
            }
            Event::Opening(_) => {
                begin(writer, "ping").raw("}\n\n");
            }
            Event::Token(index) => {
                begin(writer, "content_block_delta")
                    .raw(r#","index":0,"delta":{"type":"text_delta","text":""#)
                    .raw(words::token(index))
                    .raw("\"}}\n\n");
            }
            Event::Closing(0) => {
                begin(writer, "content_block_stop").raw(",\"index\":0}\n\n");
            }
            Event::Closing(1) => self.write_end(begin(writer, "message_delta")),
            Event::Closing(_) => {
                begin(writer, "message_stop").raw("}\n\n");
            }
        }
    }
}

/// Begins an event; its name stands in its data as well.
fn begin<'a>(writer: Writer<'a>, name: &str) -> Writer<'a> {
    writer.raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name).raw("\"")
}
