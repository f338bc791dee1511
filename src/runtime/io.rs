//! Descriptors and timers as tasks use them.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::buffers::Chunk;
use super::clock::Instant;
use super::core::Core;
use super::driver::{Expect, SourceId};
use super::wheel::EntryId;

/// A descriptor that a loop watches; closed when this is dropped.
pub struct Source {
    /// Present until drop hands it to the driver.
    fd: Option<OwnedFd>,
    id: SourceId,
    core: Rc<Core>,
}

impl Source {
    pub fn new(core: &Rc<Core>, fd: OwnedFd) -> io::Result<Self> {
        let id = core.driver.borrow_mut().register(fd.as_raw_fd())?;
        Ok(Self { fd: Some(fd), id, core: Rc::clone(core) })
    }

    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The next received bytes; `None` at the end of the stream. Bytes received while nobody
    /// polls are kept for the next call.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.core.driver.borrow_mut().poll_recv(self.id, Expect::Soon, cx)
    }

    /// The same where the bytes cannot be there yet, because the peer has to answer first.
    pub fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.core.driver.borrow_mut().poll_recv(self.id, Expect::Later, cx)
    }

    /// Whether neither data nor an end nor an error has come since the last receive.
    pub fn is_quiet(&self) -> bool {
        self.core.driver.borrow_mut().is_quiet(self.id)
    }

    /// Ready once the peer has ended or broken the connection, whatever it has sent before and
    /// nobody has received yet. For the task that receives.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.core.driver.borrow_mut().poll_ended(self.id, cx)
    }

    /// For descriptors that are not received from, such as listening sockets: readiness that is
    /// reported here is used up for [`Self::poll_recv`].
    ///
    /// Under epoll only news is reported: who has not met `WouldBlock` must not wait for it.
    /// [`Self::reports_again`] tells.
    pub fn poll_readable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.core.driver.borrow_mut().poll_readable(self.id, cx)
    }

    pub fn reports_again(&self) -> bool {
        self.core.driver.borrow().reports_again()
    }

    /// Takes a copy of the bytes, to be sent when the loop's turn ends, together with those of
    /// others. `false`: it has not, and they are to be sent at once.
    ///
    /// A source that is dropped in the same turn gives up what the kernel does not take of it.
    pub fn send_later(&self, pieces: &[IoSlice<'_>]) -> bool {
        let company = self.core.has_ready();
        self.core.driver.borrow_mut().send_later(self.id, pieces, company, self.core.stats())
    }

    /// send(2) without waiting.
    pub fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        super::driver::send_now(self.as_raw_fd(), bytes)
    }

    /// Ready when a send at once overtakes nothing that [`Self::send_later`] has taken.
    pub fn poll_sendable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.core.driver.borrow_mut().poll_sendable(self.id, cx, self.core.stats())
    }

    /// To be asked after an operation would have blocked.
    pub fn poll_writable(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.core.driver.borrow_mut().poll_writable(self.id, cx)
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("the descriptor is there until drop").as_fd()
    }
}

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.core.driver.borrow_mut().deregister(self.id, fd);
        }
    }
}

/// A deadline of one task, moved as the task goes from one wait to the next.
///
/// Moving it costs a few stores (see [`super::wheel`]); there is nothing to cancel.
pub struct Deadline {
    entry: EntryId,
    due: Cell<Option<Instant>>,
    core: Rc<Core>,
}

impl Deadline {
    pub fn new(core: &Rc<Core>) -> Self {
        let entry = core.timers.borrow_mut().add(None);
        Self { entry, due: Cell::new(None), core: Rc::clone(core) }
    }

    /// Due after `timeout` from the loop's present turn; never, if there is none.
    pub fn set(&self, timeout: Option<Duration>) {
        self.set_at(timeout.map(|timeout| self.core.now() + timeout));
    }

    pub fn set_at(&self, due: Option<Instant>) {
        self.due.set(due);
        let mut timers = self.core.timers.borrow_mut();
        match due {
            // The tick after the one it lies in: a deadline may be late by a tick, never early.
            Some(due) => timers.set(self.entry, due.tick() + 1),
            None => timers.clear(self.entry),
        }
    }

    /// Due after `timeout` at the latest.
    pub fn shorten(&self, timeout: Duration) {
        let at = self.core.now() + timeout;
        if self.due.get().is_none_or(|due| due > at) {
            self.set_at(Some(at));
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.due.get()
    }

    /// Ready once the deadline has passed; until then the task is woken when it does.
    pub fn poll_passed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.due.get().is_some_and(|due| due <= self.core.now()) {
            return Poll::Ready(());
        }
        super::driver::remember(self.core.timers.borrow_mut().value_mut(self.entry), cx);
        Poll::Pending
    }

    /// `operation`, or an error of kind `TimedOut` if the deadline passes first. The operation
    /// must keep its progress outside the closure, since it may be polled again later.
    pub async fn limit<T>(
        &self,
        mut operation: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        poll_fn(|cx| match operation(cx) {
            Poll::Pending => self.poll_passed(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready => ready,
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.core.timers.borrow_mut().remove(self.entry);
    }
}

/// Waits until `instant` has passed.
pub struct Sleep(Deadline);

impl Sleep {
    pub fn until(core: &Rc<Core>, instant: Instant) -> Self {
        let deadline = Deadline::new(core);
        deadline.set_at(Some(instant));
        Self(deadline)
    }

    pub fn for_time(core: &Rc<Core>, duration: Duration) -> Self {
        Self::until(core, core.now() + duration)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_passed(cx)
    }
}

/// Lets the other tasks and the events that wait have their turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
