//! What a request asks the mock for.

use serde_json::Value;

use crate::ai::call::{BodyKind, Call, Dialect, Operation};
use crate::ai::error::{ClientError, ErrorKind};
use crate::ai::{json, multipart};

/// Most numbers in one answer to an embeddings request: 1 Mi, about 12 MB of text.
const NUMBERS_MAX: usize = 1 << 20;
/// Most images in one answer, as OpenAI has it.
const IMAGES_MAX: usize = 10;
/// Length of a vector when the request does not say.
const DIMENSIONS: usize = 8;

/// A request, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub dialect: Dialect,
    pub task: Task,
    /// The name in the request; empty for a list of models.
    pub model: String,
    /// An estimate: a quarter of the body's bytes, at least one.
    pub prompt_tokens: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    Text(Text),
    Transcription {
        tokens: usize,
        stream: bool,
    },
    CountTokens,
    Embeddings {
        /// One hash for each input, so that equal inputs have equal vectors.
        inputs: Vec<u64>,
        dimensions: usize,
        base64: bool,
    },
    Rerank {
        /// How many results to list.
        results: usize,
    },
    Speech(SpeechFormat),
    Images {
        count: usize,
    },
    Models,
    Model,
}

/// A text to be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    pub form: TextForm,
    /// LLM tokens to send.
    pub tokens: usize,
    /// Whether the request's limit, and not the model, ends the text.
    pub is_cut: bool,
    pub stream: bool,
    /// Whether a stream ends with its usage.
    pub include_usage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    Chat,
    Completion,
    Response,
    Message,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechFormat {
    Mp3,
    Wav,
    /// 16-bit samples, no header.
    Pcm,
}

impl Request {
    /// Reads a call with its whole body. `tokens` is how many LLM tokens the models say when no
    /// limit cuts them short.
    pub fn read(
        call: &Call<'_>,
        content_type: &[u8],
        body: &[u8],
        tokens: usize,
    ) -> Result<Self, ClientError> {
        let (model, task) = match call.operation.body_kind() {
            BodyKind::Json => read_json(&call.operation, body, tokens)?,
            BodyKind::Multipart => read_form(&call.operation, content_type, body, tokens)?,
            BodyKind::None => match &call.operation {
                Operation::Model(name) => (name.clone().into_owned(), Task::Model),
                _ => (String::new(), Task::Models),
            },
        };
        let prompt_tokens = (body.len() / 4).max(1);
        Ok(Self { dialect: call.dialect, task, model, prompt_tokens })
    }
}

fn read_json(
    operation: &Operation<'_>,
    body: &[u8],
    tokens: usize,
) -> Result<(String, Task), ClientError> {
    let mut scanner = json::Scanner::new();
    let outcome = scanner.feed(body).and_then(|()| scanner.finish());
    let found = outcome.map_err(|fault| ClientError::from(&fault))?;
    let text = |form| Task::Text(read_text(form, &found, body, tokens));
    let task = match operation {
        Operation::ChatCompletions => text(TextForm::Chat),
        Operation::Completions => text(TextForm::Completion),
        Operation::Responses => text(TextForm::Response),
        Operation::Messages => text(TextForm::Message),
        Operation::CountTokens => Task::CountTokens,
        Operation::Embeddings => read_embeddings(&parsed(body)?)?,
        Operation::Rerank => read_rerank(&parsed(body)?)?,
        Operation::Speech => read_speech(&parsed(body)?)?,
        Operation::ImageGenerations => {
            let count = number(&parsed(body)?, "n", 1, IMAGES_MAX)?;
            Task::Images { count }
        }
        Operation::Transcriptions
        | Operation::Translations
        | Operation::ImageEdits
        | Operation::Models
        | Operation::Model(_) => {
            return Err(ClientError::new(ErrorKind::BadRequest, "This call takes no JSON."));
        }
    };
    Ok((found.model.to_owned(), task))
}

fn read_form(
    operation: &Operation<'_>,
    content_type: &[u8],
    body: &[u8],
    tokens: usize,
) -> Result<(String, Task), ClientError> {
    let outcome = multipart::Boundary::of_content_type(content_type);
    let boundary = outcome.map_err(|fault| ClientError::from(&fault))?;
    let mut scanner = multipart::Scanner::new(&boundary);
    let outcome = scanner.feed(body).and_then(|()| scanner.finish());
    let found = outcome.map_err(|fault| ClientError::from(&fault))?;
    let task = match operation {
        Operation::ImageEdits => Task::Images { count: 1 },
        _ => Task::Transcription { tokens, stream: found.stream },
    };
    Ok((found.model.to_owned(), task))
}

fn read_text(form: TextForm, found: &json::Found<'_>, body: &[u8], tokens: usize) -> Text {
    let limit = found.max_tokens.and_then(|limit| usize::try_from(limit).ok());
    let options = found.stream_options.clone().and_then(|span| body.get(span));
    let options = options.and_then(|options| serde_json::from_slice::<Value>(options).ok());
    Text {
        form,
        tokens: limit.map_or(tokens, |limit| limit.min(tokens)),
        is_cut: limit.is_some_and(|limit| limit < tokens),
        stream: found.stream,
        include_usage: options.is_some_and(|options| options["include_usage"] == true),
    }
}

fn read_embeddings(body: &Value) -> Result<Task, ClientError> {
    let inputs = match &body["input"] {
        text @ Value::String(_) => vec![hash(text)],
        Value::Array(tokens) if tokens.first().is_some_and(Value::is_number) => {
            vec![hash(&body["input"])]
        }
        Value::Array(inputs) if !inputs.is_empty() => inputs.iter().map(hash).collect(),
        _ => return Err(wrong("input", "must be a text, or an array with something in it")),
    };
    let dimensions = number(body, "dimensions", DIMENSIONS, NUMBERS_MAX / inputs.len().max(1))?;
    let base64 = body["encoding_format"] == "base64";
    Ok(Task::Embeddings { inputs, dimensions, base64 })
}

fn read_rerank(body: &Value) -> Result<Task, ClientError> {
    let documents = body["documents"].as_array().map(Vec::len);
    let documents = documents.ok_or_else(|| wrong("documents", "must be an array"))?;
    let top = number(body, "top_n", documents.max(1), usize::MAX)?;
    Ok(Task::Rerank { results: top.min(documents) })
}

fn read_speech(body: &Value) -> Result<Task, ClientError> {
    match body["response_format"].as_str() {
        None | Some("mp3") => Ok(Task::Speech(SpeechFormat::Mp3)),
        Some("wav") => Ok(Task::Speech(SpeechFormat::Wav)),
        Some("pcm") => Ok(Task::Speech(SpeechFormat::Pcm)),
        Some(_) => Err(wrong("response_format", "must be mp3, wav or pcm here")),
    }
}

/// Of a body that the scanner has passed; what is left are numbers beyond the range of f64 and the
/// last level of nesting.
fn parsed(body: &[u8]) -> Result<Value, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::new(ErrorKind::BadRequest, format!("The body: {error}.")))
}

/// A member that is a number from 1 to `max`, or `default` when it is absent or null.
fn number(
    body: &Value,
    member: &'static str,
    default: usize,
    max: usize,
) -> Result<usize, ClientError> {
    if body[member].is_null() {
        return Ok(default);
    }
    let number = body[member].as_u64().and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| wrong(member, &format!("must be a number from 1 to {max}")))
}

fn wrong(member: &'static str, what: &str) -> ClientError {
    ClientError {
        kind: ErrorKind::BadRequest,
        message: format!("`{member}` {what}."),
        param: Some(member),
    }
}

/// FNV-1a over the value's text.
fn hash(value: &Value) -> u64 {
    let text = value.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str, body: &str) -> Result<Request, ClientError> {
        let call = Call::read("POST", path, false).unwrap();
        Request::read(&call, b"application/json", body.as_bytes(), 20)
    }

    fn text(path: &str, body: &str) -> Text {
        match read(path, body).unwrap().task {
            Task::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_limit_below_what_the_model_says_cuts_it() {
        let chat = |body| {
            let text = text("/v1/chat/completions", body);
            (text.tokens, text.is_cut)
        };
        assert_eq!(chat(r#"{"model":"m"}"#), (20, false));
        assert_eq!(chat(r#"{"model":"m","max_tokens":20}"#), (20, false));
        assert_eq!(chat(r#"{"model":"m","max_completion_tokens":19}"#), (19, true));
        assert_eq!(chat(r#"{"model":"m","max_tokens":0}"#), (0, true));
    }

    #[test]
    fn usage_in_a_stream_is_asked_for() {
        let body = |options| format!(r#"{{"model":"m","stream":true,"stream_options":{options}}}"#);
        let include = |options| text("/v1/chat/completions", &body(options)).include_usage;
        assert!(include(r#"{"include_usage":true}"#));
        assert!(!include(r#"{"include_usage":false}"#));
        assert!(!include("{}"));
        assert!(!include("null"));
    }

    #[test]
    fn the_inputs_of_an_embeddings_request_are_counted() {
        let inputs = |input: &str| {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            match read("/v1/embeddings", &body) {
                Ok(Request { task: Task::Embeddings { inputs, .. }, .. }) => Some(inputs.len()),
                _ => None,
            }
        };
        assert_eq!(inputs(r#""text""#), Some(1));
        assert_eq!(inputs(r#"["a","b"]"#), Some(2));
        assert_eq!(inputs("[1,2,3]"), Some(1));
        assert_eq!(inputs("[[1,2],[3],[4]]"), Some(3));
        assert_eq!(inputs("[]"), None);
        assert_eq!(inputs("null"), None);
    }

    #[test]
    fn an_answer_is_bounded() {
        let refused = |path, body: &str| read(path, body).unwrap_err();
        let two =
            format!(r#"{{"model":"m","input":["a","b"],"dimensions":{}}}"#, NUMBERS_MAX / 2 + 1);
        assert_eq!(refused("/v1/embeddings", &two).param, Some("dimensions"));
        let images = r#"{"model":"m","n":11}"#;
        assert_eq!(refused("/v1/images/generations", images).param, Some("n"));
        let zero = r#"{"model":"m","documents":["a"],"top_n":0}"#;
        assert_eq!(refused("/v1/rerank", zero).param, Some("top_n"));
    }

    #[test]
    fn a_call_that_the_gateway_would_refuse_is_refused() {
        let error = read("/v1/chat/completions", r#"{"model":"a","model":"b"}"#).unwrap_err();
        assert_eq!((error.kind, error.param), (ErrorKind::BadRequest, Some("model")));
        let call = Call::read("POST", "/v1/audio/transcriptions", false).unwrap();
        let error = Request::read(&call, b"application/json", b"{}", 20).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnsupportedMediaType);
    }
}
