//! From settings to a gateway at work, step by step; each may fail, and then nothing has begun.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::admin_server::AdminListener;
use super::dns::Names;
use super::fleet::{self, Fleet};
use super::health::HealthChecks;
use super::inheritance::Inheritance;
use super::instance::Gateway;
use super::log_writer::LogWriter;
use super::logging::Logging;
use super::reload::Origin;
use super::running::Running;
use super::sockets::{BindError, Listening, Sockets};
use super::systemd::Notifier;
use super::{ops, state};
use crate::admin::{AdminState, orders};
use crate::proxy::settings::{Io, Settings};
use crate::proxy::shared::Shared;
use crate::proxy::snapshot::Snapshot;
use crate::runtime::probe::{self, Choice, Wanted};
use crate::runtime::thread;
use crate::telemetry::Lookups;
use crate::telemetry::worker::Driver;

/// How long workers may take to accept.
const START_TIMEOUT: Duration = Duration::from_secs(10);

impl Running {
    /// Starts everything, and accepts. A process that hands over to this one is asked before the
    /// first connection is accepted, and told after.
    pub(super) async fn start(
        settings: Settings,
        path: Option<&Path>,
        logging: Logging,
        inheritance: &mut Inheritance,
    ) -> Result<Self, String> {
        let driver = choose_driver(settings.server.io)?;
        let workers =
            settings.server.workers.unwrap_or_else(|| thread::allowed_cpus().len()).max(1);
        let (sockets, opened) = open_sockets(&settings, workers, inheritance)?;
        let admin_bind = settings.admin.bind;
        let admin = AdminListener::open(admin_bind, inheritance.claim_admin(admin_bind)).await?;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nonce = since_epoch.as_nanos() as u64 ^ u64::from(std::process::id()) << 40;
        let origin = Origin {
            ops: format!("ringgate-{}-{nonce:016x}", std::process::id()),
            started: since_epoch.as_secs(),
        };
        let access_log = settings.access_log.as_ref().and_then(|log| log.file.clone());
        let log =
            LogWriter::start(access_log).map_err(|e| format!("cannot open the access log: {e}"))?;
        let mut overlay = state::overlay(inheritance);
        let mut names = Names::new(&settings.resolver);
        state::import_changes(inheritance, &settings, &mut overlay.changes);
        names.follow(&settings, &mut overlay).await;
        let shared = Arc::new(Shared::new(workers, nonce, |registry| {
            Snapshot::compile(1, settings, &overlay, &origin.ops, origin.started, registry)
        }));
        let gateway = gateway(&shared, &logging, names.counts(), driver, workers);
        state::import(inheritance, &gateway);
        let mut checks = HealthChecks::start(&shared);
        checks.apply(&shared.snapshot());
        let state: AdminState = gateway.clone();
        ops::start(&origin.ops, Arc::clone(&state)).map_err(|e| format!("cannot start: {e}"))?;
        let fleet = Fleet::start(driver, Arc::clone(&shared), gateway.metrics.clone(), &log)
            .map_err(|error| format!("cannot start the workers: {error}"))?;
        wait_until(|| fleet.is_turning()).await?;
        checks.first_results().await;
        let unclaimed = inheritance.close_unclaimed();
        shared.import_limits(&inheritance.await_go()?);

        let (orders, ordered) = orders::channel();
        let (admin_is_new, admin) = (admin.is_new, admin.serve(state, &orders)?);
        for listening in sockets.iter() {
            fleet.listen(listening).map_err(|error| format!("cannot listen: {error}"))?;
        }
        wait_until(|| shared.accepting() >= sockets.workers()).await?;
        let is_successor = inheritance.say_ready();
        gateway.set_listeners(sockets.known());
        let notifier = Notifier::from_environment();
        keep_sockets(&notifier, &sockets, &opened, &unclaimed, is_successor);
        if admin_is_new {
            notifier.store(admin.address, std::slice::from_ref(admin.socket()));
        }
        notifier.ready("Serving");
        Ok(Self {
            path: path.map(Path::to_owned),
            shared,
            gateway,
            fleet,
            sockets,
            log,
            logging,
            origin,
            names,
            overlay,
            checks,
            admin,
            notifier,
            hand_over: None,
            reload_waits: false,
            orders,
            ordered,
        })
    }
}

/// What the admin server shows of this process.
fn gateway(
    shared: &Arc<Shared>,
    logging: &Logging,
    lookups: Arc<Lookups>,
    driver: probe::Chosen,
    workers: usize,
) -> Arc<Gateway> {
    let metrics = fleet::metrics(workers);
    for worker in &metrics {
        worker.set_driver(Driver { name: driver.short_name(), flags: driver.flags().to_owned() });
    }
    let entries = Arc::clone(&logging.entries);
    Arc::new(Gateway::new(Arc::clone(shared), metrics, entries, lookups))
}

/// Adopts what this process was started with, opens the rest, and says which those are.
fn open_sockets(
    settings: &Settings,
    workers: usize,
    inheritance: &mut Inheritance,
) -> Result<(Sockets, Vec<SocketAddr>), String> {
    let wanted = &settings.listeners;
    let mut sockets = Sockets::claim(workers, inheritance, wanted)
        .map_err(|error| format!("cannot adopt a listening socket: {error}"))?;
    let opened = sockets.open_beside(inheritance, wanted).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(BindError::to_string).collect();
        lines.join("\n")
    })?;
    let addresses = opened.iter().map(|listening| listening.address).collect();
    sockets.adopt(opened, wanted);
    sockets.sort_as(wanted);
    Ok((sockets, addresses))
}

/// Has the service manager keep what is new, and forget what nobody wants any more.
fn keep_sockets(
    notifier: &Notifier,
    sockets: &Sockets,
    opened: &[SocketAddr],
    unclaimed: &[SocketAddr],
    is_successor: bool,
) {
    let is_new = |listening: &&Listening| opened.contains(&listening.address);
    for listening in sockets.iter().filter(is_new) {
        notifier.store(listening.address, listening.sockets());
    }
    for address in unclaimed {
        notifier.forget(*address);
        if !is_successor {
            tracing::warn!(%address, "closed a socket that came along and that no listener has");
        }
    }
}

async fn wait_until(is_so: impl Fn() -> bool) -> Result<(), String> {
    let until = Instant::now() + START_TIMEOUT;
    while !is_so() {
        if Instant::now() > until {
            return Err("the workers do not come up; the log says why".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
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
