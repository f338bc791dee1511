//! One request and its response: the phases, in order.
//!
//! route → identify → admit → understand (AI) → reserve → attempt → relay → settle → record.
//! ARCHITECTURE.md tells them in "Life of a request". Identify and reserve have nothing to do yet.

use std::rc::Rc;

use super::attempts::Attempts;
use super::client_address::{ClientAddress, ClientFields};
use super::downstream::{After, Downstream};
use super::error::ExchangeError;
use super::forward::{ClusterRequest, Framing};
use super::record::Record;
use super::route::Question;
use super::scratch::Scratch;
use super::security_fields::SecurityFields;
use super::settings::{Action, HeaderEdits, Route, StaticResponse};
use super::shared::Hold;
use super::sticky::Sticky;
use super::view::View;
use crate::ai::call::Dialect;
use crate::ai::stream::FirstEvent;
use crate::http::authority::Authority;
use crate::http::field_name::FieldName;
use crate::http::h1::{BodyDecoder, BodyEncoder, HeadLimits, TargetForm};
use crate::http::message::BodyLength;
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::target;
use crate::runtime::clock::Instant;
use crate::telemetry::record::Outcome;

/// A request that is being carried out on a client's connection.
pub(super) struct Exchange<'c> {
    pub(super) downstream: &'c mut Downstream,
    /// The rules from the first byte to the last, whatever is reloaded meanwhile.
    pub(super) view: Rc<View>,
    pub(super) scratch: &'c mut Scratch,
    pub(super) record: Record,
    pub(super) client: ClientAddress,
    /// How much of the request body is still to come.
    pub(super) body: BodyDecoder,
    /// Content bytes that the body may still have.
    pub(super) body_allowance: u64,
    /// What a held body has taken from the instance's allowance.
    pub(super) holds: Vec<Hold>,
    /// The client has been told to go on with its body.
    pub(super) continued: bool,
    /// Whether the connection is kept when all goes well.
    pub(super) keep_alive: bool,
    /// The endpoint has been asked for another protocol on the client's behalf.
    pub(super) asks_to_switch: bool,
    /// Set on AI routes: errors are told in it.
    pub(super) dialect: Option<Dialect>,
    pub(super) first_event: FirstEvent,
    pub(super) attempts: Attempts,
    /// When the whole exchange must have ended.
    pub(super) total_until: Option<Instant>,
    /// Index of the connection's listener in this view's settings; the first one if it is gone.
    listener: usize,
    head_is_read: bool,
}

impl<'c> Exchange<'c> {
    /// Begins with the first byte of a request at hand.
    pub(super) fn begin(downstream: &'c mut Downstream, scratch: &'c mut Scratch) -> Self {
        let worker = &downstream.worker;
        let view = worker.view();
        let listener = view.listener(downstream.listener());
        Self {
            scratch,
            record: Record::new(worker.core.now()),
            client: ClientAddress::stranger(downstream.client.peer),
            body: BodyDecoder::default(),
            body_allowance: 0,
            holds: Vec::new(),
            continued: false,
            asks_to_switch: false,
            dialect: None,
            first_event: FirstEvent::default(),
            attempts: Attempts::default(),
            total_until: None,
            keep_alive: listener.is_some(),
            listener: listener.map_or(0, |(index, _)| index),
            head_is_read: false,
            view,
            downstream,
        }
    }

    pub(super) async fn run(mut self) -> After {
        self.downstream.worker.metrics.requests.inc();
        let outcome = self.carry_out().await;
        self.conclude(outcome).await
    }

    /// For a request that was found wanting before its head could be read here.
    pub(super) async fn refuse(self, refusal: Refusal) -> After {
        self.downstream.worker.metrics.requests.inc();
        self.conclude(Err(refusal.into())).await
    }

    async fn conclude(mut self, outcome: Result<Outcome, ExchangeError>) -> After {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                if matches!(error, ExchangeError::OverLimit(_)) {
                    self.scratch.held.give_back();
                }
                self.record.fail(&error);
                return self.rescue(error).await;
            }
        };
        self.record.outcome = Some(outcome);
        self.after().await
    }

    async fn carry_out(&mut self) -> Result<Outcome, ExchangeError> {
        self.read_head().await?;
        let view = Rc::clone(&self.view);
        let route = self.route(&view)?;
        self.admit(route)?;
        match &route.action {
            Action::Cluster(cluster) => self.proxy(view.cluster(*cluster), route).await,
            Action::Ops(_) => self.proxy(view.ops(), route).await,
            Action::Ai => self.call().await,
            Action::Respond(response) => self.respond(response).await,
            Action::Redirect(redirect) => self.redirect(route, redirect).await,
        }
    }

    /// Receives until the head is whole; copies it, so that it outlives the receive buffer.
    async fn read_head(&mut self) -> Result<(), ExchangeError> {
        let view = Rc::clone(&self.view);
        let listener = &view.snapshot.settings.listeners[self.listener];
        let limits = HeadLimits { bytes: listener.limits.head, fields: listener.limits.headers };
        self.downstream.link.deadline.set(listener.timeouts.request_head);
        while !self.scratch.request.parse(self.downstream.input.bytes(), &limits)? {
            match self.downstream.receive().await {
                Ok(true) => {}
                Ok(false) => return Err(Refusal::HeadIncomplete.into()),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    return Err(Refusal::HeadTimeout.into());
                }
                Err(_) => return Err(Refusal::HeadIncomplete.into()),
            }
        }
        self.head_is_read = true;
        let len = self.scratch.request.len;
        self.scratch.head.clear();
        self.scratch.head.extend_from_slice(&self.downstream.input.bytes()[..len]);
        self.downstream.input.consume(len);
        self.record.bytes_in += len as u64;
        let now = self.downstream.worker.core.now();
        self.record.head_ns = Some(now.nanos_since(self.record.began));
        let request = &self.scratch.request;
        if !listener.trusted_proxies.is_empty() {
            let (peer, trusted) = (self.downstream.client.peer, &listener.trusted_proxies);
            self.client = ClientAddress::find(peer, trusted, &self.scratch.head, &request.fields);
        }
        self.body = self.downstream.link.carrier.decoder(request.body);
        self.body_allowance = listener.limits.body;
        self.keep_alive &= request.keep_alive && !self.downstream.worker.is_draining();
        Ok(())
    }

    fn route<'v>(&mut self, view: &'v View) -> Result<&'v Route, ExchangeError> {
        let Scratch { head, request, path, host, .. } = &mut *self.scratch;
        let is_path = request.form != TargetForm::Asterisk;
        if !is_path || !target::normalise(request.path.of(head), path)? {
            path.clear();
            path.extend_from_slice(request.path.of(head));
        }
        if path.is_empty() {
            path.push(b'/');
        }
        let authority = Authority::parse(request.authority.of(head));
        host.clear();
        host.extend_from_slice(authority.map_or(&b""[..], |authority| authority.host));
        host.make_ascii_lowercase();
        let question =
            Question { listener: self.listener, host, path, method: request.method_text.of(head) };
        let field = |name: &str| request.get(head, name);
        let found = view.snapshot.routes.find(&question, field);
        self.record.route = found;
        found.map(|index| view.snapshot.routes.get(index)).ok_or(ExchangeError::NoRoute)
    }

    async fn respond(&mut self, response: &StaticResponse) -> Result<Outcome, ExchangeError> {
        self.keep_alive &= self.keeps_after_answer();
        self.start_answer(response.status);
        for (name, value) in &response.headers {
            self.answer_field(name, value.as_bytes());
        }
        self.finish_answer(response.body.as_bytes()).await?;
        Ok(Outcome::Answered)
    }

    /// Writes the request head for an endpoint of a cluster into `scratch.out`.
    pub(super) fn write_cluster_request(&mut self, route: &Route) {
        self.asks_to_switch = self.asks_to_switch_on(route);
        let cluster = self.record.cluster.as_deref();
        let sticky = cluster.and_then(|cluster| cluster.sticky.as_deref());
        let Scratch { head, request, path, out, .. } = &mut *self.scratch;
        let (new_prefix, rest) = route.change_prefix(path);
        out.clear();
        ClusterRequest {
            bytes: head,
            head: request,
            path: rest,
            new_prefix,
            framing: Framing::of_request(request.body),
            certificate: self.downstream.client.certificate.as_deref(),
            client: ClientFields {
                client: &self.client,
                authority: request.authority.of(head),
                scheme: if self.downstream.client.is_private { "https" } else { "http" },
                bytes: head,
                fields: &request.fields,
            },
            edits: &route.request_headers,
            hidden_cookie: sticky.and_then(Sticky::hidden_name),
            expect: request.expects_continue && !self.body.is_ended(),
            upgrade: self.asks_to_switch,
        }
        .write(out);
    }

    pub(super) fn response_edits(view: &View, route: Option<usize>) -> &HeaderEdits {
        let route = route.map(|route| view.snapshot.routes.get(route));
        route.map_or(HeaderEdits::none(), |route| &route.response_headers)
    }

    /// Which of these fields the route wants on its responses.
    pub(super) fn security_fields(&self) -> SecurityFields {
        let route = self.record.route.map(|route| self.view.snapshot.routes.get(route));
        match route.is_some_and(|route| route.security_headers) {
            false => SecurityFields::None,
            true if self.is_private() => SecurityFields::OverTls,
            true => SecurityFields::OverHttp,
        }
    }

    /// Whether the client speaks TLS, with us or with a trusted proxy in front.
    fn is_private(&self) -> bool {
        let Scratch { head, request, .. } = &*self.scratch;
        let proto = request.field(FieldName::XForwardedProto);
        self.client.is_told_by_trusted()
            && proto.is_some_and(|field| field.value.of(head) == b"https")
    }

    /// Nobody knows any more where the next request begins: this one is the connection's last.
    pub(super) fn lose_place(&mut self) {
        self.keep_alive = false;
        self.body = BodyDecoder::new(BodyLength::UntilClose);
    }

    /// How the request's content goes out.
    pub(super) fn request_encoder(&self) -> BodyEncoder {
        Framing::of_request(self.scratch.request.body).encoder()
    }

    /// Notices the first event of a streamed answer to a call.
    pub(super) fn notice_event(&mut self, bytes: &[u8], content: &[Span]) {
        if !self.record.streamed || self.record.model.is_none() {
            return;
        }
        if content.iter().any(|span| self.first_event.ends_in(span.of(bytes))) {
            let now = self.downstream.worker.core.now();
            self.record.first_event_ns = Some(now.nanos_since(self.record.began));
        }
    }

    pub(super) fn listener_index(&self) -> usize {
        self.listener
    }

    pub(super) fn listener(&self) -> &super::settings::Listener {
        &self.view.snapshot.settings.listeners[self.listener]
    }

    /// Whether a head was understood: without one nothing can be said about what follows.
    pub(super) fn has_head(&self) -> bool {
        self.head_is_read
    }

    /// The exchange went well: what becomes of the connection.
    pub(super) async fn after(&mut self) -> After {
        if self.downstream.link.carrier.is_multiplexed() {
            // The next request has a way of its own; this one's rest is in nobody's.
            return if self.body.is_ended() { After::Close } else { After::Linger };
        }
        // Without a connection to keep, the rest of the body need not be waited for.
        let rest_is_read = self.body.is_ended() || self.keep_alive && self.discard_body().await;
        if self.keep_alive && rest_is_read {
            return After::Keep;
        }
        // While draining, it is this side that ends what the client may have meant to go on with.
        let surprising = !rest_is_read || self.downstream.worker.is_draining();
        if surprising { After::Linger } else { After::Close }
    }
}
