//! The workers of this process: started, told, watched, replaced.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::log_writer::LogWriter;
use super::sockets::{Listening, Sockets};
use crate::http::refusal::Refusal;
use crate::proxy::shared::Shared;
use crate::proxy::worker::{self, Message, Parts};
use crate::runtime::core::Core;
use crate::runtime::mailbox::Mailbox;
use crate::runtime::probe::Chosen;
use crate::runtime::thread;
use crate::telemetry::WorkerMetrics;

/// Messages that may wait for one worker: connections handed over, mostly.
const MAILBOX_CAPACITY: usize = 4096;

/// A worker whose loop has not turned for this long is taken for dead. It turns at least five
/// times a second by itself, and never waits for anything else.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// All workers, from start to end.
pub struct Fleet {
    chosen: Chosen,
    shared: Arc<Shared>,
    mailboxes: Arc<[Mailbox<Message>]>,
    metrics: Vec<Arc<WorkerMetrics>>,
    cpus: Vec<usize>,
    watched: Vec<Watched>,
}

/// What is known of a worker's life.
struct Watched {
    thread: JoinHandle<io::Result<()>>,
    /// Tells the worker that it has lost its place, should it come to life again.
    replaced: Arc<AtomicBool>,
    turns: u64,
    turned_at: Instant,
}

/// The metrics of `count` workers.
pub fn metrics(count: usize) -> Vec<Arc<WorkerMetrics>> {
    let labels = refusal_labels();
    (0..count).map(|index| Arc::new(WorkerMetrics::new(index, labels, labels))).collect()
}

/// Refusals and response faults share their words.
fn refusal_labels() -> &'static [&'static str] {
    static LABELS: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    LABELS.get_or_init(|| Refusal::ALL.iter().map(|refusal| refusal.label()).collect())
}

impl Fleet {
    /// Starts a worker for each of `metrics`, on the allowed CPUs in turn.
    pub fn start(
        chosen: Chosen,
        shared: Arc<Shared>,
        metrics: Vec<Arc<WorkerMetrics>>,
        log: &LogWriter,
    ) -> io::Result<Self> {
        let mailboxes = metrics.iter().map(|_| Mailbox::new(MAILBOX_CAPACITY)).collect();
        let cpus = thread::allowed_cpus();
        let mut fleet = Self { chosen, shared, mailboxes, metrics, cpus, watched: Vec::new() };
        for index in 0..fleet.metrics.len() {
            let started = fleet.start_worker(index, log)?;
            fleet.watched.push(started);
        }
        Ok(fleet)
    }

    fn start_worker(&self, index: usize, log: &LogWriter) -> io::Result<Watched> {
        let replaced = Arc::<AtomicBool>::default();
        let metrics = &self.metrics[index];
        let parts = Parts {
            shared: Arc::clone(&self.shared),
            metrics: Arc::clone(metrics),
            mailboxes: Arc::clone(&self.mailboxes),
            log: log.sink(Arc::clone(metrics)),
            replaced: Arc::clone(&replaced),
        };
        // More workers than CPUs share them; fewer leave some to others.
        let cpu = self.cpus.get(index % self.cpus.len().max(1)).copied();
        let stats = Arc::clone(&metrics.event_loop);
        let prepare = |core: &Rc<Core>| worker::prepare(core, parts);
        let thread = thread::start(index, cpu, self.chosen, stats, prepare)?;
        Ok(Watched { thread, replaced, turns: 0, turned_at: Instant::now() })
    }

    pub fn workers(&self) -> usize {
        self.watched.len()
    }

    /// Has the workers accept on this listener's sockets.
    pub fn listen(&self, listening: &Listening) -> io::Result<()> {
        self.listen_on(listening, self.share_out(listening)?);
        Ok(())
    }

    /// This listener's sockets as the workers will have them.
    pub fn share_out(&self, listening: &Listening) -> io::Result<Vec<(usize, OwnedFd)>> {
        listening.share_out(self.workers())
    }

    /// Has each of these workers accept on its socket.
    pub fn listen_on(&self, listening: &Listening, shares: Vec<(usize, OwnedFd)>) {
        for (worker, socket) in shares {
            self.tell(worker, Message::Listen(Arc::clone(&listening.state), socket));
        }
    }

    /// Whether the loop of every worker turns.
    pub fn is_turning(&self) -> bool {
        self.metrics.iter().all(|metrics| metrics.event_loop.turns.get() > 0)
    }

    pub fn unlisten(&self, listening: &Listening) {
        self.tell_all(|| Message::Unlisten(Arc::clone(&listening.state)));
    }

    pub fn tell_all(&self, message: impl Fn() -> Message) {
        (0..self.workers()).for_each(|worker| self.tell(worker, message()));
    }

    fn tell(&self, worker: usize, message: Message) {
        if self.mailboxes[worker].send(message).is_err() {
            tracing::error!(worker, "a worker's mailbox is full: it has stopped reading");
        }
    }

    /// Replaces workers that have ended or stopped turning. To be called once a second.
    pub fn look_after(&mut self, sockets: &Sockets, log: &LogWriter) {
        for index in 0..self.workers() {
            let turns = self.metrics[index].event_loop.turns.get();
            let watched = &mut self.watched[index];
            if turns != watched.turns {
                watched.turns = turns;
                watched.turned_at = Instant::now();
            }
            let ended = watched.thread.is_finished();
            if ended || watched.turned_at.elapsed() > SILENCE_MAX {
                self.replace(index, ended, sockets, log);
            }
        }
    }

    fn replace(&mut self, index: usize, ended: bool, sockets: &Sockets, log: &LogWriter) {
        self.watched[index].replaced.store(true, Ordering::Relaxed);
        let watched = match self.start_worker(index, log) {
            Ok(watched) => watched,
            Err(error) => {
                tracing::error!(worker = index, %error, "cannot replace a worker; trying again");
                return;
            }
        };
        let dead = std::mem::replace(&mut self.watched[index], watched);
        let cause = match (ended, ended.then(|| dead.thread.join())) {
            (true, Some(Ok(Ok(())))) => "its loop ended".to_owned(),
            (true, Some(Ok(Err(error)))) => error.to_string(),
            (true, Some(Err(_))) => "it panicked outside of its tasks".to_owned(),
            _ => format!("its loop has not turned for {} s", SILENCE_MAX.as_secs()),
        };
        tracing::error!(worker = index, cause, "replaced a worker");
        self.listen_again(index, sockets);
    }

    /// Gives a new worker the sockets of the one it replaces, with all who wait in their queues.
    fn listen_again(&self, index: usize, sockets: &Sockets) {
        let draining = self.shared.is_draining();
        if draining && !self.shared.accepts(index) {
            // The dead one had served its queues.
            return;
        }
        self.shared.set_accepting(index, draining);
        for listening in sockets.iter() {
            match listening.share_of(index, self.workers()) {
                Ok(sockets) => sockets.into_iter().for_each(|socket| {
                    self.tell(index, Message::Listen(Arc::clone(&listening.state), socket));
                }),
                Err(error) => tracing::error!(worker = index, %error, "cannot listen again"),
            }
        }
        if draining {
            self.tell(index, Message::Drain);
        }
    }

    /// For each worker, whether its loop has turned lately.
    pub fn alive(&self) -> impl Iterator<Item = bool> {
        let is_alive = |w: &Watched| !w.thread.is_finished() && w.turned_at.elapsed() < SILENCE_MAX;
        self.watched.iter().map(is_alive)
    }

    /// Ends all workers; those that do not end in time are left behind.
    pub fn stop(self, patience: Duration) {
        self.tell_all(|| Message::Stop);
        let until = Instant::now() + patience;
        for watched in self.watched {
            while !watched.thread.is_finished() && Instant::now() < until {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            if watched.thread.is_finished()
                && let Ok(Err(error)) = watched.thread.join()
            {
                tracing::error!(%error, "a worker ended with an error");
            }
        }
    }
}

#[cfg(test)]
mod tests;
