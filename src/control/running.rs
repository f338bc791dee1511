//! A gateway that is up: it answers signals and keeps house until the end.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::admin_server::{AdminListener, AdminServer};
use super::dns::Names;
use super::drain::End;
use super::fleet::Fleet;
use super::handover::{Failure, HandOver, Offer};
use super::health::HealthChecks;
use super::instance::Gateway;
use super::log_writer::LogWriter;
use super::logging::Logging;
use super::reload::{self, Origin, Reloaded};
use super::serve::Addresses;
use super::signals::{Asked, Signals};
use super::sockets::{Listening, Sockets};
use super::state;
use super::systemd::Notifier;
use crate::admin::Instance as _;
use crate::admin::orders::{Given, Orders, Rejection};
use crate::proxy::overlay::Overlay;
use crate::proxy::shared::Shared;
use crate::proxy::worker::Message;
use crate::telemetry::HandOverOutcome;

/// How often the gateway looks after its workers.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// A gateway with everything that keeps it so.
pub(super) struct Running {
    pub(super) path: Option<PathBuf>,
    pub(super) shared: Arc<Shared>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) fleet: Fleet,
    pub(super) sockets: Sockets,
    pub(super) log: LogWriter,
    pub(super) logging: Logging,
    pub(super) origin: Origin,
    pub(super) names: Names,
    pub(super) overlay: Overlay,
    pub(super) checks: HealthChecks,
    pub(super) admin: AdminServer,
    pub(super) notifier: Notifier,
    /// Under way.
    pub(super) hand_over: Option<HandOver>,
    /// A reload was asked for while a hand-over was under way.
    pub(super) reload_waits: bool,
    /// For the next admin server.
    pub(super) orders: Orders,
    pub(super) ordered: Receiver<Given>,
}

impl Running {
    pub(super) fn addresses(&self) -> Addresses {
        let named = |l: &Listening| (l.state.name.clone(), l.address);
        Addresses { listeners: self.sockets.iter().map(named).collect(), admin: self.admin.address }
    }

    /// Answers signals and keeps house until the end.
    pub(super) async fn control(mut self, mut signals: Signals) -> Result<(), String> {
        let mut tick = tokio::time::interval(TICK);
        let mut heartbeat = self.notifier.heartbeat().map(tokio::time::interval);
        loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reload => drop(self.reload().await),
                    Asked::ReopenLogs => self.reopen_logs(),
                    Asked::HandOver => self.hand_over(),
                    Asked::Drain => {
                        let end = self.call_off().await;
                        return self.drain(&mut signals, end).await;
                    }
                    Asked::Exit => {
                        self.call_off().await;
                        return self.stop();
                    }
                },
                outcome = outcome_of(&mut self.hand_over) => {
                    self.hand_over = None;
                    match self.settle(outcome) {
                        Some(pid) => return self.drain(&mut signals, End::HandedOver(pid)).await,
                        None if std::mem::take(&mut self.reload_waits) => drop(self.reload().await),
                        None => {}
                    }
                },
                Some(given) = self.ordered.recv() => self.carry_out(given).await,
                _ = tick.tick() => self.look_after(),
                () = self.names.changed(&mut self.overlay) => self.republish(),
                () = next_beat(&mut heartbeat) => self.beat(),
            }
        }
    }

    pub(super) fn look_after(&mut self) {
        self.fleet.look_after(&self.sockets, &self.log);
        for (alive, is_alive) in self.gateway.alive.iter().zip(self.fleet.alive()) {
            alive.store(is_alive, Ordering::Relaxed);
        }
        self.gateway.observe();
        self.gateway.access_log_unwritten.store(self.log.unwritten(), Ordering::Relaxed);
    }

    /// A process whose workers are all dead is not alive, whoever else of it is.
    fn beat(&self) {
        if self.gateway.workers_alive() > 0 {
            self.notifier.alive();
        }
    }

    /// Puts the same configuration in force again, with what has changed over it.
    pub(super) fn republish(&mut self) {
        let before = self.shared.snapshot();
        let snapshot = self.shared.prepare(|registry| before.with(&self.overlay, registry));
        self.checks.apply(&snapshot);
        self.shared.publish(snapshot);
        self.fleet.tell_all(|| Message::Reload);
    }

    /// # Errors
    ///
    /// Why the configuration stays as it was, or is read later; the log has been told.
    pub(super) async fn reload(&mut self) -> Result<(), Rejection> {
        let Some(path) = &self.path else {
            let why = "this gateway has no configuration file to read again";
            tracing::warn!("{why}");
            return Err(Rejection::Refused(why.into()));
        };
        if self.hand_over.is_some() {
            let why = "a new process is reading the file; it is read here if that fails";
            tracing::warn!("{why}");
            self.reload_waits = true;
            return Err(Rejection::Busy(why.into()));
        }
        self.notifier.reloading();
        let Self { shared, sockets, fleet, logging, origin, names, overlay, checks, .. } = self;
        let reloading =
            reload::reload(path, shared, sockets, fleet, logging, origin, names, overlay, checks);
        match reloading.await {
            Ok(reloaded) => {
                self.settle_reload(&reloaded).await;
                Ok(())
            }
            Err(report) => {
                self.gateway.reload_failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the configuration stays as it was\n{report}");
                self.notifier.ready("Serving; the last reload was refused");
                Err(Rejection::Refused(report))
            }
        }
    }

    async fn settle_reload(&mut self, reloaded: &Reloaded) {
        let Reloaded { snapshot, opened, gone } = reloaded;
        for listening in self.sockets.iter().filter(|l| opened.contains(&l.address)) {
            self.notifier.store(listening.address, listening.sockets());
        }
        gone.iter().for_each(|address| self.notifier.forget(*address));
        self.gateway.set_listeners(self.sockets.known());
        self.log.open(snapshot.settings.access_log.as_ref().and_then(|l| l.file.clone()));
        self.move_admin(snapshot.settings.admin.bind).await;
        tracing::info!(generation = snapshot.generation, "reloaded");
        self.notifier.ready("Serving");
    }

    async fn move_admin(&mut self, bind: SocketAddr) {
        if bind == self.admin.configured {
            return;
        }
        let opened = AdminListener::open(bind, None).await;
        let serving =
            opened.and_then(|listener| listener.serve(self.gateway.clone(), &self.orders));
        match serving {
            Ok(moved) => {
                self.notifier.forget(self.admin.address);
                self.notifier.store(moved.address, std::slice::from_ref(moved.socket()));
                self.admin = moved;
            }
            Err(error) => tracing::error!(error, "the admin server stays where it is"),
        }
    }

    fn reopen_logs(&self) {
        let snapshot = self.shared.snapshot();
        self.log.open(snapshot.settings.access_log.as_ref().and_then(|log| log.file.clone()));
    }

    /// Starts a new process that is to take over.
    fn hand_over(&mut self) {
        if self.hand_over.is_some() {
            tracing::warn!("a hand-over is under way already; this signal starts no second one");
            return;
        }
        let limit = self.shared.snapshot().settings.server.handover_timeout;
        let shared = Arc::clone(&self.shared);
        let limits = move || shared.export_limits();
        let mut offer = Offer::default();
        let state = state::export(&self.gateway, &self.overlay);
        let started = self
            .sockets
            .offer(&mut offer)
            .and_then(|()| self.admin.offer(&mut offer))
            .and_then(|()| HandOver::start(offer, state, limits, limit));
        match started {
            Ok(hand_over) => {
                tracing::info!(?limit, "handing over to a new process");
                self.notifier.status("Handing over to a new process");
                self.hand_over = Some(hand_over);
            }
            Err(error) => {
                let outcome = HandOverOutcome::NotStarted;
                self.settle(Err(Failure { outcome, why: error.to_string() }));
            }
        }
    }

    /// The PID of the process that has taken over, if it has.
    fn settle(&self, outcome: Result<u32, Failure>) -> Option<u32> {
        match outcome {
            Ok(pid) => {
                // Counted by the new process, which is the one that is asked from now on.
                tracing::info!(pid, "handed over to a new process");
                if self.reload_waits {
                    tracing::warn!(pid, "a reload that was asked for meanwhile is left to it");
                }
                Some(pid)
            }
            Err(Failure { outcome, why }) => {
                self.gateway.hand_overs.count(outcome);
                let outcome = outcome.label();
                tracing::error!(outcome, "the new process does not take over; going on: {why}");
                self.notifier.status("Serving; the last hand-over failed");
                None
            }
        }
    }

    /// Ends a hand-over that is under way. How to drain depends on whether that was in time.
    async fn call_off(&mut self) -> End {
        let Some(hand_over) = self.hand_over.take() else { return End::Last };
        let outcome = hand_over.cancel().await;
        self.settle(outcome).map_or(End::Last, End::HandedOver)
    }
}

async fn outcome_of(hand_over: &mut Option<HandOver>) -> Result<u32, Failure> {
    match hand_over {
        Some(hand_over) => hand_over.outcome().await,
        None => pending().await,
    }
}

async fn next_beat(heartbeat: &mut Option<tokio::time::Interval>) {
    match heartbeat {
        Some(interval) => drop(interval.tick().await),
        None => pending().await,
    }
}
