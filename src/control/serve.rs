//! `ringgate serve`: from a file to a gateway that answers, and to its end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::fleet::{self, Fleet};
use super::instance::Gateway;
use super::log_writer::LogWriter;
use super::logging::Logging;
use super::reload::{self, Origin};
use super::sockets::Sockets;
use super::{dns, ops};
use crate::admin::{self, AdminState};
use crate::proxy::settings::{Io, Settings};
use crate::proxy::shared::Shared;
use crate::proxy::snapshot::Snapshot;
use crate::runtime::probe::{self, Choice, Wanted};
use crate::runtime::thread;
use crate::telemetry::worker::Driver;

/// How long workers may take to accept.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long workers and log may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the gateway looks after its workers.
const TICK: Duration = Duration::from_secs(1);
/// How often a drain looks whether it is over.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// Runs until a signal ends it. `path` is the file that HUP reads again; a gateway without a file
/// has nothing to reload.
///
/// # Errors
///
/// Why the gateway cannot start, in words for the operator.
pub fn serve(
    settings: Settings,
    path: Option<&Path>,
    announce: impl FnOnce(&Addresses),
) -> Result<(), String> {
    let logging = Logging::start(&settings.log);
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    control.block_on(async {
        // Before anybody is told that the gateway is there: a signal that comes early must not end it.
        let signals = Signals::new().map_err(|e| format!("cannot watch for signals: {e}"))?;
        let running = Running::start(settings, path, logging).await?;
        announce(&running.addresses());
        running.control(signals).await
    })
}

/// Where the gateway answers.
pub struct Addresses {
    pub listeners: Vec<(String, SocketAddr)>,
    pub admin: SocketAddr,
}

impl Addresses {
    /// The line that says that every listener accepts.
    pub fn announce(&self) {
        let mut line = "ready".to_owned();
        for (name, address) in &self.listeners {
            line.push_str(&format!(" {name}={address}"));
        }
        line.push_str(&format!(" admin={}\n", self.admin));
        // Nobody may be reading; the gateway runs all the same.
        let _ = io::stdout().write_all(line.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

/// A gateway that is up, with everything that keeps it so.
struct Running {
    path: Option<PathBuf>,
    shared: Arc<Shared>,
    gateway: Arc<Gateway>,
    fleet: Fleet,
    sockets: Sockets,
    log: LogWriter,
    logging: Logging,
    origin: Origin,
    admin: AdminServer,
}

/// The admin server's listener and its task.
struct AdminServer {
    configured: SocketAddr,
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl AdminServer {
    async fn start(bind: SocketAddr, state: AdminState) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!("the admin server cannot listen on {bind}: {error}; change `admin.bind`")
        };
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, admin::router(state)).await {
                tracing::error!(%error, "the admin server ended");
            }
        });
        Ok(Self { configured: bind, address, task })
    }
}

impl Running {
    async fn start(
        settings: Settings,
        path: Option<&Path>,
        logging: Logging,
    ) -> Result<Self, String> {
        let driver = choose_driver(settings.server.io)?;
        let workers =
            settings.server.workers.unwrap_or_else(|| thread::allowed_cpus().len()).max(1);
        let sockets = open_sockets(&settings, workers)?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nonce = since_epoch.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
        let origin = Origin {
            ops: format!("ringgate-{}-{nonce:016x}", std::process::id()),
            started: since_epoch.as_secs(),
        };
        let access_log = settings.access_log.as_ref().and_then(|log| log.file.clone());
        let admin_bind = settings.admin.bind;
        let log =
            LogWriter::start(access_log).map_err(|e| format!("cannot open the access log: {e}"))?;
        let shared = Arc::new(Shared::new(workers, nonce, |registry| {
            Snapshot::compile(1, settings, &origin.ops, origin.started, registry)
        }));
        dns::resolve_new(&shared.snapshot()).await;
        let metrics = fleet::metrics(workers);
        for worker in &metrics {
            worker
                .set_driver(Driver { name: driver.short_name(), flags: driver.flags().to_owned() });
        }
        let gateway = Arc::new(Gateway {
            shared: Arc::clone(&shared),
            metrics: metrics.clone(),
            log_entries: Arc::clone(&logging.entries),
            reload_failures: AtomicU64::new(0),
            alive: AtomicUsize::new(workers),
            access_log_unwritten: AtomicU64::new(0),
        });
        let state: AdminState = gateway.clone();
        ops::start(&origin.ops, Arc::clone(&state)).map_err(|e| format!("cannot start: {e}"))?;
        let admin = AdminServer::start(admin_bind, state).await?;
        let fleet = Fleet::start(driver, Arc::clone(&shared), metrics, &log)
            .map_err(|error| format!("cannot start the workers: {error}"))?;
        for listening in sockets.iter() {
            fleet.listen(listening).map_err(|error| format!("cannot listen: {error}"))?;
        }
        let path = path.map(Path::to_owned);
        let running = Self { path, shared, gateway, fleet, sockets, log, logging, origin, admin };
        running.await_workers().await?;
        Ok(running)
    }

    /// Waits until every worker accepts on every listener.
    async fn await_workers(&self) -> Result<(), String> {
        let until = Instant::now() + START_TIMEOUT;
        let has_listeners = self.sockets.iter().next().is_some();
        while has_listeners && self.shared.accepting() < self.fleet.workers() {
            if Instant::now() > until {
                return Err("the workers do not come up; the log says why".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn addresses(&self) -> Addresses {
        let named = |l: &super::sockets::Listening| (l.state.name.clone(), l.address);
        Addresses { listeners: self.sockets.iter().map(named).collect(), admin: self.admin.address }
    }

    /// Answers signals and keeps house until the end.
    async fn control(mut self, mut signals: Signals) -> Result<(), String> {
        let mut tick = tokio::time::interval(TICK);
        let mut refresh =
            tokio::time::interval_at(tokio::time::Instant::now() + dns::REFRESH, dns::REFRESH);
        loop {
            tokio::select! {
                wanted = signals.next() => match wanted {
                    Asked::Reload => self.reload().await,
                    Asked::ReopenLogs => self.reopen_logs(),
                    Asked::HandOver => tracing::warn!(
                        "SIGUSR2: handing over to a new binary is not available in this version"
                    ),
                    Asked::Drain => return self.drain(&mut signals).await,
                    Asked::Exit => return self.stop(),
                },
                _ = tick.tick() => self.look_after(),
                _ = refresh.tick() => self.resolve(),
            }
        }
    }

    fn look_after(&mut self) {
        self.fleet.look_after(&self.sockets, &self.log);
        self.gateway.alive.store(self.fleet.alive(), Ordering::Relaxed);
        self.gateway.access_log_unwritten.store(self.log.unwritten(), Ordering::Relaxed);
    }

    fn resolve(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { dns::resolve_all(&shared).await });
    }

    async fn reload(&mut self) {
        let Some(path) = &self.path else {
            tracing::warn!("this gateway has no configuration file to read again");
            return;
        };
        let Self { shared, sockets, fleet, logging, origin, .. } = self;
        match reload::reload(path, shared, sockets, fleet, logging, origin).await {
            Ok(snapshot) => {
                self.log.open(snapshot.settings.access_log.as_ref().and_then(|l| l.file.clone()));
                self.move_admin(snapshot.settings.admin.bind).await;
                tracing::info!(generation = snapshot.generation, "reloaded");
            }
            Err(report) => {
                self.gateway.reload_failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the configuration stays as it was\n{report}");
            }
        }
    }

    async fn move_admin(&mut self, bind: SocketAddr) {
        if bind == self.admin.configured {
            return;
        }
        match AdminServer::start(bind, self.gateway.clone()).await {
            Ok(moved) => std::mem::replace(&mut self.admin, moved).task.abort(),
            Err(error) => tracing::error!(error, "the admin server stays where it is"),
        }
    }

    fn reopen_logs(&self) {
        let snapshot = self.shared.snapshot();
        self.log.open(snapshot.settings.access_log.as_ref().and_then(|log| log.file.clone()));
    }

    /// Lets exchanges end, for as long as the configuration gives them; takes no new connection.
    async fn drain(mut self, signals: &mut Signals) -> Result<(), String> {
        let timeout = self.shared.snapshot().settings.server.drain_timeout;
        tracing::info!(?timeout, connections = self.shared.connections(), "draining");
        self.shared.start_draining();
        self.fleet.tell_all(|| crate::proxy::worker::Message::Drain);
        let until = Instant::now() + timeout;
        while self.shared.accepting() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_TICK).await;
        }
        self.sockets.close();
        while self.shared.connections() > 0 && Instant::now() < until {
            tokio::select! {
                wanted = signals.next() => if matches!(wanted, Asked::Exit) { break },
                () = tokio::time::sleep(DRAIN_TICK) => {}
            }
        }
        let left = self.shared.connections();
        if left > 0 {
            tracing::warn!(left, "the drain time is over; closing connections");
        }
        self.stop()
    }

    fn stop(self) -> Result<(), String> {
        self.fleet.stop(STOP_TIMEOUT);
        if !self.log.stop(STOP_TIMEOUT) {
            tracing::warn!("the access log could not be written to its end");
        }
        Ok(())
    }
}

fn choose_driver(io: Io) -> Result<probe::Chosen, String> {
    let wanted = match io {
        Io::Auto => Wanted::Any,
        Io::IoUring => Wanted::IoUring,
        Io::Epoll => Wanted::Epoll,
    };
    let Choice { chosen, passed_over } =
        probe::choose(wanted).map_err(|error| format!("no I/O driver works here: {error}"))?;
    for reason in passed_over {
        tracing::warn!(reason, "passed over an I/O driver");
    }
    tracing::info!(driver = chosen.name(), "chose an I/O driver");
    Ok(chosen)
}

fn open_sockets(settings: &Settings, workers: usize) -> Result<Sockets, String> {
    let mut sockets = Sockets::new(workers);
    match sockets.open_missing(&settings.listeners) {
        Ok(opened) => {
            sockets.adopt(opened, &settings.listeners);
            Ok(sockets)
        }
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(lines.join("\n"))
        }
    }
}

/// Waits for a signal that ends a program.
pub fn until_signal() -> io::Result<()> {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    control.block_on(async {
        let mut signals = Signals::new()?;
        while !matches!(signals.next().await, Asked::Drain | Asked::Exit) {}
        Ok(())
    })
}

/// What a signal asks for.
enum Asked {
    Reload,
    ReopenLogs,
    HandOver,
    Drain,
    Exit,
}

struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    term: Signal,
    quit: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr1.recv() => Asked::ReopenLogs,
            _ = self.usr2.recv() => Asked::HandOver,
            _ = self.term.recv() => Asked::Drain,
            _ = self.quit.recv() => Asked::Drain,
            _ = self.int.recv() => Asked::Exit,
        }
    }
}
