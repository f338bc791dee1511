//! The epoll driver: for kernels and containers that have no io_uring.
//!
//! Every descriptor is registered once, edge-triggered, for both directions. Readiness is
//! remembered per source, and forgotten when a call says it is used up.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::buffers::{Buffers, Chunk};
use super::clock::Clock;
use super::driver::{Expect, SourceId, Wait, recv_now, remember};
use crate::telemetry::event_loop::LoopStats;

/// Events taken per call.
const EVENTS: usize = 1024;

pub(crate) struct Epoll {
    epoll: OwnedFd,
    sources: Vec<Source>,
    free: Vec<u32>,
    events: Box<[libc::epoll_event]>,
    /// Receives since the last `wait`: system calls that it adds to the count.
    receives: u64,
    pub(super) buffers: Rc<Buffers>,
}

/// Each question has a flag of its own, since an answer uses it up: who asked whether there is
/// something to read must still be able to receive it.
struct Source {
    fd: RawFd,
    receivable: bool,
    readable: bool,
    writable: bool,
    /// The peer has ended or broken the connection: a short read does not mean "drained".
    ended: bool,
    open: bool,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else knows.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS].into_boxed_slice();
        Ok(Self {
            epoll,
            sources: Vec::new(),
            free: Vec::new(),
            events,
            receives: 0,
            buffers: Buffers::new(),
        })
    }

    pub(super) fn register(&mut self, fd: RawFd) -> io::Result<SourceId> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => u32::try_from(self.sources.len()).map_err(|_| io::ErrorKind::OutOfMemory)?,
        };
        let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: interest as u32, u64: u64::from(id) };
        // SAFETY: `event` is valid for the call, which copies it.
        let added = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event)
        };
        if added < 0 {
            let error = io::Error::last_os_error();
            if (id as usize) < self.sources.len() {
                self.free.push(id);
            }
            return Err(error);
        }
        // What is ready already is reported as an edge by the next wait.
        let source = Source {
            fd,
            receivable: false,
            readable: false,
            writable: false,
            ended: false,
            open: true,
            read_waker: None,
            write_waker: None,
        };
        match self.sources.get_mut(id as usize) {
            Some(slot) => *slot = source,
            None => self.sources.push(source),
        }
        Ok(SourceId(id))
    }

    pub(super) fn deregister(&mut self, id: SourceId, fd: OwnedFd) {
        // Closing is not enough: a listening socket has duplicates, and while one of them is open
        // the set would go on reporting events, for a slot that has another tenant by then.
        // SAFETY: takes no event; a descriptor that is not in the set is an error without effect.
        unsafe {
            libc::epoll_ctl(
                self.epoll.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd.as_raw_fd(),
                std::ptr::null_mut(),
            )
        };
        drop(fd);
        let source = &mut self.sources[id.0 as usize];
        source.open = false;
        source.read_waker = None;
        source.write_waker = None;
        self.free.push(id.0);
    }

    pub(super) fn poll_recv(
        &mut self,
        id: SourceId,
        _: Expect,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let source = &mut self.sources[id.0 as usize];
        remember(&mut source.read_waker, cx);
        if !source.receivable {
            return Poll::Pending;
        }
        let mut bytes = self.buffers.take_spare();
        self.receives += 1;
        match recv_now(source.fd, &mut bytes) {
            Ok(0) => {
                self.buffers.return_spare(bytes);
                Poll::Ready(Ok(None))
            }
            Ok(len) => {
                // A short read has emptied the socket: the next byte makes a new edge.
                source.receivable = len == bytes.len() || source.ended;
                Poll::Ready(Ok(Some(self.buffers.filled_spare(bytes, len))))
            }
            Err(error) => {
                self.buffers.return_spare(bytes);
                if error.kind() == io::ErrorKind::WouldBlock {
                    source.receivable = false;
                    return Poll::Pending;
                }
                Poll::Ready(Err(error))
            }
        }
    }

    pub(super) fn is_quiet(&mut self, id: SourceId) -> bool {
        let source = &mut self.sources[id.0 as usize];
        if !source.receivable {
            return true;
        }
        self.receives += 1;
        let mut byte = 0u8;
        // SAFETY: one byte to peek into, valid for the call.
        let peeked = unsafe {
            libc::recv(source.fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT)
        };
        let nothing = peeked < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock;
        source.receivable = !nothing;
        nothing
    }

    pub(super) fn poll_readable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let source = &mut self.sources[id.0 as usize];
        remember(&mut source.read_waker, cx);
        if std::mem::take(&mut source.readable) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(super) fn poll_ended(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<()> {
        let source = &mut self.sources[id.0 as usize];
        remember(&mut source.read_waker, cx);
        if source.ended { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn poll_writable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let source = &mut self.sources[id.0 as usize];
        remember(&mut source.write_waker, cx);
        if std::mem::take(&mut source.writable) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(super) fn wait(&mut self, wait: Wait, clock: Clock, stats: &LoopStats) -> io::Result<()> {
        stats.enters.add(1);
        stats.syscalls.add(std::mem::take(&mut self.receives));
        let millis = match wait {
            Wait::Never => 0,
            // Rounded up: a loop that wakes before its timer is due would turn for nothing.
            Wait::Until(due) => {
                i32::try_from(due.nanos_since(clock.now()).div_ceil(1_000_000)).unwrap_or(i32::MAX)
            }
            Wait::Forever => -1,
        };
        // SAFETY: the pointer and length describe `events`, writable for the call.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as i32,
                millis,
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            let interrupted = error.kind() == io::ErrorKind::Interrupted;
            return if interrupted { Ok(()) } else { Err(error) };
        };
        stats.completions.add(count as u64);
        for event in &self.events[..count] {
            let bits = event.events;
            let source = &mut self.sources[event.u64 as usize];
            if source.open {
                source.notice(bits);
            }
        }
        Ok(())
    }
}

impl Source {
    fn notice(&mut self, bits: u32) {
        let has = |flags: i32| bits & flags as u32 != 0;
        if has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
            self.ended = true;
        }
        if has(libc::EPOLLIN) || self.ended {
            self.receivable = true;
            self.readable = true;
            if let Some(waker) = &self.read_waker {
                waker.wake_by_ref();
            }
        }
        if has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) {
            self.writable = true;
            if let Some(waker) = &self.write_waker {
                waker.wake_by_ref();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn ready<T>(poll: Poll<io::Result<T>>) -> Option<T> {
        match poll {
            Poll::Ready(outcome) => Some(outcome.unwrap()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_was_found_readable_can_be_received() {
        let mut epoll = Epoll::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let source = epoll.register(far.as_raw_fd()).unwrap();
        near.write_all(b"x").unwrap();
        epoll.wait(Wait::Forever, Clock::start(), &LoopStats::default()).unwrap();
        let cx = Context::from_waker(Waker::noop());
        assert!(ready(epoll.poll_readable(source, &cx)).is_some());
        let chunk = ready(epoll.poll_recv(source, Expect::Soon, &cx)).unwrap();
        assert_eq!(&chunk.unwrap()[..], b"x");
    }

    #[test]
    fn a_descriptor_with_a_duplicate_is_forgotten_too() {
        let mut epoll = Epoll::new().unwrap();
        let stats = LoopStats::default();
        let (mut near, far) = UnixStream::pair().unwrap();
        let duplicate = far.try_clone().unwrap();
        let source = epoll.register(far.as_raw_fd()).unwrap();
        epoll.deregister(source, far.into());
        near.write_all(b"x").unwrap();
        epoll.wait(Wait::Never, Clock::start(), &stats).unwrap();
        assert_eq!(stats.completions.get(), 0);
        drop(duplicate);
    }
}
