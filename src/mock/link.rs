//! A connection's bytes: what has come and was not used yet, what is to be sent, and time.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::net::socket::{Leave, Socket};
use crate::runtime::buffers::Chunk;
use crate::runtime::clock::Instant;
use crate::runtime::core::Core;
use crate::runtime::io::{Deadline, yield_now};

/// Memory that a buffer keeps from one request to the next.
const KEPT_BYTES: usize = 16 * 1024;

/// While an answer waits, this much of what the client sends meanwhile is taken, in order to see
/// whether it goes away. Behind more than that its end goes unnoticed.
const WATCHED_BYTES: usize = 64 * 1024;

/// Steps that a task takes before the others of its thread have their turn.
const STEPS: u32 = 64;

/// How long, and how much, a client is read on that was refused: the reset that unread bytes
/// cause would destroy the answer on its way (RFC 9112, 9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

pub(super) struct Link {
    socket: Socket,
    deadline: Deadline,
    input: Vec<u8>,
    /// How much of `input` has been used.
    used: usize,
    /// To be sent with the next flush: whoever waits for the client flushes first.
    pub(super) out: Vec<u8>,
    steps: u32,
}

impl Link {
    pub(super) fn new(core: &Rc<Core>, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: Socket::accepted(core, fd)?,
            deadline: Deadline::new(core),
            input: Vec::new(),
            used: 0,
            out: Vec::new(),
            steps: 0,
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.socket.core().now()
    }

    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.used..]
    }

    /// Forgets the first `count` bytes of the input.
    pub(super) fn consume(&mut self, count: usize) {
        self.used = (self.used + count).min(self.input.len());
        if self.used == self.input.len() {
            self.used = 0;
            trim(&mut self.input);
        }
    }

    fn push(&mut self, chunk: &Chunk) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(chunk);
    }

    /// Waits for more input; `false` at its end.
    pub(super) async fn receive(&mut self) -> io::Result<bool> {
        // What the client says next is mostly its answer to this.
        let has_answered = !self.out.is_empty();
        self.flush().await?;
        self.take_turns().await;
        let received = poll_fn(|cx| match has_answered {
            true => self.socket.poll_recv_later(cx),
            false => self.socket.poll_recv(cx),
        });
        Ok(received.await?.map(|chunk| self.push(&chunk)).is_some())
    }

    /// Waits until `due`, in order to answer then.
    ///
    /// # Errors
    ///
    /// The client has gone in the meantime.
    pub(super) async fn wait_until(&mut self, due: Instant) -> io::Result<()> {
        if due <= self.now() {
            return Ok(());
        }
        self.deadline.set_at(Some(due));
        let waited = poll_fn(|cx| match self.poll_gone(cx) {
            Poll::Ready(error) => Poll::Ready(Err(error)),
            Poll::Pending => self.deadline.poll_passed(cx).map(Ok),
        });
        let waited = waited.await;
        self.deadline.set(None);
        waited
    }

    /// Ready when the client has closed or broken the connection. What it sends is kept.
    fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<io::Error> {
        while self.input.len() < WATCHED_BYTES {
            match self.socket.poll_recv_later(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.push(&chunk),
                Poll::Ready(Ok(None)) => {
                    return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    /// Sends `out`.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        match self.out.is_empty() {
            true => Ok(()),
            false => self.send(&[]).await,
        }
    }

    /// Sends `out` and `bytes` behind it, together as far as the socket takes them.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut pieces = [IoSlice::new(&self.out), IoSlice::new(bytes)];
        self.socket.send_all(&mut pieces, Leave::AtOnce, &self.deadline).await?;
        trim(&mut self.out);
        Ok(())
    }

    /// To be called for each step of a row that may be long: a client that keeps up with it would
    /// otherwise have the thread for itself.
    pub(super) async fn take_turns(&mut self) {
        self.steps += 1;
        if self.steps == STEPS {
            self.steps = 0;
            yield_now().await;
        }
    }

    /// Closes the connection so that the answer arrives although the client is still sending.
    pub(super) async fn linger(mut self) -> io::Result<()> {
        self.flush().await?;
        self.socket.finish_sending();
        self.deadline.set(Some(LINGER_TIME));
        let mut left = LINGER_BYTES;
        while let Some(chunk) = self.deadline.limit(|cx| self.socket.poll_recv(cx)).await? {
            let Some(rest) = left.checked_sub(chunk.len()) else { break };
            left = rest;
        }
        Ok(())
    }
}

/// Empties a buffer, and frees it when it has grown beyond the ordinary.
pub(super) fn trim(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}
