//! A connection that goes on in another protocol.

use super::carrier::Carrier;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::forward::Switch;
use super::input::Input;
use super::relay::{Relayed, downstream_error};
use super::settings::{Action, ClusterTimeouts, Route};
use crate::http::refusal::{Refusal, ResponseFault};
use crate::http::upgrade::{self, Protocol};

impl Exchange<'_> {
    /// Whether the endpoint is asked for the protocols that the client asks for. Pages of our own
    /// and models know none but HTTP.
    pub(super) fn asks_to_switch_on(&self, route: &Route) -> bool {
        match route.action {
            Action::Cluster(_) => {
                upgrade::asked(&self.scratch.request, &self.scratch.head).is_some()
            }
            Action::Ai | Action::Ops(_) | Action::Respond(_) | Action::Redirect(_) => false,
        }
    }

    /// What the 101 in `scratch.response`, whose head is in `bytes`, switches to.
    pub(super) fn check_switch(&self, bytes: &[u8]) -> Result<Protocol, ExchangeError> {
        if !self.asks_to_switch {
            return Err(ResponseFault(Refusal::SwitchUnasked).into());
        }
        let request = (&self.scratch.request, &self.scratch.head[..]);
        Ok(upgrade::answered(request, (&self.scratch.response, bytes))?)
    }

    /// Passes a 101 on, and then bytes both ways until the connections end.
    pub(super) async fn switch(
        &mut self,
        upstream: &Carrier,
        mut received: Input,
        timeouts: &ClusterTimeouts,
    ) -> Result<Relayed, ExchangeError> {
        let arrived = self.downstream.worker.core.now();
        let protocol = self.check_switch(received.bytes())?;
        let edits = Self::response_edits(&self.view, self.record.route);
        let sticky = self.sticky();
        let cookie = sticky.as_deref().map(|sticky| self.set_cookie(sticky));
        let Self { scratch, downstream, record, .. } = self;
        scratch.out.clear();
        let (bytes, head) = (received.bytes(), &scratch.response);
        Switch { bytes, head, edits, cookie }.write(&mut scratch.out);
        received.consume(scratch.response.len);
        self.keep_alive = false;
        record.status = Some(scratch.response.status);
        let link = &downstream.link;
        let sent = link.carrier.send_switch(&scratch.out, &link.deadline).await;
        record.bytes_out += sent.map_err(|error| downstream_error(&error))?;
        let sent_at = downstream.worker.core.precise_now();
        record.overhead_ns += sent_at.nanos_since(arrived);
        self.tunnel(upstream, received, protocol, timeouts.upgrade_idle).await?;
        Ok(Relayed { reusable: false })
    }
}
