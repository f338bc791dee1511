//! Answers made here: fixed responses, lists, and what becomes of an exchange that failed.

use std::sync::Arc;

use super::downstream::After;
use super::error::{CallError, ExchangeError};
use super::exchange::Exchange;
use super::forward::{
    Framing, replaces, write_connection, write_field, write_set, write_status_line,
};
use super::limits::fields;
use super::relay::downstream_error;
use super::request_id;
use super::settings::ErrorPage;
use crate::ai::error::{ClientError, ErrorKind};
use crate::http::field_name::FieldName;
use crate::http::message::Method;
use crate::http::refusal::Refusal;
use crate::policy::limit::Level;
use crate::telemetry::record::Outcome;

/// Of a request body that nobody wants, this much is read to keep the connection. Reading more
/// costs more than a new connection would.
const DISCARDED_MAX: u64 = 64 * 1024;

impl Exchange<'_> {
    /// Answers a request that could not be carried out, if an answer can still be given.
    pub(super) async fn rescue(&mut self, error: ExchangeError) -> After {
        self.count(&error);
        if self.record.status.is_some() {
            return self.cut(&error);
        }
        if matches!(error.outcome(), Outcome::DownstreamGone) || self.speaks_neither(&error) {
            return After::Close;
        }
        // After a finding about framing nobody knows where the next request begins.
        let certain = self.has_head()
            && !matches!(&error, ExchangeError::Refused(refusal) if refusal.is_about_framing());
        self.keep_alive &= certain && self.keeps_after_answer();
        self.set_answer_deadline();
        let body = self.error_body(&error);
        self.start_answer(error.status());
        self.answer_field("content-type", body.content_type.as_bytes());
        if let Some(pause) = error.retry_after() {
            self.answer_field("retry-after", pause.as_secs().max(1).to_string().as_bytes());
        }
        if let ExchangeError::OverLimit(over) = &error {
            self.answer_level(&over.level);
        }
        if error.status() == 405 {
            self.answer_field("allow", error.allowed_methods().as_bytes());
        }
        if self.finish_answer(&body.bytes).await.is_err() {
            return After::Close;
        }
        match self.keep_alive {
            true => self.after().await,
            false => After::Linger,
        }
    }

    fn count(&self, error: &ExchangeError) {
        let metrics = &self.downstream.worker.metrics;
        match error {
            ExchangeError::Refused(refusal) => metrics.refused.inc(refusal.index()),
            ExchangeError::UpstreamFault(fault) => metrics.upstream_faults.inc(fault.index()),
            ExchangeError::Shed(shed) => {
                if let Some(cluster) = &self.record.cluster {
                    cluster.series.rejected.inc(shed.reason.index());
                }
            }
            _ => {}
        }
    }

    /// What came is neither a request nor the preface of HTTP/2, on a connection where either was
    /// possible: an answer in HTTP/1 would be frames without sense to who meant the other
    /// (RFC 9113, 3.4).
    fn speaks_neither(&self, error: &ExchangeError) -> bool {
        // Inside TLS the two have agreed on one.
        let client = &self.downstream.client;
        !self.has_head()
            && !client.is_private
            && client.may_speak_http2()
            && matches!(error, ExchangeError::Refused(Refusal::VersionInvalid))
    }

    /// The response has begun and cannot be finished: the client must notice. Of one that has
    /// stopped reading, the kernel would keep what is not read, megabytes, as long as it likes.
    fn cut(&self, error: &ExchangeError) -> After {
        let is_stalled = matches!(error, ExchangeError::DownstreamStalled);
        self.downstream.link.carrier.cut(self.record.ends_by_close || is_stalled);
        After::Close
    }

    fn error_body(&mut self, error: &ExchangeError) -> Body {
        let Some(dialect) = self.dialect else {
            if let Some(page) = self.error_page(error.status()) {
                return Body { content_type: page.content_type, bytes: Arc::clone(&page.body) };
            }
            let text = format!("{}\n", error.explanation());
            return Body {
                content_type: "text/plain; charset=utf-8",
                bytes: text.as_bytes().into(),
            };
        };
        let mut id = [0; request_id::LENGTH];
        let id = self.record.id.get_or_make(&self.downstream.worker, &mut id);
        let id = std::str::from_utf8(id).ok();
        let mut bytes = Vec::new();
        client_error(error).write(dialect, id, &mut bytes);
        Body { content_type: "application/json", bytes: bytes.into() }
    }

    /// The route's page for this status, else the listener's.
    fn error_page(&self, status: u16) -> Option<&ErrorPage> {
        let route = self.record.route.map(|route| self.view.snapshot.routes.get(route));
        let own = route.and_then(|route| route.errors.of(status));
        own.or_else(|| self.listener().errors.of(status))
    }

    /// Writes the status line and the fields that every answer of ours has into `scratch.out`.
    pub(super) fn start_answer(&mut self, status: u16) {
        let worker = std::rc::Rc::clone(&self.downstream.worker);
        let now = worker.core.unix_nanos(worker.core.now());
        self.record.status = Some(status);
        let said = match self.has_head() {
            true => self.scratch.request.field(FieldName::XRequestId).copied(),
            false => None,
        };
        let out = &mut self.scratch.out;
        out.clear();
        write_status_line(out, status, reason(status).as_bytes());
        self.answer_field("date", worker.dates.borrow_mut().at(now));
        let mut made = [0; request_id::LENGTH];
        let made: &[u8] = match said {
            Some(_) => b"",
            None => self.record.id.get_or_make(&worker, &mut made),
        };
        let id = said.map_or(made.to_vec(), |field| field.value.of(&self.scratch.head).to_vec());
        self.answer_field("x-request-id", &id);
        if let Some(level) = self.scratch.held.level {
            self.answer_level(&level);
        }
    }

    /// How far a limit is used.
    fn answer_level(&mut self, level: &Level) {
        let ai = self.dialect.is_some();
        fields::write(level, ai, |name, value| self.answer_field(name, value));
    }

    /// A field of our own answer, unless the route sets or removes it.
    pub(super) fn answer_field(&mut self, name: &str, value: &[u8]) {
        let edits = Self::response_edits(&self.view, self.record.route);
        if !replaces(edits, name.as_bytes()) {
            write_field(&mut self.scratch.out, name, value);
        }
    }

    /// Ends the head in `scratch.out` and sends it with the body.
    pub(super) async fn finish_answer(&mut self, body: &[u8]) -> Result<(), ExchangeError> {
        let view = std::rc::Rc::clone(&self.view);
        let edits = Self::response_edits(&view, self.record.route);
        let has_content = self.scratch.request.method != Method::Head || !self.has_head();
        let out = &mut self.scratch.out;
        // With these there is no content, and nothing to say about it (RFC 9110, 8.6).
        if !matches!(self.record.status, Some(204 | 304)) {
            Framing::Length(body.len() as u64).write(out);
        }
        write_connection(out, self.scratch.request.version, self.keep_alive);
        write_set(out, edits);
        let mut security = Vec::new();
        self.security_fields().write(
            edits,
            |name| has_field(&self.scratch.out, name),
            &mut security,
        );
        self.scratch.out.extend_from_slice(&security);
        self.scratch.out.extend_from_slice(b"\r\n");
        let body = if has_content { body } else { b"" };
        let leave = self.leave();
        let Self { downstream, scratch, record, .. } = self;
        let sent = downstream.link.send_message(&[&scratch.out, body], leave).await;
        record.bytes_out += sent.map_err(|error| downstream_error(&error))?;
        Ok(())
    }

    /// Whether the rest of the request can be read, so that the connection can be kept.
    pub(super) fn keeps_after_answer(&self) -> bool {
        // Who waits for 100 (Continue) will not send the body after another answer, and then
        // again may: RFC 9110, 10.1.1. Only a close is certain.
        let waits = self.scratch.request.expects_continue && !self.continued;
        self.body.is_ended()
            || (!waits && self.body.left().is_none_or(|left| left <= DISCARDED_MAX))
    }

    /// Reads the rest of the request body and forgets it. `false` if that takes too much.
    pub(super) async fn discard_body(&mut self) -> bool {
        self.set_answer_deadline();
        let mut discarded = 0;
        while !self.body.is_ended() {
            if self.downstream.input.is_empty() {
                let more = self.downstream.receive().await;
                let carrier = &self.downstream.link.carrier;
                if !more.is_ok_and(|more| more || carrier.end(&mut self.body).is_ok()) {
                    return false;
                }
            }
            self.scratch.content.clear();
            let input = self.downstream.input.bytes();
            let Ok(decoded) = self.body.decode(input, 0, &mut self.scratch.content) else {
                return false;
            };
            discarded += decoded.consumed as u64;
            if discarded > DISCARDED_MAX {
                return false;
            }
            self.downstream.input.consume(decoded.consumed);
        }
        self.record.bytes_in += discarded;
        true
    }

    fn set_answer_deadline(&self) {
        self.downstream.link.deadline.set(self.listener().timeouts.request_body);
    }
}

struct Body {
    content_type: &'static str,
    bytes: Arc<[u8]>,
}

/// Whether a head that is written here has a field: its names are in lower case.
fn has_field(head: &[u8], name: &str) -> bool {
    let mut lines = head.split(|&byte| byte == b'\n');
    lines.any(|line| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b":")))
}

/// The error as an AI client is told.
fn client_error(error: &ExchangeError) -> ClientError {
    let kind = match error.status() {
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        405 => ErrorKind::MethodNotAllowed,
        408 => ErrorKind::RequestTimeout,
        413 => ErrorKind::TooLarge,
        415 => ErrorKind::UnsupportedMediaType,
        429 => ErrorKind::RateLimited,
        502 => ErrorKind::BadGateway,
        503 => ErrorKind::Unavailable,
        504 => ErrorKind::GatewayTimeout,
        _ => ErrorKind::BadRequest,
    };
    match error {
        ExchangeError::Call(CallError::UnknownModel { model, near }) => {
            ClientError::unknown_model(model, near)
        }
        ExchangeError::Call(CallError::Found { error, .. }) => error.clone(),
        _ => ClientError::new(kind, error.explanation()),
    }
}

/// RFC 9110, 15; and what is registered beside it.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        // A reason may be empty (RFC 9112, 4).
        _ => "",
    }
}

/// Findings after which the place of the next request is unknown.
trait AboutFraming {
    fn is_about_framing(&self) -> bool;
}

impl AboutFraming for Refusal {
    fn is_about_framing(&self) -> bool {
        // The body's length was known and it did not break a rule; only its owner was refused.
        !matches!(
            self,
            Self::BodyTooLarge
                | Self::PathEscapeInvalid
                | Self::PathSlashEncoded
                | Self::PathNulEncoded
                | Self::PathBackslash
                | Self::PathAboveRoot
                | Self::PathDotParameter
                | Self::PathInvalid
                | Self::AddressDenied
                | Self::WebSocketUnserved
                | Self::RedirectHostMissing
        )
    }
}
