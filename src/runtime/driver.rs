//! What the loop waits with: io_uring, or epoll where io_uring is not to be had.
//!
//! A source is a file descriptor that a driver knows. Both drivers answer the same questions
//! (received? readable? writable?), wake the asking task when the answer changes, and keep a
//! started receive across polls: a future that is dropped loses no data, the next one finds it.

use std::io::{self, IoSlice};
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::buffers::{Buffers, Chunk};
use super::clock::{Clock, Instant};
use super::epoll::Epoll;
use super::uring::Uring;
use crate::telemetry::event_loop::LoopStats;

/// A registered file descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceId(pub(super) u32);

/// When the next bytes are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Perhaps they are there already: try at once, and take one buffer.
    Soon,
    /// Not yet, as when a request was just sent: wait first, and go on receiving, since the same
    /// holds for the message after the next.
    Later,
}

/// How long to wait for the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Not at all: see what has come, and go on.
    Never,
    Until(Instant),
    Forever,
}

pub(crate) enum Driver {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
}

macro_rules! either {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            Driver::Uring($driver) => $call,
            Driver::Epoll($driver) => $call,
        }
    };
}

impl Driver {
    pub(super) fn register(&mut self, fd: RawFd) -> io::Result<SourceId> {
        either!(self, driver => driver.register(fd))
    }

    /// Forgets the source and closes its descriptor, as soon as no submission names it.
    pub(super) fn deregister(&mut self, id: SourceId, fd: OwnedFd) {
        either!(self, driver => driver.deregister(id, fd));
    }

    /// The next received bytes, or `None` at the end of the stream.
    pub(super) fn poll_recv(
        &mut self,
        id: SourceId,
        expect: Expect,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        either!(self, driver => driver.poll_recv(id, expect, cx))
    }

    /// Sees to it that arriving bytes are noticed, and says whether nothing (no data, no end, no
    /// error) has come so far.
    pub(super) fn is_quiet(&mut self, id: SourceId) -> bool {
        either!(self, driver => driver.is_quiet(id))
    }

    /// Whether `poll_readable` reports readiness that was not used up once more.
    pub(super) fn reports_again(&self) -> bool {
        matches!(self, Self::Uring(_))
    }

    pub(super) fn poll_readable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        either!(self, driver => driver.poll_readable(id, cx))
    }

    /// Ready once the peer has ended or broken the connection, whatever lies unread before that.
    pub(super) fn poll_ended(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<()> {
        either!(self, driver => driver.poll_ended(id, cx))
    }

    /// Called after an operation found the descriptor not ready for writing.
    pub(super) fn poll_writable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        either!(self, driver => driver.poll_writable(id, cx))
    }

    /// Takes a copy of the bytes, to be sent when the turn ends, if that is cheaper than sending them
    /// at once. `company`: more tasks of this turn may send.
    pub(super) fn send_later(
        &mut self,
        id: SourceId,
        pieces: &[IoSlice<'_>],
        company: bool,
        stats: &LoopStats,
    ) -> bool {
        match self {
            Self::Uring(uring) => uring.send_later(id, pieces, company, stats),
            Self::Epoll(_) => false,
        }
    }

    /// Ready when a send at once overtakes nothing that was taken to be sent later.
    pub(super) fn poll_sendable(
        &mut self,
        id: SourceId,
        cx: &Context<'_>,
        stats: &LoopStats,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Uring(uring) => uring.poll_sendable(id, cx, stats),
            Self::Epoll(_) => Poll::Ready(Ok(())),
        }
    }

    /// Submits what was started, waits for events, wakes tasks.
    pub(super) fn wait(&mut self, wait: Wait, clock: Clock, stats: &LoopStats) -> io::Result<()> {
        either!(self, driver => driver.wait(wait, clock, stats))
    }

    pub(super) fn buffers(&self) -> &Rc<Buffers> {
        either!(self, driver => &driver.buffers)
    }

    /// In words for the log and the metrics, such as `io_uring`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Uring(uring) => uring.name(),
            Self::Epoll(_) => "epoll",
        }
    }
}

/// Keeps the waker that was seen last, cloning only when it is another one.
pub(super) fn remember(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *slot = Some(cx.waker().clone()),
    }
}

/// recv(2) without waiting.
pub(super) fn recv_now(fd: RawFd, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length describe `bytes`, which is writable for the call.
    let count =
        unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// send(2) without waiting.
pub(super) fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and length describe `bytes`, which send only reads.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
