//! The admin server's socket and its task.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::handover::{Offer, Role};
use crate::admin::orders::Orders;
use crate::admin::{self, AdminState, Api};

/// The socket, before anybody is served.
pub(super) struct AdminListener {
    configured: SocketAddr,
    listener: std::net::TcpListener,
    /// Whether it was opened here, and not inherited.
    pub(super) is_new: bool,
}

impl AdminListener {
    /// Takes over `inherited`, or opens the address.
    pub(super) async fn open(bind: SocketAddr, inherited: Option<OwnedFd>) -> Result<Self, String> {
        let is_new = inherited.is_none();
        let opened = match inherited {
            Some(socket) => Ok(std::net::TcpListener::from(socket)),
            None => TcpListener::bind(bind).await.and_then(TcpListener::into_std),
        };
        let listener = opened.map_err(|error| {
            format!("the admin server cannot listen on {bind}: {error}; change `admin.bind`")
        })?;
        Ok(Self { configured: bind, listener, is_new })
    }

    /// Serves the pages from now on, and takes orders.
    pub(super) fn serve(self, state: AdminState, orders: &Orders) -> Result<AdminServer, String> {
        let Self { configured, listener, .. } = self;
        let failed = |error: io::Error| format!("the admin server cannot listen: {error}");
        let address = listener.local_addr().map_err(failed)?;
        let socket = OwnedFd::from(listener.try_clone().map_err(failed)?);
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let api = Api::new(state, orders.clone(), address);
        let (running, closed) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let until_closed = async { drop(closed.await) };
            let pages = admin::router(api).into_make_service_with_connect_info::<SocketAddr>();
            let serving = axum::serve(listener, pages);
            if let Err(error) = serving.with_graceful_shutdown(until_closed).await {
                tracing::error!(%error, "the admin server ended");
            }
        });
        Ok(AdminServer { configured, address, socket, running: Some(running) })
    }
}

/// The server at work. Dropping it ends it as [`Self::close`] does.
pub(super) struct AdminServer {
    pub(super) configured: SocketAddr,
    pub(super) address: SocketAddr,
    socket: OwnedFd,
    /// Dropped to end the task.
    running: Option<oneshot::Sender<()>>,
}

impl AdminServer {
    /// A copy of the socket, for another process.
    pub(super) fn offer(&self, offer: &mut Offer) -> io::Result<()> {
        offer.add(&Role::Admin { bind: self.configured }, &self.socket)
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Takes no new connection and ends those that lie idle: whoever asks next shall find the
    /// process that goes on.
    pub(super) fn close(&mut self) {
        self.running = None;
    }
}
