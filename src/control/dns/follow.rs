//! The task of one name: it looks it up, tells what it found, and waits.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lookup::{Answer, Failure, Lookups};
use super::schedule::Schedule;
use crate::proxy::overlay::Target;
use crate::proxy::settings::Name;
use crate::telemetry::{self, LookupOutcome};

/// Addresses of one name that become endpoints; more are left out. Each has its pools, its series
/// and its place in every pick.
const ADDRESSES_MAX: usize = 64;

/// A lookup has ended.
pub(super) struct News {
    pub(super) name: Name,
    /// What the name stands for from now on; `None` leaves it as it is.
    pub(super) targets: Option<Arc<[Target]>>,
}

/// What all followers share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) lookups: Arc<Lookups>,
    pub(super) counts: Arc<telemetry::Lookups>,
    pub(super) teller: mpsc::Sender<News>,
}

pub(super) struct Follower {
    name: Name,
    around: Surroundings,
    schedule: Schedule,
    began: Instant,
    /// The last good answer.
    known: Arc<[Target]>,
    /// What the log was last told to be wrong.
    problem: Option<String>,
}

impl Follower {
    /// `known`: what the name has stood for so far.
    pub(super) fn new(name: &Name, known: Arc<[Target]>, around: &Surroundings) -> Self {
        Self {
            name: name.clone(),
            around: around.clone(),
            schedule: Schedule::new(&around.lookups.settings, !known.is_empty()),
            began: Instant::now(),
            known,
            problem: None,
        }
    }

    /// `hurry` has the name looked up before its time.
    pub(super) fn start(self, hurry: Arc<Notify>) -> JoinHandle<()> {
        tokio::spawn(self.run(hurry))
    }

    async fn run(mut self, hurry: Arc<Notify>) {
        loop {
            let (targets, pause) = match self.around.lookups.look_up(&self.name).await {
                Ok(answer) => self.answered(answer),
                Err(failure) => self.failed(failure),
            };
            let news = News { name: self.name.clone(), targets };
            if self.around.teller.send(news).await.is_err() {
                // Nobody wants to know any more.
                return;
            }
            // Either way, it is time.
            let _ = tokio::time::timeout(pause, hurry.notified()).await;
        }
    }

    fn answered(&mut self, answer: Answer) -> (Option<Arc<[Target]>>, Duration) {
        self.around.counts.count(LookupOutcome::Answered);
        let pause = self.schedule.answered(self.began.elapsed(), answer.ttl, draw());
        let found = answer.targets.len();
        let targets = settled(answer.targets);
        let is_new = targets != self.known;
        if self.problem.take().is_some() || is_new {
            let addresses = targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            tracing::info!(name = %self.name, addresses, "resolved");
        }
        if is_new && found > ADDRESSES_MAX {
            let (name, kept) = (&self.name, ADDRESSES_MAX);
            tracing::warn!(%name, found, kept, "a name has more addresses than become endpoints");
        }
        self.known = Arc::clone(&targets);
        (is_new.then_some(targets), pause)
    }

    fn failed(&mut self, failure: Failure) -> (Option<Arc<[Target]>>, Duration) {
        let Failure { outcome, why } = failure;
        self.around.counts.count(outcome);
        let after = self.schedule.failed(self.began.elapsed(), draw());
        if self.problem.as_ref() != Some(&why) {
            let (name, kept) = (&self.name, self.known.len());
            tracing::warn!(%name, reason = outcome.label(), why, kept, "cannot resolve a name");
            self.problem = Some(why);
        }
        if after.expires {
            tracing::warn!(name = %self.name, "its last addresses do not hold any more");
            self.known = Arc::default();
        }
        (after.expires.then(Arc::default), after.pause)
    }
}

/// In an order that does not change with the order of the answer, and not more than there may be.
fn settled(mut targets: Vec<Target>) -> Arc<[Target]> {
    targets.sort_unstable();
    // One host may stand in several records.
    targets.dedup_by_key(|target| target.place());
    targets.truncate(ADDRESSES_MAX);
    targets.into()
}

/// From 0 to 1, from the keys that the standard library seeds its tables with.
fn draw() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::proxy::overlay::ServiceRecord;

    fn hosts(texts: &[&str]) -> Arc<[Target]> {
        settled(texts.iter().map(|ip| Target::host(ip.parse().unwrap())).collect())
    }

    #[test]
    fn the_order_of_an_answer_says_nothing() {
        let one = hosts(&["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]);
        assert_eq!(one, hosts(&["::1", "10.0.0.1", "10.0.0.2"]));
        assert_eq!(one.len(), 3);
    }

    #[test]
    fn ports_of_one_host_are_endpoints_and_one_port_is_one_whatever_its_records() {
        let at = |port, weight| Target {
            ip: IpAddr::from([10, 0, 0, 1]),
            service: Some(ServiceRecord { port, weight, backup: false }),
        };
        let ports: Vec<_> = settled(vec![at(81, 1), at(80, 2), at(80, 1)])
            .iter()
            .filter_map(|target| target.service.map(|service| service.port))
            .collect();
        assert_eq!(ports, [80, 81]);
    }

    #[test]
    fn only_so_many_addresses_become_endpoints() {
        let many = (0..200u8).map(|last| Target::host([10, 0, 0, last].into())).collect();
        assert_eq!(settled(many).len(), ADDRESSES_MAX);
    }
}
