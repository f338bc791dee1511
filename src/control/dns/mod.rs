//! Names of endpoints, resolved here so that no worker ever waits for a resolver.
//!
//! Each name has a task that looks it up when its time has come and tells what it found. What
//! changes goes into the [`Overlay`], and with that into a new snapshot.

mod follow;
mod lookup;
pub(super) mod memory;
mod schedule;
mod service;
mod system;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::follow::{Follower, News, Surroundings};
use self::lookup::Lookups;
use crate::proxy::overlay::Overlay;
use crate::proxy::settings::{Name, Resolver, Settings};
use crate::telemetry;

/// How long a start or a reload waits for the addresses of names that it brings.
const FIRST_TIME: Duration = Duration::from_secs(1);

/// Changes that come within this time make one snapshot.
const GATHERED: Duration = Duration::from_millis(10);

/// News on their way. Who has more waits, and looks up nothing meanwhile.
const NEWS_MAX: usize = 256;

/// The names that the configuration in force has.
pub(super) struct Names {
    followed: HashMap<Name, Followed>,
    around: Surroundings,
    news: mpsc::Receiver<News>,
    /// When what has changed is to be published.
    due: Option<Instant>,
}

/// A name and the task that looks it up.
struct Followed {
    task: JoinHandle<()>,
    hurry: Arc<Notify>,
    /// Its first answer is waited for.
    is_awaited: bool,
}

impl Followed {
    fn start(name: &Name, overlay: &Overlay, around: &Surroundings) -> Self {
        let known = overlay.name(name);
        let hurry = Arc::new(Notify::new());
        Self {
            is_awaited: known.is_empty(),
            task: Follower::new(name, known, around).start(Arc::clone(&hurry)),
            hurry,
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Names {
    pub(super) fn new(settings: &Resolver) -> Self {
        let (teller, news) = mpsc::channel(NEWS_MAX);
        let lookups = Lookups::new(settings.clone());
        let around = Surroundings { lookups, counts: Arc::default(), teller };
        Self { followed: HashMap::new(), around, news, due: None }
    }

    /// Lookups so far.
    pub(super) fn counts(&self) -> Arc<telemetry::Lookups> {
        Arc::clone(&self.around.counts)
    }

    /// Follows the names in `settings` from now on, and no others. Waits a moment for the
    /// addresses of those that have none yet; the others are looked up anew meanwhile.
    pub(super) async fn follow(&mut self, settings: &Settings, overlay: &mut Overlay) {
        let mut before = std::mem::take(&mut self.followed);
        if self.around.lookups.settings != settings.resolver {
            self.around.lookups = Lookups::new(settings.resolver.clone());
            before.clear();
        }
        let endpoints = settings.clusters.iter().flat_map(|cluster| &cluster.endpoints);
        for name in endpoints.filter_map(|endpoint| endpoint.address.name()) {
            if let Some(known) = before.remove(&name) {
                known.hurry.notify_one();
                self.followed.insert(name, known);
            } else if !self.followed.contains_key(&name) {
                let followed = Followed::start(&name, overlay, &self.around);
                self.followed.insert(name, followed);
            }
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
            let due = self.due.map(tokio::time::sleep_until);
            tokio::select! {
                Some(news) = self.news.recv() => {
                    if self.take_in(news, overlay) {
                        self.due.get_or_insert_with(|| Instant::now() + GATHERED);
                    }
                }
                () = at(due) => {
                    self.due = None;
                    return;
                }
            }
        }
    }

    /// Whether anything has changed.
    fn take_in(&mut self, news: News, overlay: &mut Overlay) -> bool {
        let News { name, targets } = news;
        // Its task may have told it just before it was ended.
        let Some(followed) = self.followed.get_mut(&name) else { return false };
        followed.is_awaited = false;
        targets.is_some_and(|targets| overlay.set_name(&name, targets))
    }
}

async fn at(due: Option<tokio::time::Sleep>) {
    match due {
        Some(sleep) => sleep.await,
        None => std::future::pending().await,
    }
}
