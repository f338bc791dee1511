//! The task of one name: it looks it up, tells what it found, and waits.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lookup::{Answer, look_up};
use super::schedule::{Bounds, Schedule};
use crate::proxy::settings::Name;

/// Addresses of one name that become endpoints; more are left out. Each has its pools, its series
/// and its place in every pick.
const ADDRESSES_MAX: usize = 64;

/// A lookup has ended.
pub(super) struct News {
    pub(super) name: Name,
    /// What the name stands for from now on; `None` leaves it as it is.
    pub(super) addresses: Option<Arc<[IpAddr]>>,
}

pub(super) struct Follower {
    name: Name,
    lookups: Arc<Semaphore>,
    teller: mpsc::Sender<News>,
    schedule: Schedule,
    began: Instant,
    /// The last good answer.
    known: Arc<[IpAddr]>,
    /// What the log was last told to be wrong.
    problem: Option<String>,
}

impl Follower {
    pub(super) fn new(name: &Name, lookups: &Arc<Semaphore>, teller: &mpsc::Sender<News>) -> Self {
        Self {
            name: name.clone(),
            lookups: Arc::clone(lookups),
            teller: teller.clone(),
            schedule: Schedule::new(Bounds::default()),
            began: Instant::now(),
            known: Arc::default(),
            problem: None,
        }
    }

    pub(super) fn start(self) -> JoinHandle<()> {
        tokio::spawn(self.run())
    }

    async fn run(mut self) {
        // Ends with the receiver: nobody wants to know any more.
        while let Ok(permit) = Arc::clone(&self.lookups).acquire_owned().await {
            let outcome = look_up(&self.name).await;
            drop(permit);
            let (addresses, pause) = match outcome {
                Ok(answer) => self.answered(answer),
                Err(problem) => self.failed(problem),
            };
            let news = News { name: self.name.clone(), addresses };
            if self.teller.send(news).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn answered(&mut self, answer: Answer) -> (Option<Arc<[IpAddr]>>, Duration) {
        let pause = self.schedule.answered(self.began.elapsed(), answer.ttl, draw());
        let found = answer.addresses.len();
        let addresses = settled(answer.addresses);
        let news = (addresses != self.known).then(|| Arc::clone(&addresses));
        let is_well_again = self.problem.take().is_some();
        if news.is_some() || is_well_again {
            tracing::info!(name = %self.name, ?addresses, "resolved");
        }
        if news.is_some() && found > ADDRESSES_MAX {
            let (name, kept) = (&self.name, ADDRESSES_MAX);
            tracing::warn!(%name, found, kept, "a name has more addresses than become endpoints");
        }
        self.known = addresses;
        (news, pause)
    }

    fn failed(&mut self, problem: String) -> (Option<Arc<[IpAddr]>>, Duration) {
        let after = self.schedule.failed(self.began.elapsed(), draw());
        if self.problem.as_ref() != Some(&problem) {
            let (name, kept) = (&self.name, self.known.len());
            tracing::warn!(%name, problem, kept, "cannot resolve a name");
            self.problem = Some(problem);
        }
        if after.expires {
            tracing::warn!(name = %self.name, "its last addresses do not hold any more");
            self.known = Arc::default();
        }
        (after.expires.then(Arc::default), after.pause)
    }
}

/// In an order that does not change with the order of the answer, and not more than there may be.
fn settled(mut addresses: Vec<IpAddr>) -> Arc<[IpAddr]> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    addresses.into()
}

/// From 0 to 1, from the keys that the standard library seeds its tables with.
fn draw() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_an_answer_says_nothing() {
        let addresses = |texts: &[&str]| texts.iter().map(|ip| ip.parse().unwrap()).collect();
        let one = settled(addresses(&["10.0.0.2", "::1", "10.0.0.1", "10.0.0.2"]));
        let other = settled(addresses(&["::1", "10.0.0.1", "10.0.0.2"]));
        assert_eq!(one, other);
        assert_eq!(one.len(), 3);
    }

    #[test]
    fn only_so_many_addresses_become_endpoints() {
        let many = (0..200u8).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        assert_eq!(settled(many).len(), ADDRESSES_MAX);
    }
}
