//! The attempts of one exchange: the first, and those that follow when it failed.

use std::rc::Rc;

use super::attempt::Outgoing;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::reserve::{InCluster, Wish};
use super::settings::Route;
use super::view::ClusterView;
use crate::http::refusal::Refusal;
use crate::http::upgrade;
use crate::policy::circuit::Probe;
use crate::policy::retry::{Failure, Sent};
use crate::telemetry::record::Outcome;

/// What an exchange knows of its attempts so far.
#[derive(Default)]
pub(super) struct Attempts {
    /// Those that count: all but the one for which a dead idle connection was taken.
    made: u32,
    /// The body is held, so that it can be sent again.
    body_is_held: bool,
    /// Whether another endpoint has room for a retry after a status.
    has_other: bool,
    /// A dead idle connection has been made good for.
    made_good: bool,
    /// The attempt under way tries its endpoint out, and nothing has been learned yet.
    pub(super) probe: Option<Probe>,
}

impl Exchange<'_> {
    /// Forwards the request to the cluster, and its response to the client.
    pub(super) async fn proxy(
        &mut self,
        cluster: &Rc<ClusterView>,
        route: &Route,
    ) -> Result<Outcome, ExchangeError> {
        self.check_length()?;
        let outgoing = match upgrade::asks_for_websocket(&self.scratch.request, &self.scratch.head)
        {
            false => Outgoing::Request(route),
            // They would take it for an ordinary request, and nobody would be told why.
            true if cluster.speaks_http2_only() => return Err(Refusal::WebSocketUnserved.into()),
            true => Outgoing::WebSocket(route),
        };
        self.attempts(cluster, outgoing).await
    }

    pub(super) async fn attempts(
        &mut self,
        cluster: &Rc<ClusterView>,
        outgoing: Outgoing<'_>,
    ) -> Result<Outcome, ExchangeError> {
        self.record.cluster = Some(Rc::clone(cluster));
        self.total_until = cluster.timeouts.total.map(|total| self.record.began + total);
        self.attempts.body_is_held = matches!(outgoing, Outgoing::Call(_));
        self.admit_to(cluster, outgoing.service())?;
        cluster.pay_in();
        let affinity = self.affinity(cluster);
        let mut in_cluster: Option<InCluster> = None;
        // Endpoints that have failed. Allocates nothing before the first failure.
        let mut failed = Vec::new();
        let mut failure = None;
        loop {
            let wish = Wish { outgoing, failed: &failed, affinity };
            let mut in_flight = match self.reserve(cluster, wish, &mut in_cluster).await {
                Ok(in_flight) => in_flight,
                // There is no room for another attempt: what the last one found is the answer.
                Err(
                    error @ (ExchangeError::NoEndpoint
                    | ExchangeError::Shed(_)
                    | ExchangeError::OverLimit(_)),
                ) => {
                    return Err(failure.unwrap_or(error));
                }
                Err(error) => return Err(error),
            };
            let index = in_flight.endpoint;
            self.attempts.made += 1;
            self.attempts.probe = in_flight.probe.take();
            // Asked for only where it could matter: it takes a look at every endpoint.
            self.attempts.has_other = !cluster.retry.on.statuses.is_empty()
                && cluster.has_room_beside(wish, index, self.downstream.worker.core.now());
            let fresh = failure.is_some();
            let error = match self.attempt(cluster, index, outgoing, fresh).await {
                Ok(()) => return Ok(Outcome::Completed),
                Err(error) => error,
            };
            drop(in_flight);
            if !self.makes_good_for(&error) {
                if !may_ask_again(&error) {
                    failed.push(index);
                }
                let wish = Wish { outgoing, failed: &failed, affinity };
                if !self.tries_again(cluster, wish, &error) {
                    return Err(error);
                }
            }
            cluster.series.retries.inc();
            failure = Some(error);
        }
    }

    /// Whether an idle connection had been closed by a peer that never saw the request. That is
    /// made good for once, whatever the cluster says about retries: no endpoint has failed.
    fn makes_good_for(&mut self, error: &ExchangeError) -> bool {
        let Sent { idempotent, replayable } = self.sent();
        let was_dead = matches!(error, ExchangeError::UpstreamClosed) && self.record.reused;
        let again = was_dead && idempotent && replayable && !self.attempts.made_good;
        if again {
            self.attempts.made_good = true;
            self.attempts.made -= 1;
        }
        again
    }

    /// Whether to ask another endpoint after this failure.
    fn tries_again(&self, cluster: &ClusterView, wish: Wish<'_>, error: &ExchangeError) -> bool {
        // Decided and paid for when the status was seen.
        if matches!(error, ExchangeError::RetriedStatus(_)) {
            return true;
        }
        let failure = error.failure().filter(|_| self.record.status.is_none());
        let now = self.downstream.worker.core.now();
        failure.is_some_and(|failure| {
            cluster.is_served_for(wish, now) && self.may_retry(cluster, failure)
        })
    }

    /// Whether a response with this status gives way to another attempt. Nothing of it has gone
    /// to the client.
    pub(super) fn retries_status(&self, status: u16) -> bool {
        let Some(cluster) = &self.record.cluster else { return false };
        self.attempts.has_other && self.may_retry(cluster, Failure::Status(status))
    }

    fn may_retry(&self, cluster: &ClusterView, failure: Failure) -> bool {
        if !cluster.retry.allows(failure, self.sent(), self.attempts.made) {
            return false;
        }
        let paid = cluster.pay_for_retry();
        if !paid {
            cluster.series.retries_over_budget.inc();
        }
        paid
    }

    fn sent(&self) -> Sent {
        let request = &self.scratch.request;
        match self.attempts.body_is_held {
            // Calls change nothing upstream: asking a model again costs, but does no harm.
            true => Sent { idempotent: true, replayable: true },
            false => Sent {
                idempotent: request.method.is_idempotent(),
                replayable: request.body.is_empty(),
            },
        }
    }
}

/// Whether the same endpoint may be asked again after this: it was too busy, or that connection
/// was at its end.
fn may_ask_again(error: &ExchangeError) -> bool {
    matches!(error.failure(), Some(Failure::Refused))
}
