//! The listening sockets of this process: made once, kept until their address is configured no
//! more.
//!
//! Workers accept on duplicates. What waits in a socket's queue belongs to the socket, so a worker
//! may die and be replaced, and nobody who has connected is turned away.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::net::listener;
use crate::proxy::settings;
use crate::proxy::worker::ListenerState;

/// All listeners in force.
pub struct Sockets {
    workers: usize,
    listeners: Vec<Listening>,
}

/// One listener: a socket for each worker, on one address.
pub struct Listening {
    pub state: Arc<ListenerState>,
    /// With the port that the kernel chose, if it was to choose.
    pub address: SocketAddr,
    sockets: Vec<OwnedFd>,
}

/// Why a listener cannot be had.
#[derive(Debug)]
pub struct BindError {
    pub name: String,
    pub address: SocketAddr,
    pub cause: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, address, cause } = self;
        write!(f, "listener \"{name}\" cannot listen on {address}: {cause}")?;
        match cause.kind() {
            io::ErrorKind::AddrInUse => f.write_str("; stop the other program, or change `bind`"),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; ports below 1024 need CAP_NET_BIND_SERVICE or a lower \
                 net.ipv4.ip_unprivileged_port_start",
            ),
            io::ErrorKind::AddrNotAvailable => f.write_str("; this host has no such address"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for BindError {}

impl Listening {
    fn open(settings: &settings::Listener, workers: usize) -> Result<Self, BindError> {
        let failed =
            |cause| BindError { name: settings.name.clone(), address: settings.bind, cause };
        if listener::is_taken(settings.bind) {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        let sockets = listener::bind(settings.bind, workers).map_err(failed)?;
        let address = sockets.first().map_or(Ok(settings.bind), listener::local_address);
        Ok(Self {
            state: ListenerState::new(settings.name.clone(), settings.bind),
            address: address.map_err(failed)?,
            sockets,
        })
    }

    /// The socket of one worker, to accept on.
    pub fn socket_of(&self, worker: usize) -> io::Result<OwnedFd> {
        self.sockets[worker % self.sockets.len()].try_clone()
    }
}

impl Sockets {
    pub fn new(workers: usize) -> Self {
        Self { workers, listeners: Vec::new() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Listening> {
        self.listeners.iter()
    }

    /// Opens what `wanted` has and this has not. Nothing changes until [`Self::adopt`].
    pub fn open_missing(
        &self,
        wanted: &[settings::Listener],
    ) -> Result<Vec<Listening>, Vec<BindError>> {
        let missing =
            wanted.iter().filter(|w| !self.listeners.iter().any(|known| known.state.is_of(w)));
        let mut opened = Vec::new();
        let mut errors = Vec::new();
        for settings in missing {
            match Listening::open(settings, self.workers) {
                Ok(listening) => opened.push(listening),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(opened) } else { Err(errors) }
    }

    /// Takes in what was opened and gives back what `wanted` has no more.
    pub fn adopt(
        &mut self,
        opened: Vec<Listening>,
        wanted: &[settings::Listener],
    ) -> Vec<Listening> {
        self.listeners.extend(opened);
        let gone = |known: &mut Listening| !wanted.iter().any(|w| known.state.is_of(w));
        self.listeners.extract_if(.., gone).collect()
    }

    /// Stops listening: workers have taken what was queued.
    pub fn close(&mut self) {
        self.listeners.clear();
    }
}
