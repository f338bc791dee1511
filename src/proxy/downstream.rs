//! A client's connection: one exchange after the other, until one side has had enough.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::exchange::Exchange;
use super::input::Input;
use super::settings;
use super::worker::{ListenerState, Ticket, Worker};
use crate::net::socket::Socket;
use crate::runtime::buffers::Chunk;
use crate::runtime::io::Deadline;

/// How long a connection that is closed with unread request bytes is read on, so that the reset
/// those bytes would cause does not destroy the response on its way (RFC 9112, 9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much is read then. Who sends more than this will see the reset.
const LINGER_BYTES: usize = 256 * 1024;

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It waits for the next request.
    Keep,
    /// It is closed; everything the client sent has been read.
    Close,
    /// It is closed, and the client may still be sending.
    Linger,
}

/// The client's socket and the time limit of what is being done on it.
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) deadline: Deadline,
}

/// A client's connection on its worker.
pub(super) struct Downstream {
    /// Shared with the upload of a request body, which goes on while a response comes.
    pub(super) link: Rc<Link>,
    pub(super) input: Input,
    pub(super) worker: Rc<Worker>,
    pub(super) peer: SocketAddr,
    ticket: Ticket,
    has_served: bool,
}

impl Downstream {
    pub(super) fn new(
        worker: &Rc<Worker>,
        fd: OwnedFd,
        peer: SocketAddr,
        ticket: Ticket,
    ) -> io::Result<Self> {
        let socket = Socket::accepted(&worker.core, fd)?;
        let link = Link { socket, deadline: Deadline::new(&worker.core) };
        Ok(Self {
            link: Rc::new(link),
            input: Input::default(),
            worker: Rc::clone(worker),
            peer,
            ticket,
            has_served: false,
        })
    }

    pub(super) fn listener(&self) -> &std::sync::Arc<ListenerState> {
        &self.ticket.listener
    }

    pub(super) async fn serve(mut self) {
        while self.await_request().await && !self.worker.has_lost(self.listener()) {
            let mut scratch = self.worker.take_scratch();
            let after = Exchange::begin(&mut self, &mut scratch).run().await;
            self.worker.return_scratch(scratch);
            self.has_served = true;
            match after {
                After::Keep => {}
                After::Close => return,
                After::Linger => return self.linger().await,
            }
        }
    }

    /// Waits for the first byte of a request. An idle connection holds no buffer.
    async fn await_request(&mut self) -> bool {
        if !self.input.is_empty() {
            return true;
        }
        self.link.deadline.set(self.idle_timeout());
        let worker = Rc::clone(&self.worker);
        let may_wait = !self.has_served;
        let link = &self.link;
        let listener = &self.ticket.listener;
        let received = link.deadline.limit(|cx| match link.socket.poll_recv(cx) {
            // News of a drain, or of a listener's end, comes by waking every task.
            Poll::Pending if !may_wait && (worker.is_draining() || worker.has_lost(listener)) => {
                Poll::Ready(Ok(None))
            }
            received => received,
        });
        let received = received.await;
        match received {
            Ok(Some(chunk)) => {
                self.input.push(chunk);
                true
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// The first request of a connection must begin as soon as a head must end; later ones may
    /// take as long as a connection may lie idle.
    fn idle_timeout(&self) -> Option<Duration> {
        let view = self.worker.view();
        let (_, listener) = view.listener(self.listener())?;
        let settings::ListenerTimeouts { request_head, keep_alive, .. } = listener.timeouts;
        if self.has_served { keep_alive } else { request_head.or(keep_alive) }
    }

    /// Receives more of what the client sends, within the deadline; `false` at its end.
    pub(super) async fn receive(&mut self) -> io::Result<bool> {
        let link = &self.link;
        let received = link.deadline.limit(|cx| link.socket.poll_recv(cx)).await?;
        Ok(received.map(|chunk| self.input.push(chunk)).is_some())
    }

    async fn linger(mut self) {
        self.input.clear();
        let Link { socket, deadline } = &*self.link;
        socket.finish_sending();
        deadline.set(Some(LINGER_TIME));
        let mut left = LINGER_BYTES;
        while let Ok(Some(chunk)) = deadline.limit(|cx| socket.poll_recv(cx)).await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        self.worker.metrics.connections_closed.inc();
    }
}

impl Link {
    /// Sends the pieces to the client, and says how many bytes that were.
    pub(super) async fn send(&self, pieces: &[&[u8]]) -> io::Result<u64> {
        send_pieces(&self.socket, pieces, &self.deadline).await
    }

    /// Ready when the client has closed or broken the connection while it waits for a response.
    ///
    /// The receive that this leaves pending is the one that the next request needs anyway, so
    /// watching costs nothing. A pipelined request is kept in `input`; behind it a close goes
    /// unnoticed.
    pub(super) fn poll_gone(&self, input: &mut Input, cx: &Context<'_>) -> Poll<()> {
        if input.bytes() == b"\r\n" {
            input.clear();
        }
        while input.is_empty() {
            match self.socket.poll_recv_later(cx) {
                // An empty line behind a body is no request (RFC 9112, 2.2), and must not hide a close.
                Poll::Ready(Ok(Some(chunk))) if chunk[..] == *b"\r\n" => {}
                Poll::Ready(Ok(Some(chunk))) => input.push(chunk),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }
}

/// Pieces that one send of [`send_pieces`] takes.
const PIECES_MAX: usize = 4;

/// Sends up to [`PIECES_MAX`] pieces as one, and says how many bytes that were.
pub(super) async fn send_pieces(
    socket: &Socket,
    pieces: &[&[u8]],
    deadline: &Deadline,
) -> io::Result<u64> {
    let mut slices = [IoSlice::new(&[]); PIECES_MAX];
    let mut count = 0;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        slices[count] = IoSlice::new(piece);
        count += 1;
    }
    socket.send_all(&mut slices[..count], deadline).await?;
    Ok(pieces.iter().map(|piece| piece.len() as u64).sum())
}

/// What came of waiting for an upstream.
pub(super) enum Waited {
    /// Bytes, or the end of the stream.
    Received(Option<Chunk>),
    Broken,
    DownstreamGone,
    TimedOut,
}

impl Downstream {
    /// The next bytes of an upstream response. `watch`: the client has sent its whole request, so
    /// an end of its stream means that it has gone.
    pub(super) async fn wait_for(&mut self, upstream: &Socket, watch: bool, later: bool) -> Waited {
        let Self { link, input, .. } = self;
        poll_fn(|cx| {
            let received =
                if later { upstream.poll_recv_later(cx) } else { upstream.poll_recv(cx) };
            match received {
                Poll::Ready(Ok(chunk)) => return Poll::Ready(Waited::Received(chunk)),
                Poll::Ready(Err(_)) => return Poll::Ready(Waited::Broken),
                Poll::Pending => {}
            }
            if watch && link.poll_gone(input, cx).is_ready() {
                return Poll::Ready(Waited::DownstreamGone);
            }
            link.deadline.poll_passed(cx).map(|()| Waited::TimedOut)
        })
        .await
    }
}
