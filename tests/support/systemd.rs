//! A service manager, as far as a service sees one: sockets to begin with, and somebody to tell.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use tempfile::TempDir;

use super::PATIENCE;

/// SD_LISTEN_FDS_START.
const FIRST: RawFd = 3;

/// A manager; its clones are the same one.
#[derive(Clone)]
pub struct Systemd {
    inner: Arc<Inner>,
    watchdog: Option<&'static str>,
}

struct Inner {
    dir: TempDir,
    notified: UnixDatagram,
    sockets: Vec<(String, TcpListener)>,
}

/// A manager that passes a listening socket on a port of its own under each of these names.
pub fn systemd(names: &[&str]) -> Systemd {
    let dir = tempfile::tempdir().expect("a directory for the manager's socket");
    let notified = UnixDatagram::bind(dir.path().join("notify")).expect("the name is free");
    notified.set_read_timeout(Some(PATIENCE)).expect("a read timeout is settable");
    let socket = |name: &&str| {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        (name.to_string(), socket)
    };
    let sockets = names.iter().map(socket).collect();
    Systemd { inner: Arc::new(Inner { dir, notified, sockets }), watchdog: None }
}

impl Systemd {
    /// The address of the socket at this place.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.inner.sockets[index].1.local_addr().expect("a bound socket has an address")
    }

    /// The same manager, which wants a sign of life each so many microseconds.
    pub fn with_watchdog(&self, micros: &'static str) -> Self {
        Self { watchdog: Some(micros), ..self.clone() }
    }

    /// Starts `program` as this manager would.
    pub fn command(&self, program: &Path) -> Command {
        // The shell knows the PID that the program will have.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "LISTEN_PID=$$ exec \"$0\" \"$@\""]).arg(program);
        let names: Vec<&str> = self.inner.sockets.iter().map(|(name, _)| name.as_str()).collect();
        command.env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        command.env("NOTIFY_SOCKET", self.inner.dir.path().join("notify"));
        command.envs(self.watchdog.map(|micros| ("WATCHDOG_USEC", micros)));
        let inner = Arc::clone(&self.inner);
        let numbers = FIRST..;
        let place = move || {
            // Out of the way first: a socket may have the number that another one is to get.
            let spare = 1000;
            let each = || inner.sockets.iter().zip(numbers.clone());
            for ((_, socket), number) in each() {
                duplicate(socket.as_raw_fd(), spare + number)?;
            }
            each().try_for_each(|(_, number)| duplicate(spare + number, number))
        };
        // SAFETY: dup2 may be called between fork and exec, and nothing else is.
        unsafe { command.pre_exec(place) };
        command
    }

    /// The next message in which a line begins so; others are passed over.
    pub fn expect(&self, line: &str) -> String {
        let since = Instant::now();
        let mut others = Vec::new();
        while since.elapsed() < PATIENCE {
            let mut buffer = [0; 4096];
            let Ok(length) = self.inner.notified.recv(&mut buffer) else { break };
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|is| is.starts_with(line)) {
                return message;
            }
            others.push(message);
        }
        panic!("no message with {line}, but {others:?}");
    }

    /// Every message so far that has not been read.
    pub fn rest(&self) -> Vec<String> {
        self.inner.notified.set_nonblocking(true).expect("a socket can be told not to wait");
        let mut buffer = [0; 4096];
        let mut messages = Vec::new();
        while let Ok(length) = self.inner.notified.recv(&mut buffer) {
            messages.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        self.inner.notified.set_nonblocking(false).expect("and to wait again");
        messages
    }
}

fn duplicate(from: RawFd, to: RawFd) -> std::io::Result<()> {
    // SAFETY: takes no pointers.
    match unsafe { libc::dup2(from, to) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}
