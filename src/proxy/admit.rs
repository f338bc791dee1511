//! Whether a route takes a client and its body at all.

use super::error::ExchangeError;
use super::exchange::Exchange;
use super::scratch::Scratch;
use super::settings::{Action, Route};
use crate::ai::call::{Call, Dialect};
use crate::http::message::BodyLength;
use crate::http::refusal::Refusal;

impl Exchange<'_> {
    /// Applies what the route asks of clients, and the limits that can be known from the head.
    pub(super) fn admit(&mut self, route: &Route) -> Result<(), ExchangeError> {
        let admitted = self.admit_client(route);
        if admitted.is_err() {
            self.dialect = (route.action == Action::Ai).then(|| self.dialect_asked_in());
        }
        admitted?;
        self.body_allowance = self.body_limit();
        Ok(())
    }

    fn admit_client(&mut self, route: &Route) -> Result<(), ExchangeError> {
        if !route.admits(self.client.address.ip()) {
            return Err(Refusal::AddressDenied.into());
        }
        match self.record.route {
            Some(route) => Ok(self.admit_by_limits(route)?),
            None => Ok(()),
        }
    }

    /// How an AI client that is refused before its call is read expects to hear of it.
    fn dialect_asked_in(&self) -> Dialect {
        let Scratch { head, request, path, .. } = &*self.scratch;
        let method = str::from_utf8(request.method_text.of(head)).unwrap_or_default();
        let path = str::from_utf8(path).unwrap_or_default();
        let anthropic = request.get(head, "anthropic-version").is_some();
        match Call::read(method, path, anthropic) {
            Ok(call) => call.dialect,
            Err(not_a_call) => not_a_call.dialect,
        }
    }

    /// Bytes that the request's content may have: what the route says, else the listener.
    pub(super) fn body_limit(&self) -> u64 {
        let route = self.record.route.map(|route| self.view.snapshot.routes.get(route));
        route.and_then(|route| route.body).unwrap_or(self.listener().limits.body)
    }

    /// Refuses a body that says in advance that it is too large.
    pub(super) fn check_length(&self) -> Result<(), ExchangeError> {
        match self.scratch.request.body {
            BodyLength::Fixed(length) if length > self.body_limit() => {
                Err(Refusal::BodyTooLarge.into())
            }
            _ => Ok(()),
        }
    }
}
