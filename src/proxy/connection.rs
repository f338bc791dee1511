//! A client's connection, from its acceptance to its end: who it is, and what it speaks.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::downstream::Downstream;
use super::preface;
use super::worker::{ListenerState, Ticket, Worker};
use crate::http::proxy_protocol::Ends;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
use crate::net::tls::{self, ClientCertificate, HandshakeFault, ServerTls, TlsStream};
use crate::runtime::io::Deadline;

/// The client, as all exchanges on its connection see it. Dropped when the connection ends.
pub(super) struct Client {
    /// The other end of the connection: the socket's, or whom a PROXY protocol header names.
    pub(super) peer: SocketAddr,
    /// It came over TLS.
    pub(super) is_private: bool,
    /// There if and only if the listener demands one.
    pub(super) certificate: Option<Rc<ClientCertificate>>,
    pub(super) worker: Rc<Worker>,
    /// Known where somebody asks for it: most connections do without.
    ends: Option<Box<KnownEnds>>,
    ticket: Ticket,
}

struct KnownEnds {
    /// The other end of the socket, whoever the client is.
    socket_peer: SocketAddr,
    /// Where the client has connected to.
    destination: SocketAddr,
}

impl Client {
    pub(super) fn new(worker: &Rc<Worker>, peer: SocketAddr, ticket: Ticket) -> Self {
        Self {
            peer,
            is_private: false,
            certificate: None,
            worker: Rc::clone(worker),
            ends: None,
            ticket,
        }
    }

    /// Is from now on the client that a trusted proxy announced.
    pub(super) fn take_over(&mut self, announced: Option<Ends>) {
        let Some(Ends { source, destination }) = announced else { return };
        let socket_peer = std::mem::replace(&mut self.peer, source);
        self.ends = Some(Box::new(KnownEnds { socket_peer, destination }));
    }

    /// Notes where the client has connected to, unless it was announced.
    fn note_destination(&mut self, socket: &Socket) {
        if let (None, Ok(destination)) = (&self.ends, socket.local_address()) {
            let socket_peer = self.peer;
            self.ends = Some(Box::new(KnownEnds { socket_peer, destination }));
        }
    }

    /// The other end of the socket, whoever the client is.
    pub(super) fn socket_peer(&self) -> SocketAddr {
        self.ends.as_ref().map_or(self.peer, |ends| ends.socket_peer)
    }

    /// Where the client has connected to; the listener's address where nobody asked in time.
    pub(super) fn destination(&self) -> SocketAddr {
        self.ends.as_ref().map_or(self.ticket.listener.bind, |ends| ends.destination)
    }

    pub(super) fn listener(&self) -> &Arc<ListenerState> {
        &self.ticket.listener
    }

    /// Whether a connection may begin with the preface of HTTP/2.
    pub(super) fn may_speak_http2(&self) -> bool {
        let view = self.worker.view();
        view.listener(self.listener()).is_some_and(|(_, listener)| listener.http2)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.metrics.connections_closed.inc();
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(socket: Socket, mut client: Client) {
    if !preface::learn_client(&mut client, &socket).await {
        return;
    }
    if client.worker.view().snapshot.announces_clients {
        client.note_destination(&socket);
    }
    let Some(stream) = open(socket, &mut client).await else { return };
    Downstream::new(stream, Rc::new(client)).serve().await;
}

/// The connection as the listener wants it; `None` if its handshake fails.
async fn open(socket: Socket, client: &mut Client) -> Option<Stream> {
    let view = client.worker.view();
    let (index, _) = view.listener(client.listener())?;
    let Some(server) = view.listener_tls(index) else { return Some(Stream::Plain(socket)) };
    // Its state is not worth a place in every plain connection's task.
    Some(Stream::Tls(Box::new(Box::pin(accept_tls(socket, server, client)).await?)))
}

/// Makes the connection private and learns who the client is; `None` if that fails.
async fn accept_tls(socket: Socket, server: &ServerTls, client: &mut Client) -> Option<TlsStream> {
    let worker = Rc::clone(&client.worker);
    let deadline = Deadline::new(&worker.core);
    let view = worker.view();
    let timeout = view.listener(client.listener()).and_then(|(_, l)| l.timeouts.tls_handshake);
    deadline.set(timeout);
    let name = &client.listener().name;
    let handshakes = worker.metrics.handshake_series(name, HandshakeFault::LABELS);
    match tls::accept(socket, server, &deadline).await {
        Ok(stream) => {
            let negotiated = stream.negotiated();
            handshakes.count(negotiated.version, negotiated.resumed);
            client.is_private = true;
            client.certificate = negotiated.client.clone();
            Some(stream)
        }
        Err(failure) => {
            handshakes.failures.inc(failure.fault as usize);
            tracing::debug!(
                listener = client.listener().name,
                peer = %client.peer,
                reason = failure.fault.label(),
                %failure,
                "a TLS handshake failed"
            );
            None
        }
    }
}
