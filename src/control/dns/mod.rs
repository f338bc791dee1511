//! Names of endpoints, resolved here so that no worker ever waits for a resolver.
//!
//! Each name has a task that looks it up when its time has come and tells what it found. What
//! changes goes into the [`Overlay`], and with that into a new snapshot.

mod follow;
mod lookup;
mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::follow::{Follower, News};
use crate::proxy::overlay::Overlay;
use crate::proxy::settings::{Name, Settings};

/// How long a start or a reload waits for the addresses of names that it brings.
const FIRST_TIME: Duration = Duration::from_secs(1);

/// Changes that come within this time make one snapshot.
const GATHERED: Duration = Duration::from_millis(10);

/// Lookups at one time. A silent server holds each for some seconds.
const LOOKUPS_MAX: usize = 256;

/// News on their way. Who has more waits, and looks up nothing meanwhile.
const NEWS_MAX: usize = 256;

/// The names that the configuration in force has.
pub(super) struct Names {
    followed: HashMap<Name, Followed>,
    lookups: Arc<Semaphore>,
    news: mpsc::Receiver<News>,
    teller: mpsc::Sender<News>,
    /// When what has changed is to be published.
    due: Option<Instant>,
}

/// A name and the task that looks it up.
struct Followed {
    task: JoinHandle<()>,
    /// Its first answer is waited for.
    is_awaited: bool,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    pub(super) fn new() -> Self {
        let (teller, news) = mpsc::channel(NEWS_MAX);
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self { followed: HashMap::new(), lookups, news, teller, due: None }
    }

    /// Follows the names in `settings` from now on, and no others. Waits a moment for the
    /// addresses of those that are new.
    pub(super) async fn follow(&mut self, settings: &Settings, overlay: &mut Overlay) {
        let endpoints = settings.clusters.iter().flat_map(|cluster| &cluster.endpoints);
        let mut before = std::mem::take(&mut self.followed);
        for name in endpoints.filter_map(|endpoint| endpoint.address.name()) {
            let known = before.remove(&name);
            let (lookups, teller) = (&self.lookups, &self.teller);
            self.followed.entry(name).or_insert_with_key(|name| {
                known.unwrap_or_else(|| Followed {
                    task: Follower::new(name, lookups, teller).start(),
                    is_awaited: true,
                })
            });
        }
        overlay.retain_names(|name| self.followed.contains_key(name));
        self.first_answers(overlay).await;
    }

    async fn first_answers(&mut self, overlay: &mut Overlay) {
        let until = Instant::now() + FIRST_TIME;
        while self.followed.values().any(|followed| followed.is_awaited) {
            match tokio::time::timeout_at(until, self.news.recv()).await {
                Ok(Some(news)) => drop(self.take_in(news, overlay)),
                Ok(None) | Err(_) => break,
            }
        }
        self.followed.values_mut().for_each(|followed| followed.is_awaited = false);
    }

    /// Waits until a name stands for something else than before. Nothing is lost when the wait is
    /// given up.
    pub(super) async fn changed(&mut self, overlay: &mut Overlay) {
        loop {
            let due = self.due;
            tokio::select! {
                Some(news) = self.news.recv() => {
                    if self.take_in(news, overlay) {
                        self.due.get_or_insert_with(|| Instant::now() + GATHERED);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.due = None;
                    return;
                }
            }
        }
    }

    /// Whether anything has changed.
    fn take_in(&mut self, news: News, overlay: &mut Overlay) -> bool {
        let News { name, addresses } = news;
        // Its task may have told it just before it was ended.
        let Some(followed) = self.followed.get_mut(&name) else { return false };
        followed.is_awaited = false;
        addresses.is_some_and(|addresses| overlay.set_name(&name, addresses))
    }
}
