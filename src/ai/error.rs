//! Error bodies in the client's dialect.
//!
//! The official SDKs choose their exception by the status; `type` and `code` are for people and for
//! programs that look closer.

use super::call::{Dialect, NotACall, NotACallReason};
use super::json::JsonFault;
use super::multipart::{MultipartFault, MultipartProblem};
use super::quote::push_quoted;
use crate::http::gzip::GzipFault;

/// What went wrong, as far as a client may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    BadRequest,
    /// No credential, or one that is not accepted.
    Unauthenticated,
    Forbidden,
    NotFound,
    ModelNotFound,
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    TooLarge,
    UnsupportedMediaType,
    RateLimited,
    Internal,
    BadGateway,
    /// No endpoint can take the call now.
    Unavailable,
    GatewayTimeout,
}

impl ErrorKind {
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::ModelNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::GatewayTimeout => 504,
        }
    }

    fn openai_type(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limit_error",
            Self::Internal | Self::BadGateway | Self::Unavailable | Self::GatewayTimeout => {
                "server_error"
            }
            _ => "invalid_request_error",
        }
    }

    fn openai_code(self) -> Option<&'static str> {
        match self {
            Self::BadRequest | Self::NotFound | Self::Internal => None,
            Self::Unauthenticated => Some("invalid_api_key"),
            Self::Forbidden => Some("permission_denied"),
            Self::ModelNotFound => Some("model_not_found"),
            Self::MethodNotAllowed => Some("method_not_allowed"),
            Self::RequestTimeout => Some("request_timeout"),
            Self::TooLarge => Some("request_too_large"),
            Self::UnsupportedMediaType => Some("unsupported_media_type"),
            Self::RateLimited => Some("rate_limit_exceeded"),
            Self::BadGateway => Some("bad_gateway"),
            Self::Unavailable => Some("service_unavailable"),
            Self::GatewayTimeout => Some("gateway_timeout"),
        }
    }

    fn anthropic_type(self) -> &'static str {
        match self {
            Self::BadRequest | Self::MethodNotAllowed | Self::UnsupportedMediaType => {
                "invalid_request_error"
            }
            Self::Unauthenticated => "authentication_error",
            Self::Forbidden => "permission_error",
            Self::NotFound | Self::ModelNotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::RateLimited => "rate_limit_error",
            Self::Internal | Self::BadGateway => "api_error",
            Self::Unavailable => "overloaded_error",
            Self::RequestTimeout | Self::GatewayTimeout => "timeout_error",
        }
    }
}

/// An error for a client: what, in its own words, and which parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientError {
    pub kind: ErrorKind,
    /// A sentence. Never holds upstream detail.
    pub message: String,
    /// The parameter at fault; Anthropic's shape has no place for it.
    pub param: Option<&'static str>,
}

impl ClientError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None }
    }

    /// No model has this name; `near` are the names that it may have been meant for, best first.
    pub fn unknown_model<N: AsRef<str>>(name: &str, near: &[N]) -> Self {
        let mut message = format!("The model `{name}` does not exist.");
        for (index, near_name) in near.iter().enumerate() {
            message.push_str(match index {
                0 => " Did you mean `",
                _ if index + 1 == near.len() => " or `",
                _ => ", `",
            });
            message.push_str(near_name.as_ref());
            message.push('`');
        }
        if !near.is_empty() {
            message.push('?');
        }
        Self { kind: ErrorKind::ModelNotFound, message, param: Some("model") }
    }

    /// Appends the body in `dialect`. Anthropic's shape repeats the `request_id`.
    pub fn write(&self, dialect: Dialect, request_id: Option<&str>, out: &mut Vec<u8>) {
        match dialect {
            Dialect::OpenAi => self.write_openai(out),
            Dialect::Anthropic => self.write_anthropic(request_id, out),
        }
    }

    fn write_openai(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"error\":{\"message\":");
        push_quoted(out, &self.message);
        out.extend_from_slice(b",\"type\":");
        push_quoted(out, self.kind.openai_type());
        out.extend_from_slice(b",\"param\":");
        push_quoted_or_null(out, self.param);
        out.extend_from_slice(b",\"code\":");
        push_quoted_or_null(out, self.kind.openai_code());
        out.extend_from_slice(b"}}");
    }

    fn write_anthropic(&self, request_id: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"type\":\"error\",\"error\":{\"type\":");
        push_quoted(out, self.kind.anthropic_type());
        out.extend_from_slice(b",\"message\":");
        push_quoted(out, &self.message);
        out.extend_from_slice(b"},\"request_id\":");
        push_quoted_or_null(out, request_id);
        out.push(b'}');
    }
}

fn push_quoted_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_quoted(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

impl From<&JsonFault> for ClientError {
    fn from(fault: &JsonFault) -> Self {
        Self {
            kind: ErrorKind::BadRequest,
            message: format!("The JSON body is not valid {fault}."),
            param: fault.param(),
        }
    }
}

impl From<&GzipFault> for ClientError {
    fn from(fault: &GzipFault) -> Self {
        Self::new(ErrorKind::BadRequest, format!("The body is not valid gzip {fault}."))
    }
}

impl From<&MultipartFault> for ClientError {
    fn from(fault: &MultipartFault) -> Self {
        let (kind, message) = match fault.problem {
            MultipartProblem::ContentType => (
                ErrorKind::UnsupportedMediaType,
                "The body must be multipart/form-data in UTF-8.".to_owned(),
            ),
            _ => (ErrorKind::BadRequest, format!("The form body is not valid {fault}.")),
        };
        Self { kind, message, param: fault.param() }
    }
}

impl From<NotACall> for ClientError {
    fn from(refused: NotACall) -> Self {
        match refused.reason {
            NotACallReason::UnknownPath => {
                Self::new(ErrorKind::NotFound, "There is no such operation.")
            }
            NotACallReason::WrongMethod { allow } => {
                let message = format!("This operation takes {allow} only.");
                Self::new(ErrorKind::MethodNotAllowed, message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Scanner;
    use super::*;
    use serde_json::{Value, json};

    fn body(error: &ClientError, dialect: Dialect, request_id: Option<&str>) -> Value {
        let mut out = Vec::new();
        error.write(dialect, request_id, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn an_unknown_model_is_told_with_near_names() {
        let error = ClientError::unknown_model("gtp-4", &["gpt-4"]);
        let expected = json!({"error": {
            "message": "The model `gtp-4` does not exist. Did you mean `gpt-4`?",
            "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }});
        assert_eq!(body(&error, Dialect::OpenAi, None), expected);

        let message = |near: &[&str]| ClientError::unknown_model("x", near).message;
        assert_eq!(message(&[]), "The model `x` does not exist.");
        let two = "The model `x` does not exist. Did you mean `a` or `b`?";
        assert_eq!(message(&["a", "b"]), two);
        let three = "The model `x` does not exist. Did you mean `a`, `b` or `c`?";
        assert_eq!(message(&["a", "b", "c"]), three);
    }

    #[test]
    fn anthropic_clients_get_their_own_shape() {
        let error = ClientError::new(ErrorKind::RateLimited, "Slow down.");
        let expected = json!({
            "type": "error",
            "error": {"type": "rate_limit_error", "message": "Slow down."},
            "request_id": "req-1",
        });
        assert_eq!(body(&error, Dialect::Anthropic, Some("req-1")), expected);
        assert_eq!(body(&error, Dialect::Anthropic, None)["request_id"], Value::Null);
    }

    #[test]
    fn a_fault_of_the_body_says_where_and_which_parameter() {
        let mut scanner = Scanner::new();
        let error = ClientError::from(&scanner.feed(b"{\"stream\":1}").unwrap_err());
        let expected = "The JSON body is not valid at byte 10: \
            `stream` must be a boolean or null, found a number.";
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::BadRequest, expected));
        assert_eq!(error.param, Some("stream"));

        let fault = MultipartFault { at: 0, problem: MultipartProblem::ContentType };
        assert_eq!(ClientError::from(&fault).kind, ErrorKind::UnsupportedMediaType);
    }

    #[test]
    fn what_a_client_sent_cannot_break_out_of_the_message() {
        let name = "\"}}\\\n\u{0}{";
        let error = ClientError::unknown_model(name, &[name]);
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let message = body(&error, dialect, Some(name))["error"]["message"].clone();
            assert_eq!(message, error.message);
        }
    }

    #[test]
    fn every_kind_has_its_status_and_type_in_both_dialects() {
        let kinds = [
            (ErrorKind::BadRequest, 400, "invalid_request_error"),
            (ErrorKind::Unauthenticated, 401, "authentication_error"),
            (ErrorKind::Forbidden, 403, "permission_error"),
            (ErrorKind::NotFound, 404, "not_found_error"),
            (ErrorKind::ModelNotFound, 404, "not_found_error"),
            (ErrorKind::MethodNotAllowed, 405, "invalid_request_error"),
            (ErrorKind::RequestTimeout, 408, "timeout_error"),
            (ErrorKind::TooLarge, 413, "request_too_large"),
            (ErrorKind::UnsupportedMediaType, 415, "invalid_request_error"),
            (ErrorKind::RateLimited, 429, "rate_limit_error"),
            (ErrorKind::Internal, 500, "api_error"),
            (ErrorKind::BadGateway, 502, "api_error"),
            (ErrorKind::Unavailable, 503, "overloaded_error"),
            (ErrorKind::GatewayTimeout, 504, "timeout_error"),
        ];
        for (kind, status, anthropic) in kinds {
            let openai = match status {
                429 => "rate_limit_error",
                400..500 => "invalid_request_error",
                _ => "server_error",
            };
            let error = ClientError::new(kind, "m");
            assert_eq!(kind.status(), status);
            assert_eq!(body(&error, Dialect::OpenAi, None)["error"]["type"], openai, "{kind:?}");
            let shown = body(&error, Dialect::Anthropic, None);
            assert_eq!(shown["error"]["type"], anthropic, "{kind:?}");
        }
    }
}
