//! A new configuration for the running gateway: all of it, or nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use super::dns::Names;
use super::fleet::Fleet;
use super::health::HealthChecks;
use super::log_writer;
use super::logging::Logging;
use super::runtime_changes;
use super::sockets::{Listening, Sockets};
use crate::config;
use crate::proxy::overlay::Overlay;
use crate::proxy::settings::Settings;
use crate::proxy::shared::Shared;
use crate::proxy::snapshot::Snapshot;
use crate::proxy::worker::Message;

/// What the first snapshot and all later ones are compiled with.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The abstract socket of this process's admin server.
    pub ops: String,
    /// When the process started, in seconds since 1970.
    pub started: u64,
}

/// What a reload has changed.
pub struct Reloaded {
    pub snapshot: Arc<Snapshot>,
    /// Addresses that are listened on from now on.
    pub opened: Vec<SocketAddr>,
    /// Addresses that are not any more.
    pub gone: Vec<SocketAddr>,
}

/// Reads the file and puts it in force.
///
/// # Errors
///
/// Why not, in the words of `ringgate check`. Nothing has changed then.
pub(super) async fn reload(
    path: &Path,
    shared: &Arc<Shared>,
    sockets: &mut Sockets,
    fleet: &Fleet,
    logging: &Logging,
    origin: &Origin,
    names: &mut Names,
    overlay: &mut Overlay,
    checks: &mut HealthChecks,
) -> Result<Reloaded, String> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = config::load(path, &env).map_err(|report| report.to_string())?;
    let settings = loaded.settings;
    if !loaded.report.warnings.is_empty() {
        tracing::warn!("{}", loaded.report);
    }
    can_open_access_log(&settings)?;
    let opened = sockets.open_missing(&settings.listeners).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    let before = shared.snapshot();
    warn_of_what_stays(&before.settings, &settings);
    logging.apply(&settings.log);
    let shares = opened
        .iter()
        .map(|listening| fleet.share_out(listening))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("cannot listen: {error}"))?;
    let generation = before.generation + 1;
    let wanted = settings.listeners.clone();
    runtime_changes::end_with(&settings, &mut overlay.changes);
    names.follow(&settings, overlay).await;
    let snapshot = shared.prepare(|registry| {
        Snapshot::compile(generation, settings, overlay, &origin.ops, origin.started, registry)
    });
    checks.apply(&snapshot);
    checks.first_results().await;
    shared.publish(snapshot);
    for (listening, sockets) in opened.iter().zip(shares) {
        fleet.listen_on(listening, sockets);
    }
    let addresses = |listeners: &[Listening]| listeners.iter().map(|l| l.address).collect();
    let new = addresses(&opened);
    let gone = sockets.adopt(opened, &wanted);
    gone.iter().for_each(|listening| fleet.unlisten(listening));
    fleet.tell_all(|| Message::Reload);
    Ok(Reloaded { snapshot: shared.snapshot(), opened: new, gone: addresses(&gone) })
}

/// A log that cannot be written is a bad configuration, before anything has changed.
fn can_open_access_log(settings: &Settings) -> Result<(), String> {
    match &settings.access_log {
        Some(log) => log_writer::open(log.file.as_deref())
            .map(drop)
            .map_err(|error| format!("cannot open the access log: {error}")),
        None => Ok(()),
    }
}

fn warn_of_what_stays(before: &Settings, after: &Settings) {
    let stays = |what: &str| {
        tracing::warn!("{what} has changed in the file; it stays as it is until a restart");
    };
    if before.server.workers != after.server.workers {
        stays("server.workers");
    }
    if before.server.io != after.server.io {
        stays("server.io");
    }
    if before.log.format != after.log.format {
        stays("log.format");
    }
}
