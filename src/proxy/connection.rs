//! A client's connection, from its acceptance to its end: who it is, and what it speaks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::downstream::Downstream;
use super::worker::{ListenerState, Ticket, Worker};
use crate::net::stream::Stream;

/// The client, as all exchanges on its connection see it. Dropped when the connection ends.
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) worker: Rc<Worker>,
    ticket: Ticket,
}

impl Client {
    pub(super) fn new(worker: &Rc<Worker>, peer: SocketAddr, ticket: Ticket) -> Self {
        Self { peer, worker: Rc::clone(worker), ticket }
    }

    pub(super) fn listener(&self) -> &Arc<ListenerState> {
        &self.ticket.listener
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.metrics.connections_closed.inc();
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, client: Client) {
    Downstream::new(stream, Rc::new(client)).serve().await;
}
