//! The listening sockets of this process: made once for all processes that follow one another, and
//! kept until their address is configured no more.
//!
//! Workers accept on duplicates. What waits in a socket's queue belongs to the socket, so a worker
//! may die and be replaced, or this process by another, and nobody who has connected is turned away.
//! The number of sockets of an address never changes, since the kernel would take a connection that
//! is being made for one of another set: workers share them out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::handover::{Offer, Role};
use super::inheritance::Inheritance;
use super::instance::KnownListener;
use crate::net::listener;
use crate::proxy::settings;
use crate::proxy::worker::ListenerState;

/// All listeners in force.
pub struct Sockets {
    workers: usize,
    listeners: Vec<Listening>,
}

impl Sockets {
    /// The listeners and where they accept.
    pub(super) fn known(&self) -> Vec<KnownListener> {
        self.iter().map(|listening| (Arc::clone(&listening.state), listening.address)).collect()
    }
}

/// One listener: sockets on one address, as many as there were workers when it was opened.
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
    fn open(
        settings: &settings::Listener,
        workers: usize,
        is_taken: impl Fn(SocketAddr) -> bool,
    ) -> Result<Self, BindError> {
        let failed =
            |cause| BindError { name: settings.name.clone(), address: settings.bind, cause };
        if is_taken(settings.bind) {
            return Err(failed(io::ErrorKind::AddrInUse.into()));
        }
        let sockets = listener::bind(settings.bind, workers).map_err(failed)?;
        Self::of(settings, sockets).map_err(failed)
    }

    fn of(settings: &settings::Listener, sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let address = sockets.first().map_or(Ok(settings.bind), listener::local_address)?;
        let state = ListenerState::new(settings.name.clone(), settings.bind);
        Ok(Self { state, address, sockets })
    }

    /// Duplicates for workers to accept on, each with the number of the worker that shall.
    ///
    /// With fewer workers than sockets a worker has several. With more, some have none, and get
    /// their connections from the others.
    pub fn share_out(&self, workers: usize) -> io::Result<Vec<(usize, OwnedFd)>> {
        let shared = self.sockets.iter().enumerate();
        shared.map(|(index, socket)| Ok((index % workers, socket.try_clone()?))).collect()
    }

    /// Of [`Self::share_out`], what is for one worker.
    pub fn share_of(&self, worker: usize, workers: usize) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().skip(worker).step_by(workers).map(OwnedFd::try_clone).collect()
    }

    pub fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }
}

impl Sockets {
    /// Those of `wanted` that this process was started with.
    pub fn claim(
        workers: usize,
        inheritance: &mut Inheritance,
        wanted: &[settings::Listener],
    ) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for settings in wanted {
            let sockets = inheritance.claim(settings);
            if !sockets.is_empty() {
                listeners.push(Listening::of(settings, sockets)?);
            }
        }
        Ok(Self { workers, listeners })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Listening> {
        self.listeners.iter()
    }

    /// In the order of the file.
    pub fn sort_as(&mut self, wanted: &[settings::Listener]) {
        self.listeners.sort_by_key(|known| wanted.iter().position(|w| known.state.is_of(w)));
    }

    /// How many workers have a socket to accept on.
    pub fn workers(&self) -> usize {
        let workers = self.listeners.iter().map(|known| known.sockets.len().min(self.workers));
        workers.max().unwrap_or(0)
    }

    /// Copies of all, for another process.
    pub fn offer(&self, offer: &mut Offer) -> io::Result<()> {
        for Listening { state, sockets, .. } in &self.listeners {
            let role = Role::Listener { name: state.name.clone(), bind: state.bind };
            sockets.iter().try_for_each(|socket| offer.add(&role, socket))?;
        }
        Ok(())
    }

    /// Opens what `wanted` has and this has not. Nothing changes until [`Self::adopt`].
    pub fn open_missing(
        &self,
        wanted: &[settings::Listener],
    ) -> Result<Vec<Listening>, Vec<BindError>> {
        self.open_missing_unless(wanted, listener::is_taken)
    }

    /// As [`Self::open_missing`], at a start. What this process was started with and nobody has
    /// claimed still holds its ports, and is no reason to give up.
    pub fn open_beside(
        &self,
        inheritance: &Inheritance,
        wanted: &[settings::Listener],
    ) -> Result<Vec<Listening>, Vec<BindError>> {
        let is_taken = |address: SocketAddr| {
            !inheritance.holds_port(address.port()) && listener::is_taken(address)
        };
        self.open_missing_unless(wanted, is_taken)
    }

    fn open_missing_unless(
        &self,
        wanted: &[settings::Listener],
        is_taken: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<Listening>, Vec<BindError>> {
        let missing =
            wanted.iter().filter(|w| !self.listeners.iter().any(|known| known.state.is_of(w)));
        let mut opened = Vec::new();
        let mut errors = Vec::new();
        for settings in missing {
            match Listening::open(settings, self.workers, &is_taken) {
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

    /// Lets nobody begin to connect any more. Only for sockets that end with this process.
    pub fn turn_away(&self) {
        for Listening { state, sockets, .. } in &self.listeners {
            for socket in sockets {
                if let Err(error) = listener::turn_away(socket) {
                    tracing::warn!(listener = state.name, %error, "cannot turn clients away");
                }
            }
        }
    }

    /// Stops listening: workers have taken what was queued.
    pub fn close(&mut self) {
        self.listeners.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn listening(sockets: usize) -> Listening {
        let file = "[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\n";
        let settings = config::from_str("test.toml", file, &|_| None).unwrap().settings;
        Listening::open(&settings.listeners[0], sockets, |_| false).unwrap()
    }

    fn shares(sockets: usize, workers: usize) -> Vec<usize> {
        let listening = listening(sockets);
        let all = listening.share_out(workers).unwrap();
        let of = |worker| all.iter().filter(|(of, _)| *of == worker).count();
        let shares: Vec<usize> = (0..workers).map(of).collect();
        let one_by_one = |worker| listening.share_of(worker, workers).unwrap().len();
        assert_eq!(shares, (0..workers).map(one_by_one).collect::<Vec<_>>());
        shares
    }

    #[test]
    fn every_socket_has_a_worker_whatever_their_numbers() {
        assert_eq!(shares(2, 2), [1, 1]);
        assert_eq!(shares(5, 2), [3, 2]);
        assert_eq!(shares(1, 3), [1, 0, 0]);
    }
}
