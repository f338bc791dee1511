//! The pages of `ops` routes, on a socket that only this process's workers reach.
//!
//! An `ops` route is an ordinary proxied exchange to it, so there is one implementation of the
//! pages and one of relaying.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::admin::{self, AdminState};

/// Serves the pages on an abstract socket of this name.
pub(super) fn start(name: &str, state: AdminState) -> io::Result<()> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    let listener = OwnProcess(tokio::net::UnixListener::from_std(listener)?);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, admin::ops_router(state)).await {
            tracing::error!(%error, "the server of ops routes ended");
        }
    });
    Ok(())
}

/// Abstract sockets have no permissions: connections of other processes are closed at once.
struct OwnProcess(tokio::net::UnixListener);

impl axum::serve::Listener for OwnProcess {
    type Io = tokio::net::UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
            let peer = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
            if peer.and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
