//! What the mock answers, as bytes: whole, or event by event.

mod chat;
mod completion;
mod events;
mod media;
mod message;
mod response;
mod transcript;
mod vectors;

use crate::ai::call::Dialect;
use crate::ai::error::ClientError;
use crate::ai::models::{self, Listed};

pub use self::events::{Events, Pace};

use self::events::Script;
use super::plan::{Request, Task, Text, TextForm};
use super::writer::Writer;

/// When every answer was made, in seconds since 1970. A constant: the mock repeats itself exactly.
const CREATED: u64 = 1_700_000_000;

/// The models that the list names; any other name is answered as well.
const MODELS: [&str; 4] = ["mock-chat", "mock-embedding", "mock-speech", "mock-image"];

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Body,
}

#[derive(Debug)]
pub enum Body {
    Whole(Vec<u8>),
    Events(Events),
}

impl Reply {
    pub fn to(request: &Request) -> Self {
        // Most answers fit, so most need one allocation.
        let mut out = Vec::with_capacity(1024);
        match &request.task {
            Task::Text(text) if text.stream => {
                return Self::events(script(request, text), text.tokens);
            }
            Task::Text(text) => write_text(request, text, &mut out),
            Task::Transcription { tokens, stream: true } => {
                let script = transcript::Transcript::new(request, *tokens);
                return Self::events(Box::new(script), *tokens);
            }
            Task::Transcription { tokens, stream: false } => {
                transcript::write(request, *tokens, &mut out);
            }
            Task::CountTokens => message::write_count(request, &mut out),
            Task::Embeddings { inputs, dimensions, base64 } => {
                vectors::write_embeddings(request, inputs, *dimensions, *base64, &mut out);
            }
            Task::Rerank { results } => vectors::write_ranking(request, *results, &mut out),
            Task::Speech(format) => {
                return Self::whole(media::content_type(*format), media::silence(*format));
            }
            Task::Images { count } => media::write_images(*count, &mut out),
            Task::Models => models::write_list(request.dialect, MODELS.map(listed), &mut out),
            Task::Model => models::write_one(request.dialect, listed(&request.model), &mut out),
        }
        Self::whole("application/json", out)
    }

    /// The answer to a request that is refused.
    pub fn refusal(error: &ClientError, dialect: Dialect) -> Self {
        let mut out = Vec::new();
        error.write(dialect, None, &mut out);
        Self { status: error.kind.status(), ..Self::whole("application/json", out) }
    }

    fn whole(content_type: &'static str, body: Vec<u8>) -> Self {
        Self { status: 200, content_type, body: Body::Whole(body) }
    }

    fn events(script: Box<dyn Script>, tokens: usize) -> Self {
        let body = Body::Events(Events::new(script, tokens));
        Self { status: 200, content_type: "text/event-stream", body }
    }
}

/// What an answer that is streamed has to know of its request.
struct Told {
    model: String,
    text: Text,
    prompt_tokens: usize,
}

impl Told {
    fn new(request: &Request, text: &Text) -> Self {
        Self { model: request.model.clone(), text: *text, prompt_tokens: request.prompt_tokens }
    }
}

fn write_text(request: &Request, text: &Text, out: &mut Vec<u8>) {
    match text.form {
        TextForm::Chat => chat::write(request, text, out),
        TextForm::Completion => completion::write(request, text, out),
        TextForm::Response => response::write(request, text, out),
        TextForm::Message => message::write(request, text, out),
    }
}

fn script(request: &Request, text: &Text) -> Box<dyn Script> {
    match text.form {
        TextForm::Chat => Box::new(chat::Chunks::new(request, text)),
        TextForm::Completion => Box::new(completion::Chunks::new(request, text)),
        TextForm::Response => Box::new(response::Story::new(request, text)),
        TextForm::Message => Box::new(message::Story::new(request, text)),
    }
}

/// The usage of a chat or a completion, as OpenAI writes it.
fn push_usage<'a>(
    writer: Writer<'a>,
    prompt_tokens: usize,
    completion_tokens: usize,
) -> Writer<'a> {
    writer
        .raw(r#"{"prompt_tokens":"#)
        .number(prompt_tokens)
        .raw(r#","completion_tokens":"#)
        .number(completion_tokens)
        .raw(r#","total_tokens":"#)
        .number(prompt_tokens + completion_tokens)
        .raw("}")
}

/// Why a text ends, in OpenAI's words.
fn finish_reason(is_cut: bool) -> &'static str {
    if is_cut { "length" } else { "stop" }
}

fn listed(name: &str) -> Listed<'_> {
    Listed { name, owned_by: "ringgate-mock", created: CREATED }
}

#[cfg(test)]
mod tests;
