//! AI calls: what is asked of which model, and how it goes on to an endpoint that serves it.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::attempt::Outgoing;
use super::carrier::Carrier;
use super::downstream::Downstream;
use super::error::{CallError, ExchangeError};
use super::exchange::Exchange;
use super::forward::{
    copy_fields, is_client_certificate, is_forwarding, replaces, write_field, write_number,
    write_set,
};
use super::settings::{self, ClusterTimeouts, HeaderEdits, Provider};
use super::upload::upstream_send_error;
use super::view::EndpointView;
use crate::ai::call::{BodyKind, Call as Understood, Dialect, NotACall, NotACallReason, Operation};
use crate::ai::error::{ClientError, ErrorKind};
use crate::ai::json::JsonFault;
use crate::ai::models::{self, Listed};
use crate::ai::multipart::{Boundary, MultipartFault};
use crate::ai::rewrite::Rename;
use crate::ai::service::Service;
use crate::ai::{json, multipart};
use crate::http::field_name::FieldName;
use crate::http::gzip::GzipFault;
use crate::http::refusal::Refusal;
use crate::nearest::nearest_few;
use crate::net::socket::Leave;
use crate::telemetry::record::Outcome;

/// Names suggested when a model is unknown.
const NEAR_NAMES: usize = 3;

/// An AI call that has been understood.
pub(super) struct Call {
    /// What follows an endpoint's base URL.
    path: &'static str,
    kind: BodyKind,
    pub(super) service: Service,
    /// What the endpoint must speak.
    dialect: Dialect,
    /// How the body was read, and so how the endpoint has to read it.
    content_type: Cow<'static, [u8]>,
    /// Where the model's name stands in the held body.
    model_span: Range<usize>,
}

/// Reads a body as it comes.
pub(super) enum Scanner {
    Json(Box<json::Scanner>),
    Multipart(Box<multipart::Scanner>),
}

impl Scanner {
    pub(super) fn feed(&mut self, piece: &[u8]) -> Result<(), CallError> {
        match self {
            Self::Json(scanner) => Ok(scanner.feed(piece)?),
            Self::Multipart(scanner) => Ok(scanner.feed(piece)?),
        }
    }
}

impl Call {
    pub(super) fn fits(&self, endpoint: &EndpointView) -> bool {
        endpoint.provider.as_ref().is_some_and(|provider| speaks(provider, self.dialect))
    }
}

impl Exchange<'_> {
    /// An exchange on an `ai` route.
    pub(super) async fn call(&mut self) -> Result<Outcome, ExchangeError> {
        self.dialect = Some(Dialect::OpenAi);
        let view = Rc::clone(&self.view);
        let path = std::mem::take(&mut self.scratch.path);
        let method = self.scratch.request.method_text.of(&self.scratch.head);
        let anthropic = self.scratch.request.get(&self.scratch.head, "anthropic-version").is_some();
        let text = (std::str::from_utf8(method), std::str::from_utf8(&path));
        let (Ok(method), Ok(path)) = text else {
            return Err(Refusal::PathInvalid.into());
        };
        let understood = Understood::read(method, path, anthropic).map_err(|not_a_call| {
            self.dialect = Some(not_a_call.dialect);
            ExchangeError::Call(not_a_call.into())
        })?;
        self.dialect = Some(understood.dialect);
        match understood.operation.upstream_path().zip(understood.operation.service()) {
            None => self.tell_models(&understood).await,
            Some((path, service)) => {
                let kind = understood.operation.body_kind();
                let dialect = understood.operation.dialect();
                self.check_length()?;
                let content_type = self.choose_scanner(kind)?;
                self.hold_body().await?;
                let (model_span, model) = self.understand()?;
                let call = Call { path, kind, service, dialect, content_type, model_span };
                self.record.model = Some(model);
                let cluster = view.cluster(view.snapshot.settings.models[model].cluster);
                if !cluster.endpoints.iter().any(|endpoint| call.fits(endpoint)) {
                    return Err(ExchangeError::Call(CallError::NotServed));
                }
                self.attempts(cluster, Outgoing::Call(&call)).await
            }
        }
    }

    /// Gets ready to read a body of this kind, and returns its content type in our words. The
    /// client's own may say more, such as a charset, than one reader looks at.
    fn choose_scanner(&mut self, kind: BodyKind) -> Result<Cow<'static, [u8]>, CallError> {
        if kind != BodyKind::Multipart {
            self.scratch.scanner = Some(Scanner::Json(Box::default()));
            return Ok(Cow::Borrowed(b"application/json"));
        }
        if self.scratch.request.fields.is_repeated(FieldName::ContentType) {
            // Two boundaries are two readings of one body.
            let error =
                ClientError::new(ErrorKind::BadRequest, "There is more than one Content-Type.");
            return Err(CallError::Found { error, allow: "" });
        }
        let content_type = self.scratch.request.field(FieldName::ContentType);
        let content_type = content_type.map_or(&b""[..], |f| f.value.of(&self.scratch.head));
        let boundary = Boundary::of_content_type(content_type)?;
        let scanner = multipart::Scanner::new(&boundary);
        self.scratch.scanner = Some(Scanner::Multipart(Box::new(scanner)));
        Ok(Cow::Owned(boundary.content_type()))
    }

    /// Where the held body names the model, and which of the configured ones that is.
    fn understand(&self) -> Result<(Range<usize>, usize), CallError> {
        match &self.scratch.scanner {
            None => Err(CallError::NotServed),
            Some(Scanner::Json(scanner)) => {
                let said = scanner.finish()?;
                Ok((said.model_span.clone(), self.model(said.model)?))
            }
            Some(Scanner::Multipart(scanner)) => {
                let said = scanner.finish()?;
                Ok((said.model_span.clone(), self.model(said.model)?))
            }
        }
    }

    fn model(&self, name: &str) -> Result<usize, CallError> {
        let models = &self.view.snapshot.models;
        models.get(name).copied().ok_or_else(|| CallError::UnknownModel {
            model: name.to_owned(),
            near: nearest_few(name, models.keys().map(String::as_str), NEAR_NAMES)
                .into_iter()
                .map(str::to_owned)
                .collect(),
        })
    }

    /// Sends the call in the endpoint's terms: its path, its credential, its name of the model.
    pub(super) async fn send_call(
        &mut self,
        call: &Call,
        endpoint: &EndpointView,
        upstream: &Carrier,
        timeouts: &ClusterTimeouts,
    ) -> Result<(), ExchangeError> {
        let Some(provider) = &endpoint.provider else { return Err(ExchangeError::NoEndpoint) };
        let rename = provider.model.as_deref().map(|name| {
            let span = call.model_span.clone();
            match call.kind {
                BodyKind::Multipart => Rename::in_multipart(span, name),
                BodyKind::Json | BodyKind::None => Rename::in_json(span, name),
            }
        });
        let length = self.scratch.body.len() as u64;
        let length = rename.as_ref().map_or(length, |rename| rename.length(length));
        self.set_deadline(timeouts.idle);
        self.write_call_head(call, provider, length);
        let Self { downstream, scratch, .. } = self;
        let body = scratch.body.as_slice();
        let pieces = match &rename {
            Some(rename) => rename.pieces(0, body),
            None => [body, b"", b""],
        };
        let pieces = [&scratch.out, pieces[0], pieces[1], pieces[2]];
        let Downstream { link, input, .. } = &mut **downstream;
        let mut sending = pin!(upstream.send_message(&pieces, Leave::WithTurn, &link.deadline));
        // A large body may take its time, in which the client may leave.
        poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(sent) => {
                Poll::Ready(sent.map(drop).map_err(|error| upstream_send_error(&error)))
            }
            Poll::Pending => link.poll_gone(input, cx).map(|()| Err(ExchangeError::DownstreamGone)),
        })
        .await
    }

    fn write_call_head(&mut self, call: &Call, provider: &Provider, length: u64) {
        let view = Rc::clone(&self.view);
        let edits = match self.record.route {
            Some(route) => &view.snapshot.routes.get(route).request_headers,
            None => HeaderEdits::none(),
        };
        let Self { scratch, .. } = self;
        let super::scratch::Scratch { head, request, out, .. } = &mut **scratch;
        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(provider.base_path.as_bytes());
        out.extend_from_slice(call.path.as_bytes());
        if let Some(query) = request.query {
            out.push(b'?');
            out.extend_from_slice(query.of(head));
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(provider.authority.as_bytes());
        out.extend_from_slice(b"\r\n");
        let own = |name: &[u8]| sets(provider, name);
        copy_fields(out, head, request.fields.as_slice(), edits, |field| {
            let name = field.name.of(head);
            !is_ours_to_say(field.known) && !tells_of_the_client(field.known, name) && !own(name)
        });
        out.extend_from_slice(b"content-length: ");
        write_number(out, length);
        out.extend_from_slice(b"\r\naccept-encoding: identity\r\n");
        if !replaces(edits, b"content-type") && !sets(provider, b"content-type") {
            write_field(out, "content-type", &call.content_type);
        }
        write_set(out, &without(edits, provider));
        for (name, value) in &provider.headers {
            write_field(out, name, value.as_bytes());
        }
        if let Some(key) = &provider.api_key {
            match provider.dialect {
                settings::Dialect::OpenAi => {
                    out.extend_from_slice(b"authorization: Bearer ");
                    out.extend_from_slice(key.0.as_bytes());
                    out.extend_from_slice(b"\r\n");
                }
                settings::Dialect::Anthropic => write_field(out, "x-api-key", key.0.as_bytes()),
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The models that there are, or one of them.
    async fn tell_models(&mut self, asked: &Understood<'_>) -> Result<Outcome, ExchangeError> {
        let view = Rc::clone(&self.view);
        let dialect = asked.dialect;
        let created = view.snapshot.created;
        let listed = |name| Listed { name, owned_by: "ringgate", created };
        let mut body = Vec::new();
        match &asked.operation {
            Operation::Model(name) => {
                let model = self.model(name)?;
                models::write_one(dialect, listed(&view.snapshot.model_names[model]), &mut body);
            }
            _ => {
                let names = view.snapshot.model_names.iter().map(String::as_str);
                models::write_list(dialect, names.map(listed), &mut body);
            }
        }
        self.keep_alive &= self.keeps_after_answer();
        self.start_answer(200);
        self.answer_field("content-type", b"application/json");
        self.finish_answer(&body).await?;
        Ok(Outcome::Answered)
    }
}

fn speaks(provider: &Provider, dialect: Dialect) -> bool {
    matches!(
        (provider.dialect, dialect),
        (settings::Dialect::OpenAi, Dialect::OpenAi)
            | (settings::Dialect::Anthropic, Dialect::Anthropic)
    )
}

/// What a provider is never told by a client: whom it talks to, who the client is to us, where
/// it comes from, how the body is to be read (as it was here), and which coding the client would
/// take (the answer is read on its way).
fn is_ours_to_say(name: FieldName) -> bool {
    matches!(
        name,
        FieldName::Host
            | FieldName::ContentLength
            | FieldName::TransferEncoding
            | FieldName::ContentEncoding
            | FieldName::ContentType
            | FieldName::Expect
            | FieldName::Trailer
            | FieldName::AcceptEncoding
            | FieldName::Authorization
            | FieldName::XApiKey
            | FieldName::ApiKey
            | FieldName::XGoogApiKey
            | FieldName::Cookie
            | FieldName::Via
            | FieldName::Forwarded
            | FieldName::XForwardedFor
            | FieldName::XForwardedProto
            | FieldName::XForwardedHost
            | FieldName::XForwardedPort
            | FieldName::XForwardedPrefix
            | FieldName::XForwardedServer
            | FieldName::XRealIp
    )
}

/// Whether a field that the engine does not know says who the client is.
fn tells_of_the_client(known: FieldName, name: &[u8]) -> bool {
    const NAMES: [&[u8]; 3] = [b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"];
    known == FieldName::Other
        && (is_forwarding(known, name)
            || is_client_certificate(known, name)
            || NAMES.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

/// Whether the provider's own settings replace this field.
fn sets(provider: &Provider, name: &[u8]) -> bool {
    provider.headers.iter().any(|(set, _)| set.as_bytes().eq_ignore_ascii_case(name))
}

/// The route's fields, without what the endpoint's own headers say last.
fn without(edits: &HeaderEdits, provider: &Provider) -> HeaderEdits {
    let kept = |fields: &[(String, String)]| {
        let kept = fields.iter().filter(|(name, _)| !sets(provider, name.as_bytes()));
        kept.cloned().collect()
    };
    HeaderEdits { set: kept(&edits.set), add: kept(&edits.add), remove: Vec::new() }
}

impl From<JsonFault> for CallError {
    fn from(fault: JsonFault) -> Self {
        Self::Found { error: (&fault).into(), allow: "" }
    }
}

impl From<GzipFault> for CallError {
    fn from(fault: GzipFault) -> Self {
        Self::Found { error: (&fault).into(), allow: "" }
    }
}

impl From<MultipartFault> for CallError {
    fn from(fault: MultipartFault) -> Self {
        Self::Found { error: (&fault).into(), allow: "" }
    }
}

impl From<NotACall> for CallError {
    fn from(not_a_call: NotACall) -> Self {
        let allow = match not_a_call.reason {
            NotACallReason::WrongMethod { allow } => allow,
            NotACallReason::UnknownPath => "",
        };
        Self::Found { error: not_a_call.into(), allow }
    }
}
