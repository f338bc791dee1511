//! A client's connection: one exchange after the other, until one side has had enough.

use std::future::poll_fn;
use std::io;
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

/// A client's connection on its worker.
pub(super) struct Downstream {
    pub(super) socket: Socket,
    pub(super) input: Input,
    pub(super) deadline: Deadline,
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
        Ok(Self {
            socket: Socket::accepted(&worker.core, fd)?,
            input: Input::default(),
            deadline: Deadline::new(&worker.core),
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
        while self.await_request().await {
            let exchange = Exchange::begin(&mut self);
            let after = exchange.run().await;
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
        self.deadline.set(self.idle_timeout());
        let worker = Rc::clone(&self.worker);
        let may_wait = !self.has_served;
        let received = self
            .deadline
            .limit(|cx| match self.socket.poll_recv(cx) {
                // News of a drain comes by waking every task.
                Poll::Pending if worker.is_draining() && !may_wait => Poll::Ready(Ok(None)),
                received => received,
            })
            .await;
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
        let received = self.deadline.limit(|cx| self.socket.poll_recv(cx)).await?;
        Ok(received.map(|chunk| self.input.push(chunk)).is_some())
    }

    /// Ready when the client has closed or broken the connection while it waits for a response.
    ///
    /// The receive that this leaves pending is the one that the next request needs anyway, so
    /// watching costs nothing. A pipelined request is kept; behind it a close goes unnoticed.
    pub(super) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<()> {
        while self.input.is_empty() {
            match self.socket.poll_recv_later(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.input.push(chunk),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    async fn linger(mut self) {
        self.socket.finish_sending();
        self.deadline.set(Some(LINGER_TIME));
        let mut left = LINGER_BYTES;
        let deadline = &self.deadline;
        let socket = &self.socket;
        self.input.clear();
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

/// Waits for `socket`'s next bytes for as long as `downstream` stays, within its deadline.
pub(super) enum Waited {
    Received(Option<crate::runtime::buffers::Chunk>),
    Broken(io::Error),
    DownstreamGone,
    TimedOut,
}

impl Downstream {
    /// The next bytes of an upstream response. `watch`: the client has sent its whole request, so
    /// an end of its stream means that it has gone.
    pub(super) async fn wait_for(&mut self, upstream: &Socket, watch: bool, later: bool) -> Waited {
        poll_fn(|cx| {
            let received =
                if later { upstream.poll_recv_later(cx) } else { upstream.poll_recv(cx) };
            match received {
                Poll::Ready(Ok(chunk)) => return Poll::Ready(Waited::Received(chunk)),
                Poll::Ready(Err(error)) => return Poll::Ready(Waited::Broken(error)),
                Poll::Pending => {}
            }
            if watch && self.poll_gone(cx).is_ready() {
                return Poll::Ready(Waited::DownstreamGone);
            }
            self.deadline.poll_passed(cx).map(|()| Waited::TimedOut)
        })
        .await
    }
}
