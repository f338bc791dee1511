//! What attempts say of their endpoint: who fails too often is left alone for a time.
//!
//! Workers judge attempts as they end. Whoever makes the change tells of it, once: to the log, to
//! the counters, and to those who wait for room.

use std::sync::{Arc, MutexGuard};

use super::attempts::Attempts;
use super::availability::Asker;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::shared::{ClusterState, EndpointState};
use super::snapshot::{Cluster, Snapshot};
use super::view::{ClusterView, EndpointView};
use crate::policy::circuit::{Change, Kind, Probe, Settings};
use crate::policy::retry::{Causes, Failure};
use crate::runtime::clock::Instant;

impl ClusterView {
    /// Whether an endpoint takes requests at this moment, if it had room.
    pub(super) fn admits(&self, endpoint: &EndpointView, asker: Asker, now: Instant) -> bool {
        endpoint.state.availability.admits(asker, self.passive.as_ref(), now)
    }

    /// Begins an attempt on an endpoint that was admitted; `None` if it is not any more.
    pub(super) fn enter(
        &self,
        endpoint: &EndpointView,
        asker: Asker,
        now: Instant,
    ) -> Option<Option<Probe>> {
        let state = &endpoint.state;
        let (probe, change) = state.availability.enter(asker, self.passive.as_ref(), now)?;
        tell(&self.state, state, change, now);
        Some(probe)
    }

    /// Whether this endpoint may be missing as well: the share that is away stays within bounds,
    /// and another one takes requests.
    fn can_spare(&self, endpoint: &EndpointView, most: f64, now: Instant) -> bool {
        let is_it = |other: &EndpointView| Arc::ptr_eq(&other.state, &endpoint.state);
        let others = || self.all_endpoints().map(|i| &self.endpoints[i]).filter(|o| !is_it(o));
        let total = self.all_endpoints().count();
        let away =
            total - others().count() + others().filter(|o| o.state.is_left_alone(now)).count();
        let other_takes =
            others().any(|o| o.state.peer().is_some() && o.state.availability.is_clear());
        other_takes && away as f64 <= most * total as f64
    }

    /// Takes in how an attempt ended; whether the endpoint is left alone from now on.
    fn judge(
        &self,
        passive: &Settings,
        endpoint: &EndpointView,
        probe: Option<Probe>,
        failed: bool,
        now: Instant,
    ) -> bool {
        let state = &endpoint.state;
        let rate = passive.rate.as_ref().filter(|_| state.availability.is_clear());
        let is_high = rate.is_some_and(|rate| state.failures.count(failed, rate, now.as_nanos()));
        let change = match (failed, &passive.kind) {
            (false, kind) => state.availability.succeed(probe, kind, now),
            (true, Kind::Breaker { .. }) => {
                state.availability.fail(probe, is_high, passive, now, self.draw(), || true)
            }
            (true, Kind::Outlier { max_ejected }) => {
                // Held until the step is done: two workers must not both spare the last one.
                let mut turn: Option<MutexGuard<'_, ()>> = None;
                state.availability.fail(probe, is_high, passive, now, self.draw(), || {
                    turn.get_or_insert_with(|| self.state.ejecting());
                    self.can_spare(endpoint, *max_ejected, now)
                })
            }
        };
        tell(&self.state, state, change, now);
        if probe.is_some() {
            self.state.call_waiting();
        }
        matches!(change, Change::Opened { .. })
    }
}

/// What follows from a change, whoever made it.
pub(super) fn tell(cluster: &ClusterState, state: &EndpointState, change: Change, now: Instant) {
    let (name, endpoint) = (&*state.cluster, &*state.label);
    match change {
        Change::None => {}
        Change::Opened { reason, rest } => {
            state.failures.clear();
            state.events.opened(reason);
            let reason = reason.label();
            tracing::warn!(cluster = name, endpoint, reason, ?rest, "an endpoint is left alone");
        }
        Change::HalfOpened => {
            tracing::info!(cluster = name, endpoint, "an endpoint is tried out");
            cluster.call_waiting();
        }
        Change::Closed => {
            state.come(now);
            tracing::info!(cluster = name, endpoint, "an endpoint takes requests again");
            cluster.call_waiting();
        }
    }
}

impl Snapshot {
    /// Does what time does to endpoints that are left alone, whether or not somebody asks for
    /// them; and takes back those that their cluster cannot do without any more. When to come
    /// again, if at all.
    pub fn pass_time(&self, now: Instant) -> Option<Instant> {
        let due_ms = self.clusters.iter().filter_map(|cluster| cluster.pass_time(now)).min()?;
        Some(Instant::from_nanos(due_ms.saturating_mul(1_000_000)))
    }
}

impl Cluster {
    fn pass_time(&self, now: Instant) -> Option<u64> {
        let Some(passive) = &self.settings.passive else {
            // Left from a configuration that had an outlier or a breaker.
            self.readmit_all(now);
            return None;
        };
        for state in &self.endpoints {
            tell(&self.state, state, state.availability.pass_time(&passive.kind, now), now);
        }
        if matches!(passive.kind, Kind::Outlier { .. }) {
            let _turn = self.state.ejecting();
            if !self.endpoints.iter().any(|state| state.availability.is_clear()) {
                self.readmit_all(now);
            }
        }
        self.endpoints.iter().filter_map(|state| state.left_alone_until_ms()).min()
    }

    fn readmit_all(&self, now: Instant) {
        for state in self.endpoints.iter().filter(|state| state.availability.readmit(now)) {
            tell(&self.state, state, Change::Closed, now);
        }
    }
}

impl Exchange<'_> {
    /// Tells what came of an attempt, where the cluster wants to know.
    pub(super) fn judge(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
        outcome: &Result<(), ExchangeError>,
    ) {
        let Some(passive) = &cluster.passive else { return };
        match self.has_failed(outcome, &passive.on) {
            Some(failed) => self.pass_judgement(cluster, passive, endpoint, failed),
            None => self.attempts.abandon_probe(endpoint),
        }
    }

    /// An attempt that tries an endpoint out has succeeded when the response begins as it should:
    /// the rest of a stream may take minutes.
    pub(super) fn judge_head(&mut self, status: u16) {
        let Some(cluster) = self.record.cluster.clone() else { return };
        let Some((index, passive)) = self.record.endpoint.zip(cluster.passive.as_ref()) else {
            return;
        };
        let failed = passive.on.include(Failure::Status(status));
        self.pass_judgement(&cluster, passive, &cluster.endpoints[index], failed);
    }

    fn pass_judgement(
        &mut self,
        cluster: &ClusterView,
        passive: &Settings,
        endpoint: &EndpointView,
        failed: bool,
    ) {
        let worker = &self.downstream.worker;
        let probe = self.attempts.probe.take();
        if cluster.judge(passive, endpoint, probe, failed, worker.core.now()) {
            worker.shared.alarm().ring();
        }
    }

    /// For an exchange whose task is dropped in the middle of an attempt.
    pub(super) fn leave_probe(&mut self) {
        if let (Some(cluster), Some(index)) = (self.record.cluster.clone(), self.record.endpoint) {
            self.attempts.abandon_probe(&cluster.endpoints[index]);
        }
    }

    /// Whether the endpoint has failed, be it in the middle of a response; `None` if nothing was
    /// learned that is to count.
    fn has_failed(&self, outcome: &Result<(), ExchangeError>, on: &Causes) -> Option<bool> {
        let failure = match outcome {
            Ok(()) => Failure::Status(self.record.status?),
            // It had closed an idle connection, as it may.
            Err(ExchangeError::UpstreamClosed) if self.record.reused => return None,
            Err(ExchangeError::UpstreamCut) => Failure::Reset,
            Err(ExchangeError::IdleTimeout) => Failure::Timeout,
            Err(error) => error.failure()?,
        };
        match failure {
            Failure::Refused => None,
            status @ Failure::Status(_) => Some(on.include(status)),
            other => on.include(other).then_some(true),
        }
    }
}

impl Attempts {
    /// Makes room for another attempt that tries the endpoint out.
    pub(super) fn abandon_probe(&mut self, endpoint: &EndpointView) {
        if let Some(probe) = self.probe.take() {
            endpoint.state.availability.abandon(probe);
        }
    }
}
