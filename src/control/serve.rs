//! `ringgate serve`: from a file to a gateway that answers, and to its end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use super::inheritance::Inheritance;
use super::logging::Logging;
use super::running::Running;
use super::signals::Signals;
use crate::net::descriptors;
use crate::proxy::settings::Settings;

/// Runs until a signal ends it, or a new process takes over. `path` is the file that HUP reads
/// again; a gateway without a file has nothing to reload.
///
/// # Errors
///
/// Why the gateway cannot start, in words for the operator. A process that wanted to hand over
/// knows by then.
pub fn serve(
    settings: Settings,
    path: Option<&Path>,
    mut inheritance: Inheritance,
    announce: impl FnOnce(&Addresses),
) -> Result<(), String> {
    let logging = Logging::start(&settings.log);
    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "cannot raise the limit of descriptors");
    }
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    control.block_on(async {
        // Before anybody is told that the gateway is there: a signal that comes early must not end it.
        let signals = Signals::new().map_err(|e| format!("cannot watch for signals: {e}"))?;
        let running = Running::start(settings, path, logging, &mut inheritance).await;
        let running = running.inspect_err(|why| inheritance.refuse(why))?;
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
