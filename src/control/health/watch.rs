//! The row of checks of one endpoint, and what follows from their results.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Lanes;
use super::check::{self, Failure};
use super::plan::Plan;
use crate::policy::health::{Health, Outcome};
use crate::proxy::shared::Shared;
use crate::runtime::clock::Clock;

/// Checks an endpoint until nobody wants that any more.
pub(super) async fn watch(
    plan: Arc<Plan>,
    lanes: Arc<Lanes>,
    shared: Arc<Shared>,
    first_wait: Duration,
) {
    let clock = Clock::start();
    // What is known from before a reload or a hand-over stays so until checks say otherwise.
    let mut health = plan.state.health().unwrap_or_else(|| Health::new(plan.pace.initial));
    plan.state.set_health(Some(health), clock.now());
    let mut draws = Draws(plan.seed());
    let mut doubt = InDoubt::of(&health, &lanes);
    let mut due = since_start(&clock) + first_wait;
    loop {
        let begins = plan.pace.in_company(due);
        tokio::time::sleep(begins.saturating_sub(since_start(&clock))).await;
        // Never closed, so a place is always to be had in the end.
        let place = lanes.of(health.is_up).acquire().await;
        let began = since_start(&clock);
        let result = match plan.state.peer() {
            // Long-lived only while it is under way: not worth a place in each endpoint's task.
            Some(peer) => Box::pin(check::check(&plan, peer)).await,
            None => Err(Failure::new(Outcome::Unresolved, "its name has no address")),
        };
        drop(place);
        let outcome = result.as_ref().err().map_or(Outcome::Passed, |failure| failure.outcome);
        plan.state.events.checked(outcome);
        let changes = health.observe(outcome, &plan.pace);
        let is_news = plan.state.set_health(Some(health), clock.now());
        if changes || is_news {
            tell(&plan, &shared, health, &result);
        }
        drop(doubt);
        doubt = InDoubt::of(&health, &lanes);
        due = began + health.wait(&plan.pace, lanes.in_doubt(), draws.next());
    }
}

/// An endpoint that is counted as one that is checked fast, until this is dropped.
struct InDoubt<'l>(Option<&'l Lanes>);

impl<'l> InDoubt<'l> {
    fn of(health: &Health, lanes: &'l Lanes) -> Self {
        if !health.is_in_doubt() {
            return Self(None);
        }
        lanes.in_doubt.fetch_add(1, Ordering::Relaxed);
        Self(Some(lanes))
    }
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if let Some(lanes) = self.0 {
            lanes.in_doubt.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn since_start(clock: &Clock) -> Duration {
    Duration::from_nanos(clock.now().as_nanos())
}

/// Tells the log, those who wait, and those who watch over what is left.
fn tell(plan: &Plan, shared: &Shared, health: Health, result: &Result<(), Failure>) {
    let (cluster, endpoint) = (&*plan.state.cluster, &*plan.state.label);
    match result {
        Err(Failure { outcome, detail }) if !health.is_up => {
            let reason = outcome.label();
            tracing::warn!(cluster, endpoint, reason, detail, "an endpoint is down");
            shared.alarm().ring();
        }
        _ => {
            tracing::info!(cluster, endpoint, "an endpoint is up");
            plan.cluster.call_waiting();
        }
    }
}

/// Random bits that are always the same for the same beginning (SplitMix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// Takes endpoints back that were left alone for a time, when it is over: also those that nobody
/// asks for.
pub(super) async fn returns(shared: Arc<Shared>) {
    let clock = Clock::start();
    loop {
        let now = clock.now();
        let next = shared.snapshot().pass_time(now);
        let left = next.map(|next| Duration::from_nanos(next.nanos_since(now)));
        tokio::select! {
            () = shared.alarm().heard() => {}
            () = after(left) => {}
        }
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}
