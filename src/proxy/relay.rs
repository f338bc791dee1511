//! Bodies on their way: received here, sent there, one piece at a time.
//!
//! Nothing is received before the last piece has been sent, so a slow receiver slows its sender
//! by way of their sockets. Each received piece leaves at once.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::carrier::Carrier;
use super::downstream::{Link, Waited};
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::forward::{Framing, Response};
use super::framed::Framed;
use super::input::Input;
use super::security_fields::SecurityFields;
use super::settings::{ClusterTimeouts, HeaderEdits};
use super::upload::{PIECES_PER_TURN, Upload};
use crate::http::field_name::FieldName;
use crate::http::h1::{BodyDecoder, BodyEncoder, HeadLimits};
use crate::http::message::Version;
use crate::http::refusal::{Refusal, ResponseFault};
use crate::http::span::Span;
use crate::net::socket::Leave;
use crate::runtime::buffers::{BUFFER_BYTES, Chunk};
use crate::runtime::clock::Instant;
use crate::runtime::io::yield_now;

/// A response head may be larger than a request head: servers send policies and cookies.
const RESPONSE_LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 256 };

/// How long a client may be gone unnoticed on a connection that its exchange ends.
const WATCH_AFTER: Duration = Duration::from_millis(4);

/// Interim responses to one request. A server that sends more is not going to answer.
const INTERIM_MAX: usize = 16;

/// A response that has been passed on to its end.
pub(super) struct Relayed {
    /// Whether the upstream connection can carry another exchange.
    pub(super) reusable: bool,
}

impl Exchange<'_> {
    /// Relays the rest of the request and the whole response.
    pub(super) async fn relay(
        &mut self,
        upstream: &Carrier,
        timeouts: &ClusterTimeouts,
    ) -> Result<Relayed, ExchangeError> {
        if self.body.is_ended() {
            self.set_deadline(timeouts.first_byte);
            return self.relay_response(upstream, timeouts, true, &Cell::new(true)).await;
        }
        // Rare and long: its state is not worth a place in every connection's task.
        Box::pin(self.relay_both(upstream, timeouts)).await
    }

    /// Request body up and response down at the same time. The response may well come first, as
    /// when a server refuses an upload.
    async fn relay_both(
        &mut self,
        upstream: &Carrier,
        timeouts: &ClusterTimeouts,
    ) -> Result<Relayed, ExchangeError> {
        let link = Rc::clone(&self.downstream.link);
        let core = Rc::clone(&self.downstream.worker.core);
        let upload = Upload::take_from(self, timeouts.idle);
        // Until the request is sent, nobody owes an answer.
        self.set_deadline(None);
        let before_response = link.deadline.due();
        let total_until = self.total_until;
        let whole = Cell::new(false);
        let mut uploaded: Option<(Upload, Result<(), ExchangeError>)> = None;
        let outcome = {
            let mut uploading = pin!(upload.run(&link, upstream));
            let mut downloading = pin!(self.relay_response(upstream, timeouts, false, &whole));
            poll_fn(|cx| {
                if uploaded.is_none()
                    && let Poll::Ready((upload, outcome)) = uploading.as_mut().poll(cx)
                {
                    let failed = outcome.is_err();
                    whole.set(upload.is_done());
                    uploaded = Some((upload, outcome));
                    if failed {
                        return Poll::Ready(None);
                    }
                    if link.deadline.due() == before_response {
                        let now = core.now();
                        link.deadline.set_at(earliest(now, timeouts.first_byte, total_until));
                    }
                }
                // From the turn in which the upload ends: that is when watching has to begin.
                if let Some((upload, _)) = &mut uploaded
                    && upload.poll_gone(&link, cx).is_ready()
                {
                    return Poll::Ready(Some(Err(ExchangeError::DownstreamGone)));
                }
                downloading.as_mut().poll(cx).map(Some)
            })
            .await
        };
        let upload_failure = match uploaded {
            Some((upload, outcome)) => {
                upload.give_back(self);
                outcome.err()
            }
            // Dropped in its middle: what it had received is lost with it, and with that the
            // place where the body ends.
            None => {
                self.lose_place();
                None
            }
        };
        match (outcome, upload_failure) {
            (Some(relayed), _) => relayed
                .map(|relayed| Relayed { reusable: relayed.reusable && self.body.is_ended() }),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(ExchangeError::UpstreamClosed),
        }
    }

    /// `watch`: an end of the client's stream is looked for here, and means that nobody waits for
    /// the response any more. `whole`: whether the whole request has been sent on.
    async fn relay_response(
        &mut self,
        upstream: &Carrier,
        timeouts: &ClusterTimeouts,
        watch: bool,
        whole: &Cell<bool>,
    ) -> Result<Relayed, ExchangeError> {
        let mut received = Input::default();
        self.read_response_head(upstream, &mut received, timeouts, watch, whole).await?;
        let status = self.scratch.response.status;
        if self.attempts.probe.is_some() {
            self.judge_head(status);
        }
        if self.retries_status(status) {
            return Err(ExchangeError::RetriedStatus(status));
        }
        if self.scratch.response.status == 101 {
            // Rare and long, as above.
            return Box::pin(self.switch(upstream, received, timeouts)).await;
        }
        let arrived = self.downstream.worker.core.now();
        let mut decoder = upstream.decoder(self.scratch.response.body);
        let framing = self.write_response_head(&mut received, whole.get());
        let encoder = framing.encoder();
        let mut first = true;
        let mut pieces = 0;
        let mut full = false;
        loop {
            if first || !received.is_empty() {
                full = received.bytes().len() >= BUFFER_BYTES / 2;
                self.set_deadline(timeouts.idle);
                self.pass_on(&mut received, &mut decoder, encoder).await?;
            }
            if std::mem::take(&mut first) {
                let sent = self.downstream.worker.core.precise_now();
                self.record.overhead_ns += sent.nanos_since(arrived);
                self.record.answered = Some(sent);
            }
            if decoder.is_ended() {
                break;
            }
            if !received.is_empty() {
                continue;
            }
            pieces += 1;
            if u32::is_multiple_of(pieces, PIECES_PER_TURN) {
                yield_now().await;
            }
            self.set_deadline(timeouts.idle);
            match self.downstream.wait_for(upstream, watch, !full).await {
                Waited::Received(Some(chunk)) => received.push(chunk),
                Waited::Received(None) => {
                    upstream.end(&mut decoder).map_err(|_| ExchangeError::UpstreamCut)?;
                    self.end_body(encoder, decoder.trailers()).await?;
                    break;
                }
                Waited::Broken => return Err(ExchangeError::UpstreamCut),
                Waited::DownstreamGone => return Err(ExchangeError::DownstreamGone),
                Waited::TimedOut => return Err(self.timed_out(ExchangeError::IdleTimeout)),
            }
        }
        let reusable = self.scratch.response.keep_alive && received.is_empty();
        Ok(Relayed { reusable })
    }

    /// Receives until the head of the final response is whole, passing interim ones on.
    async fn read_response_head(
        &mut self,
        upstream: &Carrier,
        received: &mut Input,
        timeouts: &ClusterTimeouts,
        watch: bool,
        whole: &Cell<bool>,
    ) -> Result<(), ExchangeError> {
        let sent_at = self.downstream.worker.core.now();
        let method = self.scratch.request.method;
        for _ in 0..=INTERIM_MAX {
            while !self.scratch.response.parse(received.bytes(), &RESPONSE_LIMITS, method)? {
                let chunk = self.more_of_head(upstream, received, watch).await?;
                if self.record.first_byte_ns.is_none() {
                    let waited = self.downstream.worker.core.now().nanos_since(sent_at);
                    self.record.first_byte_ns = Some(waited);
                }
                received.push(chunk);
            }
            if !self.scratch.response.is_interim() {
                return Ok(());
            }
            // While the request is still coming, nobody owes an answer.
            if whole.get() {
                self.set_deadline(timeouts.first_byte);
            }
            self.pass_interim_on(received).await?;
        }
        Err(ResponseFault(Refusal::InterimTooMany).into())
    }

    async fn more_of_head(
        &mut self,
        upstream: &Carrier,
        received: &Input,
        watch: bool,
    ) -> Result<Chunk, ExchangeError> {
        let waited = match watch && !self.keep_alive {
            true => self.wait_before_watching(upstream).await,
            false => self.downstream.wait_for(upstream, watch, true).await,
        };
        match waited {
            Waited::Received(Some(chunk)) => Ok(chunk),
            Waited::Received(None) | Waited::Broken if upstream.is_unprocessed() => {
                Err(ExchangeError::UpstreamRefused)
            }
            Waited::Received(None) | Waited::Broken if received.is_empty() => {
                Err(ExchangeError::UpstreamClosed)
            }
            Waited::Received(None) | Waited::Broken => {
                Err(ResponseFault(Refusal::HeadIncomplete).into())
            }
            Waited::DownstreamGone => Err(ExchangeError::DownstreamGone),
            Waited::TimedOut => Err(self.timed_out(ExchangeError::FirstByteTimeout)),
        }
    }

    /// On a connection that this exchange ends, no next request needs the receive that watches the
    /// client. Starting it and taking it back costs more than most upstreams take to answer.
    async fn wait_before_watching(&mut self, upstream: &Carrier) -> Waited {
        let deadline = &self.downstream.link.deadline;
        let due = deadline.due();
        deadline.set(Some(WATCH_AFTER));
        let waited = self.downstream.wait_for(upstream, false, true).await;
        self.downstream.link.deadline.set_at(due);
        match waited {
            Waited::TimedOut => self.downstream.wait_for(upstream, true, true).await,
            waited => waited,
        }
    }

    /// 100 (Continue), 103 (Early Hints) and the like. Clients of HTTP/1.0 know none of them.
    async fn pass_interim_on(&mut self, received: &mut Input) -> Result<(), ExchangeError> {
        let Self { scratch, downstream, record, .. } = self;
        if scratch.request.version == Version::Http11 {
            scratch.out.clear();
            let interim = Response {
                bytes: received.bytes(),
                head: &scratch.response,
                framing: Framing::None,
                version: Version::Http11,
                keep_alive: true,
                edits: HeaderEdits::none(),
                security: SecurityFields::None,
                cookie: None,
                level: None,
            };
            interim.write_interim(&mut scratch.out);
            let sent = downstream.link.send_interim(&scratch.out).await;
            record.bytes_out += sent.map_err(|error| downstream_error(&error))?;
        }
        received.consume(scratch.response.len);
        Ok(())
    }

    /// Writes the client's response head into `scratch.out`, and takes the upstream's off `received`.
    fn write_response_head(&mut self, received: &mut Input, request_is_whole: bool) -> Framing {
        let edits = Self::response_edits(&self.view, self.record.route);
        let security = self.security_fields();
        let sticky = self.sticky();
        let cookie = sticky.as_deref().map(|sticky| self.set_cookie(sticky));
        let draining = self.downstream.worker.is_draining();
        let Self { scratch, record, .. } = self;
        let version = scratch.request.version;
        let framing = Framing::of_response(&scratch.response, version);
        self.keep_alive &= request_is_whole && framing != Framing::UntilClose && !draining;
        scratch.out.clear();
        let response = Response {
            bytes: received.bytes(),
            head: &scratch.response,
            framing,
            version,
            keep_alive: self.keep_alive,
            edits,
            security,
            cookie,
            level: scratch.held.level.map(|level| (level, self.dialect.is_some())),
        };
        response.write(&mut scratch.out);
        record.streamed = scratch.response.field(FieldName::ContentType).is_some_and(|field| {
            let value = field.value.of(received.bytes());
            let kind = b"text/event-stream";
            value.len() >= kind.len() && value[..kind.len()].eq_ignore_ascii_case(kind)
        });
        record.ends_by_close = framing == Framing::UntilClose;
        received.consume(scratch.response.len);
        framing
    }

    /// Sends the content at hand to the client, behind the head if that is still in `scratch.out`.
    async fn pass_on(
        &mut self,
        received: &mut Input,
        decoder: &mut BodyDecoder,
        encoder: BodyEncoder,
    ) -> Result<(), ExchangeError> {
        let mut content: Vec<Span> = std::mem::take(&mut self.scratch.content);
        content.clear();
        let decoded = decoder.decode(received.bytes(), 0, &mut content).map_err(ResponseFault)?;
        // From here on the client has this answer; a body that is malformed from its first byte on
        // still gives way to another.
        self.record.status = Some(self.scratch.response.status);
        self.notice_event(received.bytes(), &content);
        let leave = self.leave();
        let framed = Framed {
            out: &mut self.scratch.out,
            bytes: received.bytes(),
            content: &content,
            encoder,
            ended: decoded.ended,
            trailers: decoder.trailers(),
            leave,
        };
        let Link { carrier, deadline } = &*self.downstream.link;
        let sent = carrier.send(framed, deadline).await;
        self.record.bytes_out += sent.map_err(|error| downstream_error(&error))?;
        self.scratch.content = content;
        received.consume(decoded.consumed);
        Ok(())
    }

    /// The upstream closed, which was the end of its body.
    async fn end_body(
        &mut self,
        encoder: BodyEncoder,
        trailers: &[u8],
    ) -> Result<(), ExchangeError> {
        let leave = self.leave();
        let end = Framed {
            out: &mut self.scratch.out,
            bytes: &[],
            content: &[],
            encoder,
            ended: true,
            trailers,
            leave,
        };
        let Link { carrier, deadline } = &*self.downstream.link;
        let sent = carrier.send(end, deadline).await;
        self.record.bytes_out += sent.map_err(|error| downstream_error(&error))?;
        Ok(())
    }

    /// An answer that ends its connection goes at once, so that nothing of it is given up.
    pub(super) fn leave(&self) -> Leave {
        if self.keep_alive { Leave::WithTurn } else { Leave::AtOnce }
    }

    /// The time limit that comes first: this step's, or the whole exchange's.
    pub(super) fn set_deadline(&self, timeout: Option<Duration>) {
        let now = self.downstream.worker.core.now();
        self.downstream.link.deadline.set_at(earliest(now, timeout, self.total_until));
    }

    /// Which limit has passed.
    pub(super) fn timed_out(&self, step: ExchangeError) -> ExchangeError {
        let now: Instant = self.downstream.worker.core.now();
        if self.total_until.is_some_and(|until| until <= now) {
            ExchangeError::TotalTimeout
        } else {
            step
        }
    }
}

/// The end of a step that begins now, or of the whole exchange: whichever comes first.
fn earliest(now: Instant, step: Option<Duration>, total: Option<Instant>) -> Option<Instant> {
    match (step.map(|step| now + step), total) {
        (Some(step), Some(total)) => Some(step.min(total)),
        (step, total) => step.or(total),
    }
}

/// A send to the client that failed.
pub(super) fn downstream_error(error: &io::Error) -> ExchangeError {
    match error.kind() {
        io::ErrorKind::TimedOut => ExchangeError::DownstreamStalled,
        _ => ExchangeError::DownstreamGone,
    }
}
