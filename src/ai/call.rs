//! Which operation of the AI API a request asks for, from its method and path.

use std::borrow::Cow;

/// A wire format that clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
}

/// One operation of the AI API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    ChatCompletions,
    Completions,
    Embeddings,
    Responses,
    Messages,
    /// How many LLM tokens a message would be.
    CountTokens,
    Transcriptions,
    Translations,
    Speech,
    ImageGenerations,
    ImageEdits,
    Rerank,
    Models,
    /// One model by name, percent-encoding undone.
    Model(Cow<'a, str>),
}

/// How the body of a call is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    Json,
    /// multipart/form-data.
    Multipart,
    None,
}

/// A request that is understood as far as its head goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    pub operation: Operation<'a>,
    /// The client's dialect: answers made here are in its shapes.
    pub dialect: Dialect,
}

/// Why a request is no call, and the dialect to say it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotACall {
    pub dialect: Dialect,
    pub reason: NotACallReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotACallReason {
    /// No operation has this path.
    UnknownPath,
    /// The operation has this method only.
    WrongMethod { allow: &'static str },
}

impl<'a> Call<'a> {
    /// Reads `path`, normalised and without its query. `anthropic_version` says whether the
    /// request has a field `anthropic-version`, which only Anthropic's clients send.
    pub fn read(method: &str, path: &'a str, anthropic_version: bool) -> Result<Self, NotACall> {
        let operation = unversioned(path).and_then(Operation::at);
        let is_anthropic = matches!(
            (&operation, anthropic_version),
            (Some(Operation::Messages | Operation::CountTokens), _)
                | (None | Some(Operation::Models | Operation::Model(_)), true)
        );
        let dialect = if is_anthropic { Dialect::Anthropic } else { Dialect::OpenAi };
        let refuse = |reason| NotACall { dialect, reason };
        let operation = operation.ok_or(refuse(NotACallReason::UnknownPath))?;
        match operation.method() {
            allow if allow == method => Ok(Self { operation, dialect }),
            allow => Err(refuse(NotACallReason::WrongMethod { allow })),
        }
    }
}

impl<'a> Operation<'a> {
    /// The operation whose path, behind the version, is `path`.
    fn at(path: &'a str) -> Option<Self> {
        match path {
            "/chat/completions" => Some(Self::ChatCompletions),
            "/completions" => Some(Self::Completions),
            "/embeddings" => Some(Self::Embeddings),
            "/responses" => Some(Self::Responses),
            "/messages" => Some(Self::Messages),
            "/messages/count_tokens" => Some(Self::CountTokens),
            "/audio/transcriptions" => Some(Self::Transcriptions),
            "/audio/translations" => Some(Self::Translations),
            "/audio/speech" => Some(Self::Speech),
            "/images/generations" => Some(Self::ImageGenerations),
            "/images/edits" => Some(Self::ImageEdits),
            "/rerank" => Some(Self::Rerank),
            "/models" => Some(Self::Models),
            _ => {
                // Names such as `meta-llama/Llama-3` have slashes of their own.
                let name = percent_decoded(path.strip_prefix("/models/")?)?;
                (!name.is_empty()).then_some(Self::Model(name))
            }
        }
    }

    /// What follows the base URL of an endpoint in the operation's own dialect. OpenAI's base URL
    /// ends in its version, Anthropic's has none. `None` for what is answered here.
    pub fn upstream_path(&self) -> Option<&'static str> {
        match self {
            Self::ChatCompletions => Some("/chat/completions"),
            Self::Completions => Some("/completions"),
            Self::Embeddings => Some("/embeddings"),
            Self::Responses => Some("/responses"),
            Self::Messages => Some("/v1/messages"),
            Self::CountTokens => Some("/v1/messages/count_tokens"),
            Self::Transcriptions => Some("/audio/transcriptions"),
            Self::Translations => Some("/audio/translations"),
            Self::Speech => Some("/audio/speech"),
            Self::ImageGenerations => Some("/images/generations"),
            Self::ImageEdits => Some("/images/edits"),
            Self::Rerank => Some("/rerank"),
            Self::Models | Self::Model(_) => None,
        }
    }

    /// The dialect that an endpoint must speak to get this call unchanged.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Messages | Self::CountTokens => Dialect::Anthropic,
            _ => Dialect::OpenAi,
        }
    }

    pub fn body_kind(&self) -> BodyKind {
        match self {
            Self::Transcriptions | Self::Translations | Self::ImageEdits => BodyKind::Multipart,
            Self::Models | Self::Model(_) => BodyKind::None,
            _ => BodyKind::Json,
        }
    }

    fn method(&self) -> &'static str {
        match self {
            Self::Models | Self::Model(_) => "GET",
            _ => "POST",
        }
    }
}

/// What follows `/v1` or `/api/v1`.
fn unversioned(path: &str) -> Option<&str> {
    path.strip_prefix("/api").unwrap_or(path).strip_prefix("/v1")
}

/// `None` for a broken escape and for what is not UTF-8.
fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            byte => byte,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &str, path: &'static str) -> Result<Call<'static>, NotACall> {
        Call::read(method, path, false)
    }

    #[test]
    fn every_operation_is_found_under_both_prefixes() {
        let paths = [
            ("/chat/completions", Operation::ChatCompletions),
            ("/completions", Operation::Completions),
            ("/embeddings", Operation::Embeddings),
            ("/responses", Operation::Responses),
            ("/messages", Operation::Messages),
            ("/messages/count_tokens", Operation::CountTokens),
            ("/audio/transcriptions", Operation::Transcriptions),
            ("/audio/translations", Operation::Translations),
            ("/audio/speech", Operation::Speech),
            ("/images/generations", Operation::ImageGenerations),
            ("/images/edits", Operation::ImageEdits),
            ("/rerank", Operation::Rerank),
        ];
        for (path, operation) in paths {
            for prefix in ["/v1", "/api/v1"] {
                let path = format!("{prefix}{path}");
                assert_eq!(Call::read("POST", &path, false).unwrap().operation, operation);
            }
        }
        assert_eq!(read("GET", "/v1/models").unwrap().operation, Operation::Models);
    }

    #[test]
    fn the_path_upstream_follows_the_base_url_of_the_dialect() {
        let path = |path| read("POST", path).unwrap().operation.upstream_path();
        assert_eq!(path("/api/v1/chat/completions"), Some("/chat/completions"));
        assert_eq!(path("/v1/messages"), Some("/v1/messages"));
    }

    #[test]
    fn a_model_name_may_hold_slashes_and_escapes() {
        let name = |path| read("GET", path).map(|call| call.operation);
        let model = |name| Ok(Operation::Model(Cow::Borrowed(name)));
        assert_eq!(name("/v1/models/meta-llama/Llama-3"), model("meta-llama/Llama-3"));
        assert_eq!(name("/v1/models/llama3%3A8b%20x"), model("llama3:8b x"));
        for broken in ["/v1/models/", "/v1/models/a%4", "/v1/models/a%zz", "/v1/models/%ff"] {
            assert_eq!(name(broken).unwrap_err().reason, NotACallReason::UnknownPath);
        }
    }

    #[test]
    fn anything_else_is_unknown() {
        for path in [
            "",
            "/",
            "/v1",
            "/v1/",
            "/v1/chat",
            "/v1/chat/completions/",
            "/v1chat/completions",
            "/v2/chat/completions",
            "/api/models",
            "/api/api/v1/models",
            "/chat/completions",
        ] {
            let refused = read("POST", path).unwrap_err();
            assert_eq!(refused.reason, NotACallReason::UnknownPath, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_one() {
        let reason = |method, path| read(method, path).unwrap_err().reason;
        let allow = |allow| NotACallReason::WrongMethod { allow };
        assert_eq!(reason("GET", "/v1/chat/completions"), allow("POST"));
        assert_eq!(reason("DELETE", "/v1/models/gpt-4"), allow("GET"));
    }

    #[test]
    fn the_dialect_is_that_of_the_operation_or_else_of_the_version_field() {
        let dialect = |method, path, version| match Call::read(method, path, version) {
            Ok(call) => call.dialect,
            Err(refused) => refused.dialect,
        };
        assert_eq!(dialect("POST", "/v1/messages", false), Dialect::Anthropic);
        assert_eq!(dialect("GET", "/v1/messages", false), Dialect::Anthropic);
        assert_eq!(dialect("GET", "/v1/models", false), Dialect::OpenAi);
        assert_eq!(dialect("GET", "/v1/models", true), Dialect::Anthropic);
        assert_eq!(dialect("GET", "/v1/models/claude-3", true), Dialect::Anthropic);
        assert_eq!(dialect("POST", "/v1/nothing", true), Dialect::Anthropic);
        assert_eq!(dialect("POST", "/v1/nothing", false), Dialect::OpenAi);
        assert_eq!(dialect("POST", "/v1/chat/completions", true), Dialect::OpenAi);
    }
}
