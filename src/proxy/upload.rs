//! The part of a request body that comes after its head has been sent on.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::carrier::Carrier;
use super::downstream::Link;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::framed::Framed;
use super::input::Input;
use crate::http::h1::{BodyDecoder, BodyEncoder};
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::net::socket::Leave;
use crate::policy::body_pace::BodyPace;
use crate::runtime::core::Core;
use crate::runtime::io::{Deadline, yield_now};

/// Pieces of one body before other tasks have their turn: half a megabyte.
pub(super) const PIECES_PER_TURN: u32 = 16;

/// What an exchange lends to its upload while the response may come at any moment.
pub(super) struct Upload {
    input: Input,
    body: BodyDecoder,
    content: Vec<Span>,
    out: Vec<u8>,
    encoder: BodyEncoder,
    /// Content bytes that the body may still have.
    allowance: u64,
    received: u64,
    pieces: u32,
    /// Whether what the decoder has counted has been sent and taken off the input. If not, nobody
    /// knows where the next request begins.
    in_step: bool,
    deadline: Deadline,
    core: Rc<Core>,
    /// What is asked of the client.
    pace: BodyPace,
    /// For the upstream to take a piece.
    upstream_timeout: Option<Duration>,
}

impl Upload {
    pub(super) fn take_from(
        exchange: &mut Exchange<'_>,
        upstream_timeout: Option<Duration>,
    ) -> Self {
        let allowance = exchange.body_allowance;
        let core = Rc::clone(&exchange.downstream.worker.core);
        Self {
            input: std::mem::take(&mut exchange.downstream.input),
            body: std::mem::take(&mut exchange.body),
            content: Vec::new(),
            out: Vec::new(),
            encoder: exchange.request_encoder(),
            allowance,
            received: 0,
            pieces: 0,
            in_step: true,
            deadline: Deadline::new(&core),
            core,
            pace: exchange.body_pace(),
            upstream_timeout,
        }
    }

    /// Whether all of the body has been passed on.
    pub(super) fn is_done(&self) -> bool {
        self.in_step && self.body.is_ended()
    }

    pub(super) fn give_back(self, exchange: &mut Exchange<'_>) {
        exchange.downstream.input = self.input;
        exchange.body = self.body;
        if !self.in_step {
            exchange.lose_place();
        }
        exchange.body_allowance = self.allowance;
        exchange.record.bytes_in += self.received;
    }

    /// Passes the body on to its end. When the upstream takes no more of it, the rest is left to
    /// the client's side: a response may already be on its way.
    pub(super) async fn run(
        mut self,
        link: &Link,
        upstream: &Carrier,
    ) -> (Self, Result<(), ExchangeError>) {
        let outcome = self.pass_on(link, upstream).await;
        (self, outcome)
    }

    async fn pass_on(&mut self, link: &Link, upstream: &Carrier) -> Result<(), ExchangeError> {
        while !self.body.is_ended() {
            if self.input.is_empty() {
                self.receive(link).await?;
            }
            self.in_step = false;
            self.content.clear();
            let decoded = self.body.decode(self.input.bytes(), 0, &mut self.content)?;
            let length: usize = self.content.iter().map(|span| span.len()).sum();
            let left = self.allowance.checked_sub(length as u64);
            self.allowance = left.ok_or(Refusal::BodyTooLarge)?;
            let framed = Framed {
                out: &mut self.out,
                bytes: self.input.bytes(),
                content: &self.content,
                encoder: self.encoder,
                ended: decoded.ended,
                trailers: self.body.trailers(),
                leave: Leave::WithTurn,
            };
            self.deadline.set(self.upstream_timeout);
            if let Err(error) = upstream.send(framed, &self.deadline).await {
                return match upstream_send_error(&error) {
                    ExchangeError::UpstreamClosed => Ok(()),
                    failure => Err(failure),
                };
            }
            self.received += decoded.consumed as u64;
            self.input.consume(decoded.consumed);
            self.in_step = true;
            self.pieces += 1;
            if self.pieces.is_multiple_of(PIECES_PER_TURN) {
                yield_now().await;
            }
        }
        Ok(())
    }

    async fn receive(&mut self, link: &Link) -> Result<(), ExchangeError> {
        match link.receive_body(&self.core, &self.deadline, &mut self.pace).await? {
            Some(chunk) => self.input.push(chunk),
            None => link.carrier.end(&mut self.body)?,
        }
        Ok(())
    }

    /// As [`super::downstream::Downstream::poll_gone`], once the body has been passed on.
    pub(super) fn poll_gone(&mut self, link: &Link, cx: &Context<'_>) -> Poll<()> {
        if !self.is_done() {
            return Poll::Pending;
        }
        link.poll_gone(&mut self.input, cx)
    }
}

/// A send to the upstream that failed.
pub(super) fn upstream_send_error(error: &std::io::Error) -> ExchangeError {
    match error.kind() {
        std::io::ErrorKind::TimedOut => ExchangeError::IdleTimeout,
        _ => ExchangeError::UpstreamClosed,
    }
}
