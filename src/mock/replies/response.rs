//! OpenAI's responses.

use super::Told;
use super::events::{Event, Script};
use crate::mock::plan::{Request, Text};
use crate::mock::words;
use crate::mock::writer::Writer;

/// Where the one text of a response stands, in the events that speak of it.
const PLACE: &str = r#","item_id":"msg_mock","output_index":0,"content_index":0"#;

pub(super) fn write(request: &Request, text: &Text, out: &mut Vec<u8>) {
    Story::new(request, text).push_response(Writer(out), Stage::Ended);
}

/// How far a response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Ended,
}

/// A response as events: the response, its message and the message's text begin, grow and end.
pub(super) struct Story(Told);

impl Story {
    pub(super) fn new(request: &Request, text: &Text) -> Self {
        Self(Told::new(request, text))
    }

    fn push_response<'a>(&self, writer: Writer<'a>, stage: Stage) -> Writer<'a> {
        let status = match stage {
            Stage::Begun => "in_progress",
            Stage::Ended => self.end_status(),
        };
        let writer = writer
            .raw(r#"{"id":"resp_mock","object":"response","created_at":1700000000,"status":""#)
            .raw(status)
            .raw(r#"","error":null,"incomplete_details":"#)
            .raw(match stage {
                Stage::Ended if self.0.text.is_cut => r#"{"reason":"max_output_tokens"}"#,
                _ => "null",
            })
            .raw(r#","model":"#)
            .quoted(&self.0.model)
            .raw(r#","parallel_tool_calls":true,"tool_choice":"auto","tools":[],"output":["#);
        match stage {
            Stage::Begun => writer.raw(r#"],"usage":null}"#),
            Stage::Ended => {
                let writer = self.push_message(writer, stage).raw(r#"],"usage":"#);
                self.push_usage(writer).raw("}")
            }
        }
    }

    fn push_message<'a>(&self, writer: Writer<'a>, stage: Stage) -> Writer<'a> {
        let writer =
            writer.raw(r#"{"type":"message","id":"msg_mock","role":"assistant","status":""#);
        match stage {
            Stage::Begun => writer.raw(r#"in_progress","content":[]}"#),
            Stage::Ended => {
                let writer = writer.raw(self.end_status()).raw(r#"","content":["#);
                self.push_part(writer, stage).raw("]}")
            }
        }
    }

    fn push_part<'a>(&self, writer: Writer<'a>, stage: Stage) -> Writer<'a> {
        let tokens = if stage == Stage::Ended { self.0.text.tokens } else { 0 };
        writer
            .raw(r#"{"type":"output_text","annotations":[],"logprobs":[],"text":""#)
            .words(tokens)
            .raw(r#""}"#)
    }

    fn push_usage<'a>(&self, writer: Writer<'a>) -> Writer<'a> {
        writer
            .raw(r#"{"input_tokens":"#)
            .number(self.0.prompt_tokens)
            .raw(r#","input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0}"#)
            .raw(r#","output_tokens":"#)
            .number(self.0.text.tokens)
            .raw(r#","output_tokens_details":{"reasoning_tokens":0},"total_tokens":"#)
            .number(self.0.prompt_tokens + self.0.text.tokens)
            .raw("}")
    }

    fn end_status(&self) -> &'static str {
        if self.0.text.is_cut { "incomplete" } else { "completed" }
    }

    fn sequence_number(&self, event: Event) -> usize {
        match event {
            Event::Opening(index) => index,
            Event::Token(index) => self.opening_events() + index,
            Event::Closing(index) => self.opening_events() + self.0.text.tokens + index,
        }
    }

    fn name(&self, event: Event) -> &'static str {
        match event {
            Event::Opening(0) => "response.created",
            Event::Opening(1) => "response.in_progress",
            Event::Opening(2) => "response.output_item.added",
            Event::Opening(_) => "response.content_part.added",
            Event::Token(_) => "response.output_text.delta",
            Event::Closing(0) => "response.output_text.done",
            Event::Closing(1) => "response.content_part.done",
            Event::Closing(2) => "response.output_item.done",
            Event::Closing(_) if self.0.text.is_cut => "response.incomplete",
            Event::Closing(_) => "response.completed",
        }
    }
}

impl Script for Story {
    fn opening_events(&self) -> usize {
        4
    }

    fn closing_events(&self) -> usize {
        4
    }

    fn write(&self, event: Event, out: &mut Vec<u8>) {
        let name = self.name(event);
        let stage = if let Event::Closing(_) = event { Stage::Ended } else { Stage::Begun };
        let writer = Writer(out).raw("event: ").raw(name).raw("\ndata: {\"type\":\"").raw(name);
        let writer = writer.raw(r#"","sequence_number":"#).number(self.sequence_number(event));
        let writer = match event {
            Event::Opening(0 | 1) | Event::Closing(3..) => {
                self.push_response(writer.raw(r#","response":"#), stage)
            }
            Event::Opening(2) | Event::Closing(2) => {
                self.push_message(writer.raw(r#","output_index":0,"item":"#), stage)
            }
            Event::Opening(_) | Event::Closing(1) => {
                self.push_part(writer.raw(PLACE).raw(r#","part":"#), stage)
            }
            Event::Token(index) => writer
                .raw(PLACE)
                .raw(r#","logprobs":[],"delta":""#)
                .raw(words::token(index))
                .raw("\""),
            Event::Closing(_) => writer
                .raw(PLACE)
                .raw(r#","logprobs":[],"text":""#)
                .words(self.0.text.tokens)
                .raw("\""),
        };
        writer.raw("}\n\n");
    }
}
