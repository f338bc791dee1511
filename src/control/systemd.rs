//! The service manager: sockets that it passes, and what it is told.
//!
//! Both protocols are plain (sd_listen_fds(3), sd_notify(3)): numbers in the environment, and
//! datagrams of `NAME=VALUE` lines. Whoever else sets these variables gets the same.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use socket2::SockAddr;

use super::os;

/// SD_LISTEN_FDS_START.
const FIRST_SOCKET: RawFd = 3;

/// More than a service has; also what `systemd` keeps at most by default of `NR_OPEN`.
const SOCKETS_MAX: RawFd = 64 * 1024;

/// Whether a service manager may have our listening sockets, too, and go on listening.
pub(super) fn may_hold_sockets() -> bool {
    // Kept by those who follow in a hand-over, as are the sockets.
    ["LISTEN_FDS", "NOTIFY_SOCKET"].iter().any(|name| env::var_os(name).is_some())
}

/// The sockets that were passed to this process, with their names.
///
/// # Errors
///
/// Sockets are announced that are not there.
pub(super) fn sockets() -> Result<Vec<(String, OwnedFd)>, String> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<i64>().ok());
    // Children of a service inherit its environment, but not its sockets.
    if number("LISTEN_PID") != Some(i64::from(std::process::id())) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let numbers = FIRST_SOCKET..FIRST_SOCKET + count.clamp(0, SOCKETS_MAX);
    let take = |number| {
        let name = names.next().unwrap_or("unknown").to_owned();
        let socket = os::inherited(number);
        let socket = socket.map_err(|e| format!("LISTEN_FDS={count}, but not {number}: {e}"))?;
        Ok((name, socket))
    };
    numbers.map(take).collect()
}

/// Tells the service manager what this process does; nobody, if there is none.
pub(super) struct Notifier {
    peer: Option<(UnixDatagram, SockAddr)>,
    /// How often it wants to hear that this process is alive.
    watchdog: Option<Duration>,
}

impl Notifier {
    pub(super) fn from_environment() -> Self {
        let peer = env::var("NOTIFY_SOCKET").ok().and_then(|path| match connect(&path) {
            Ok(peer) => Some(peer),
            Err(error) => {
                tracing::warn!(path, %error, "cannot tell the service manager anything");
                None
            }
        });
        let variable = |name| env::var(name).ok();
        let pid = std::process::id();
        Self { watchdog: watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), pid), peer }
    }

    /// How often to call [`Self::alive`]: twice as often as the manager looks.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.peer.as_ref().and(self.watchdog).map(|interval| interval / 2)
    }

    pub(super) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    pub(super) fn status(&self, status: &str) {
        self.send(&format!("STATUS={status}"));
    }

    /// To be followed by [`Self::ready`] (`Type=notify-reload`).
    pub(super) fn reloading(&self) {
        let now = os::monotonic_micros();
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Reloading"));
    }

    /// `limit` is how long the end may take, whatever the unit says.
    pub(super) fn stopping(&self, limit: Duration) {
        let limit = limit.as_micros();
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={limit}\nSTATUS=Draining"));
    }

    /// Another process is the service from now on. Nothing is to be said after this: it would be
    /// taken for that of the service.
    pub(super) fn main_process_is(&self, pid: u32) {
        self.send(&format!("MAINPID={pid}"));
    }

    /// Has the manager keep copies of a listener's sockets, so that the next process gets them
    /// should this one crash.
    pub(super) fn store(&self, address: SocketAddr, sockets: &[OwnedFd]) {
        let text = format!("FDSTORE=1\nFDNAME={}", stored_name(address));
        for sockets in sockets.chunks(os::DESCRIPTORS_MAX) {
            let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
            self.send_with(&text, &sockets);
        }
    }

    /// Has the manager close its copies: a socket that listens and that nobody accepts on would
    /// let clients wait for ever.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}", stored_name(address)));
    }

    fn send(&self, text: &str) {
        self.send_with(text, &[]);
    }

    fn send_with(&self, text: &str, descriptors: &[BorrowedFd<'_>]) {
        let Some((socket, target)) = &self.peer else { return };
        if let Err(error) = os::send_descriptors(socket, target, text.as_bytes(), descriptors) {
            tracing::warn!(text, %error, "the service manager does not hear");
        }
    }
}

/// `@NAME` is in the abstract namespace.
fn connect(path: &str) -> io::Result<(UnixDatagram, SockAddr)> {
    let target = match path.strip_prefix('@') {
        Some(name) => SockAddr::unix(format!("\0{name}"))?,
        None => SockAddr::unix(path)?,
    };
    Ok((UnixDatagram::unbound()?, target))
}

/// The interval, if it is meant for the process `pid`.
fn watchdog(micros: Option<String>, of: Option<String>, pid: u32) -> Option<Duration> {
    let is_ours = of.is_none_or(|of| of.parse() == Ok(pid));
    let micros = micros?.parse().ok().filter(|micros| *micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros))
}

/// A name for the manager's store, which allows no colon.
fn stored_name(address: SocketAddr) -> String {
    format!("listen-{}", address.to_string().replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let some = |text: &str| Some(text.to_owned());
        let two = Some(Duration::from_secs(2));
        assert_eq!(watchdog(some("2000000"), some("7"), 7), two);
        assert_eq!(watchdog(some("2000000"), None, 7), two);
        assert_eq!(watchdog(some("2000000"), some("8"), 7), None);
        assert_eq!(watchdog(some("0"), None, 7), None);
        assert_eq!(watchdog(None, None, 7), None);
    }

    #[test]
    fn names_in_the_store_have_no_colon() {
        assert_eq!(stored_name("[::1]:80".parse().unwrap()), "listen-[--1]-80");
        assert_eq!(stored_name("127.0.0.1:80".parse().unwrap()), "listen-127.0.0.1-80");
    }
}
