//! The io_uring driver: receives into provided buffers, and polls for everything else.
//!
//! Small sends are gathered ([`sends`]). Large ones are not: sent at once, they need no copy, and
//! may borrow their bytes, since no kernel reads them after the call.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

mod sends;

use self::sends::{Sends, Unsent};
use super::buffers::{BUFFER_GROUP, Buffers, Chunk};
use super::clock::{Clock, Instant};
use super::driver::{Expect, SourceId, Wait, recv_now, remember};
use crate::telemetry::event_loop::LoopStats;

/// Submissions that fit before the ring has to be entered in the middle of a turn.
const SUBMISSIONS: u32 = 1024;
/// Completions that fit; the kernel keeps an overflow list beyond.
const COMPLETIONS: u32 = 8192;
/// IORING_RECVSEND_POLL_FIRST of the kernel's header: wait before the first try.
const POLL_FIRST: u16 = 1;
/// IORING_RECV_MULTISHOT: go on receiving, a completion for each buffer.
const MULTISHOT: u16 = 2;
/// IORING_ENTER_GETEVENTS: run deferred task work, without which no completion appears.
const GETEVENTS: u32 = 1;

/// Buffers that may lie with a source before its receiving is stopped. A message and what
/// follows it are two; more means that nobody takes them, and the sender has to feel it.
const ARRIVED_MAX: usize = 2;

const RECV: u64 = 0;
const READABLE: u64 = 1;
const WRITABLE: u64 = 2;
const ENDED: u64 = 3;
const SEND: u64 = 4;
const KIND_BITS: u32 = 3;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
/// The user data of cancellations, whose own completions mean nothing to us.
const IGNORED: u64 = u64::MAX;
/// The user data of the ring's one timer.
const TIMER: u64 = u64::MAX - 1;

/// How the ring was set up, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    /// SINGLE_ISSUER and DEFER_TASKRUN, kernel 6.1.
    DeferTaskrun,
    /// COOP_TASKRUN, kernel 5.19.
    CoopTaskrun,
}

pub(crate) struct Uring {
    ring: IoUring,
    flags: Flags,
    sources: Vec<Source>,
    free: Vec<u32>,
    /// Operations the kernel has not completed.
    in_flight: usize,
    /// Submissions that did not fit, oldest first. At most one receive, three polls and their
    /// cancellations per source.
    backlog: VecDeque<squeue::Entry>,
    /// When the ring's timer fires, if it is running.
    timer_due: Option<Instant>,
    /// Read by the kernel when a timer is submitted.
    timespec: Box<types::Timespec>,
    /// System calls by tasks since the last `wait`, which adds them to the count.
    calls: u64,
    sends: Sends,
    pub(super) buffers: Rc<Buffers>,
}

struct Source {
    fd: RawFd,
    recv: Recv,
    arrived: Arrivals,
    readable: PollState,
    writable: PollState,
    ended: PollState,
    /// A send of it waits for the entry, or its outcome has yet to be read.
    sends: bool,
    /// What the kernel did not take of a send.
    unsent: Option<Box<Unsent>>,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
    /// The descriptor is gone; the slot is free again when nothing is in flight.
    closed: bool,
}

/// What the kernel is doing for a source.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recv {
    Idle,
    /// Buffer after buffer, for messages with pauses between them. Spares a submission each.
    Many,
    /// `Many`, being stopped.
    Ending,
    /// Nothing: what has come is received by the task itself into a spare buffer. For bytes that
    /// are probably there already, and when no ring buffer was free.
    Direct,
}

/// Completed receives that nobody has asked for yet, oldest first.
#[derive(Default)]
struct Arrivals {
    /// Mostly there is one; a list of its own would cost every source memory.
    first: Option<Arrival>,
    #[expect(clippy::box_collection, reason = "a pointer is a quarter of a list, in every source")]
    later: Option<Box<VecDeque<Arrival>>>,
}

/// A completion's result, and its buffer if it carried one.
#[derive(Clone, Copy)]
struct Arrival {
    result: i32,
    buffer: Option<u16>,
}

impl Arrivals {
    fn push(&mut self, arrival: Arrival) {
        match self.first {
            None => self.first = Some(arrival),
            Some(_) => self.later.get_or_insert_default().push_back(arrival),
        }
    }

    fn pop(&mut self) -> Option<Arrival> {
        let first = self.first.take()?;
        self.first = self.later.as_mut().and_then(|later| later.pop_front());
        self.later.take_if(|_| self.first.is_none());
        Some(first)
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.later.as_ref().map_or(0, |later| later.len())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PollState {
    Idle,
    InFlight,
    Done(i32),
}

impl Uring {
    pub(super) fn new(flags: Flags) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS).setup_clamp();
        match flags {
            Flags::DeferTaskrun => builder.setup_single_issuer().setup_defer_taskrun(),
            Flags::CoopTaskrun => builder.setup_coop_taskrun(),
        };
        let ring = builder.build(SUBMISSIONS)?;
        let buffers = Buffers::new();
        buffers.register_ring(&ring)?;
        Ok(Self {
            ring,
            flags,
            sources: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            backlog: VecDeque::new(),
            timer_due: None,
            timespec: Box::default(),
            calls: 0,
            sends: Sends::new(),
            buffers,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self.flags {
            Flags::DeferTaskrun => "io_uring (single issuer, deferred task work)",
            Flags::CoopTaskrun => "io_uring (cooperative task work)",
        }
    }

    pub(super) fn register(&mut self, fd: RawFd) -> io::Result<SourceId> {
        let source = Source {
            fd,
            recv: Recv::Idle,
            arrived: Arrivals::default(),
            readable: PollState::Idle,
            writable: PollState::Idle,
            ended: PollState::Idle,
            sends: false,
            unsent: None,
            read_waker: None,
            write_waker: None,
            closed: false,
        };
        if let Some(id) = self.free.pop() {
            self.sources[id as usize] = source;
            return Ok(SourceId(id));
        }
        let id = u32::try_from(self.sources.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.sources.push(source);
        Ok(SourceId(id))
    }

    pub(super) fn deregister(&mut self, id: SourceId, fd: OwnedFd) {
        self.cancel(id);
        // By the ring, behind whatever the queue still says of this descriptor: closed before that, its
        // number could come to mean another socket.
        let close = opcode::Close::new(types::Fd(fd.into_raw_fd()));
        let close = close.build().flags(squeue::Flags::SKIP_SUCCESS).user_data(IGNORED);
        self.submit(close);
    }

    fn cancel(&mut self, id: SourceId) {
        let source = &mut self.sources[id.0 as usize];
        source.closed = true;
        source.read_waker = None;
        source.write_waker = None;
        let recv = source.recv == Recv::Many;
        let readable = source.readable == PollState::InFlight;
        let writable = source.writable == PollState::InFlight;
        let ended = source.ended == PollState::InFlight;
        while let Some(arrival) = source.arrived.pop() {
            if let Some(buffer) = arrival.buffer {
                self.buffers.unused(buffer);
            }
        }
        let started = [(recv, RECV), (readable, READABLE), (writable, WRITABLE), (ended, ENDED)];
        for (in_flight, kind) in started {
            if in_flight {
                let cancel = opcode::AsyncCancel::new(user_data(id, kind));
                self.submit(cancel.build().user_data(IGNORED));
            }
        }
        self.free_if_done(id.0);
    }

    pub(super) fn poll_recv(
        &mut self,
        id: SourceId,
        expect: Expect,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let polled = self.poll_arrival(id, expect, cx);
        match self.sources[id.0 as usize].unsent.as_deref() {
            // Whatever was received before comes first.
            Some(Unsent::Broken(error)) if polled.is_pending() => {
                Poll::Ready(Err(io::Error::from_raw_os_error(*error)))
            }
            _ => polled,
        }
    }

    fn poll_arrival(
        &mut self,
        id: SourceId,
        expect: Expect,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let source = &mut self.sources[id.0 as usize];
        if let Some(Arrival { result, buffer }) = source.arrived.pop() {
            if result == -libc::ENOBUFS {
                return self.poll_recv_direct(id, cx);
            }
            return Poll::Ready(self.received(result, buffer));
        }
        match (source.recv, expect) {
            (Recv::Direct, _) | (Recv::Idle, Expect::Soon) => self.poll_recv_direct(id, cx),
            (Recv::Idle, Expect::Later) => {
                remember(&mut source.read_waker, cx);
                self.start_recv(id);
                Poll::Pending
            }
            (Recv::Many | Recv::Ending, _) => {
                remember(&mut source.read_waker, cx);
                Poll::Pending
            }
        }
    }

    pub(super) fn is_quiet(&mut self, id: SourceId) -> bool {
        let source = &self.sources[id.0 as usize];
        // Which of data, end or error it is does not matter: nothing should have come.
        let quiet = source.arrived.len() == 0 && source.recv != Recv::Direct;
        if quiet && source.recv == Recv::Idle {
            self.start_recv(id);
        }
        quiet
    }

    pub(super) fn poll_readable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let source = &mut self.sources[id.0 as usize];
        match source.readable {
            PollState::Done(result) => {
                source.readable = PollState::Idle;
                Poll::Ready(check(result).map(drop))
            }
            PollState::InFlight => {
                remember(&mut source.read_waker, cx);
                Poll::Pending
            }
            PollState::Idle => {
                self.start_readable(id, cx);
                Poll::Pending
            }
        }
    }

    fn start_readable(&mut self, id: SourceId, cx: &Context<'_>) {
        let source = &mut self.sources[id.0 as usize];
        remember(&mut source.read_waker, cx);
        source.readable = PollState::InFlight;
        self.start_poll(id, READABLE, libc::POLLIN);
    }

    pub(super) fn poll_ended(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<()> {
        let source = &mut self.sources[id.0 as usize];
        if let PollState::Done(_) = source.ended {
            return Poll::Ready(());
        }
        remember(&mut source.read_waker, cx);
        if source.ended == PollState::Idle {
            source.ended = PollState::InFlight;
            self.start_poll(id, ENDED, libc::POLLRDHUP);
        }
        Poll::Pending
    }

    pub(super) fn poll_writable(&mut self, id: SourceId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let source = &mut self.sources[id.0 as usize];
        match source.writable {
            PollState::Done(result) => {
                source.writable = PollState::Idle;
                Poll::Ready(check(result).map(drop))
            }
            PollState::InFlight => {
                remember(&mut source.write_waker, cx);
                Poll::Pending
            }
            PollState::Idle => {
                remember(&mut source.write_waker, cx);
                source.writable = PollState::InFlight;
                self.start_poll(id, WRITABLE, libc::POLLOUT);
                Poll::Pending
            }
        }
    }

    pub(super) fn wait(&mut self, wait: Wait, clock: Clock, stats: &LoopStats) -> io::Result<()> {
        self.flush_backlog()?;
        stats.enters.add(1);
        stats.syscalls.add(std::mem::take(&mut self.calls));
        let may_wait = match wait {
            Wait::Never => false,
            // Not if it has passed, nor if the queue is full, which this turn empties.
            Wait::Until(due) => self.timer_fires_by(due, clock),
            Wait::Forever => true,
        };
        let entered = match may_wait {
            true => self.ring.submitter().submit_and_wait(1),
            false => self.enter_without_waiting(),
        };
        self.after_enter(entered, stats)
    }

    /// A wait of no length would program the CPU's timer and go to sleep for it all the same:
    /// measured, that was a fifth of the cost of a connection that carries one request.
    fn enter_without_waiting(&mut self) -> io::Result<usize> {
        let queued = self.ring.submission().len() as u32;
        // SAFETY: no argument is passed, and what the queued entries point to is as `push` says.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
    }

    fn after_enter(&mut self, entered: io::Result<usize>, stats: &LoopStats) -> io::Result<()> {
        match entered {
            Ok(_) => {}
            // Nothing came in time; a signal came; or the completion queue must be emptied first.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) => {}
            Err(error) => return Err(error),
        }
        // The kernel stops early at a submission it cannot take, or with a full completion queue.
        let all_submitted = self.backlog.is_empty() && self.ring.submission().is_empty();
        self.reap(stats);
        if all_submitted {
            self.settle_sends();
        }
        Ok(())
    }

    /// Sees to it that the ring's timer ends a wait at `due`; `false` if it cannot.
    ///
    /// A timeout of the wait itself would program the CPU's timer at every turn, which costs
    /// more than the turn. One operation in the ring is moved only when a deadline comes before
    /// it: it fires some times a second, however often the loop turns.
    fn timer_fires_by(&mut self, due: Instant, clock: Clock) -> bool {
        if self.timer_due.is_some_and(|set| set <= due) {
            return true;
        }
        let timeout = Duration::from_nanos(due.nanos_since(clock.now()));
        if timeout.is_zero() {
            return false;
        }
        *self.timespec = types::Timespec::from(timeout);
        let entry = match self.timer_due {
            None => opcode::Timeout::new(&raw const *self.timespec).build().user_data(TIMER),
            Some(_) => opcode::TimeoutUpdate::new(TIMER, &raw const *self.timespec)
                .build()
                .user_data(IGNORED),
        };
        if self.push(&entry) {
            self.timer_due = Some(due);
            return true;
        }
        false
    }

    /// Takes every completion off the queue and wakes who waits for it.
    fn reap(&mut self, stats: &LoopStats) {
        loop {
            let Some(completion) = self.ring.completion().next() else { return };
            stats.completions.add(1);
            match completion.user_data() {
                IGNORED => continue,
                TIMER => {
                    self.timer_due = None;
                    continue;
                }
                data if data & KIND_MASK == SEND => {
                    self.not_sent((data >> KIND_BITS) as u32, completion.result());
                    continue;
                }
                _ => {}
            }
            if !cqueue::more(completion.flags()) {
                self.in_flight -= 1;
            }
            self.complete(&completion, stats);
        }
    }

    fn complete(&mut self, completion: &cqueue::Entry, stats: &LoopStats) {
        let id = (completion.user_data() >> KIND_BITS) as u32;
        let kind = completion.user_data() & KIND_MASK;
        let result = completion.result();
        let source = &mut self.sources[id as usize];
        match kind {
            RECV => {
                let buffer = cqueue::buffer_select(completion.flags());
                if !cqueue::more(completion.flags()) {
                    source.recv = Recv::Idle;
                }
                self.arrive(id, Arrival { result, buffer }, stats);
            }
            READABLE => {
                source.readable = PollState::Done(result);
                wake(&source.read_waker);
            }
            WRITABLE if source.unsent.is_some() => self.send_rest(id),
            WRITABLE => {
                source.writable = PollState::Done(result);
                wake(&source.write_waker);
            }
            _ => {
                source.ended = PollState::Done(result);
                wake(&source.read_waker);
            }
        }
        self.free_if_done(id);
    }

    /// Keeps what a receive brought for whoever asks next.
    fn arrive(&mut self, id: u32, arrival: Arrival, stats: &LoopStats) {
        let source = &mut self.sources[id as usize];
        if source.closed {
            if let Some(buffer) = arrival.buffer {
                self.buffers.unused(buffer);
            }
            return;
        }
        if arrival.result == -libc::ENOBUFS {
            stats.buffers_exhausted.add(1);
        }
        // What we stopped ourselves is no news: whoever asks again starts again.
        if arrival.result != -libc::ECANCELED {
            source.arrived.push(arrival);
        }
        wake(&source.read_waker);
        if source.recv == Recv::Many && source.arrived.len() >= ARRIVED_MAX {
            source.recv = Recv::Ending;
            let cancel = opcode::AsyncCancel::new(user_data(SourceId(id), RECV));
            self.submit(cancel.build().user_data(IGNORED));
        }
    }

    fn received(&self, result: i32, buffer: Option<u16>) -> io::Result<Option<Chunk>> {
        match (check(result), buffer) {
            (Ok(0), buffer) | (Err(_), buffer @ Some(_)) => {
                if let Some(buffer) = buffer {
                    self.buffers.unused(buffer);
                }
                check(result).map(|_| None)
            }
            (Ok(len), Some(buffer)) => Ok(Some(self.buffers.filled(buffer, len as usize))),
            (Ok(_), None) => Err(io::Error::other("a receive completed without its buffer")),
            (Err(error), None) => Err(error),
        }
    }

    /// Receives into a spare buffer now, or once the source is readable. The buffer is the one
    /// that was used last, so it is in the CPU's cache.
    fn poll_recv_direct(
        &mut self,
        id: SourceId,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        let source = &mut self.sources[id.0 as usize];
        source.recv = Recv::Direct;
        if source.readable == PollState::InFlight {
            remember(&mut source.read_waker, cx);
            return Poll::Pending;
        }
        source.readable = PollState::Idle;
        let fd = source.fd;
        let mut bytes = self.buffers.take_spare();
        self.calls += 1;
        let received = recv_now(fd, &mut bytes);
        if let Ok(len @ 1..) = received {
            self.sources[id.0 as usize].recv = Recv::Idle;
            return Poll::Ready(Ok(Some(self.buffers.filled_spare(bytes, len))));
        }
        self.buffers.return_spare(bytes);
        match received {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.start_readable(id, cx);
                Poll::Pending
            }
            ended => {
                self.sources[id.0 as usize].recv = Recv::Idle;
                Poll::Ready(ended.map(|_| None))
            }
        }
    }

    /// Starts receiving into ring buffers, with the next data that comes.
    fn start_recv(&mut self, id: SourceId) {
        let source = &mut self.sources[id.0 as usize];
        source.recv = Recv::Many;
        // Without a length, many receives take as much as a buffer holds.
        let entry = opcode::Recv::new(types::Fd(source.fd), std::ptr::null_mut(), 0)
            .ioprio(POLL_FIRST | MULTISHOT)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(user_data(id, RECV));
        self.in_flight += 1;
        self.submit(entry);
    }

    fn start_poll(&mut self, id: SourceId, kind: u64, events: libc::c_short) {
        let fd = types::Fd(self.sources[id.0 as usize].fd);
        let entry = opcode::PollAdd::new(fd, events as u32).build().user_data(user_data(id, kind));
        self.in_flight += 1;
        self.submit(entry);
    }

    fn submit(&mut self, entry: squeue::Entry) {
        if !self.backlog.is_empty() || !self.push(&entry) {
            self.backlog.push_back(entry);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: entries point to memory of ours in two cases: the timer's timespec lives as long as
        // the ring, and the bytes of a send stay as they are until the kernel has tried it (`Sends`).
        // Receives name a buffer group, polls and cancellations have no buffer. Each descriptor stays
        // open until it is deregistered.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    /// Moves what did not fit into the submission queue, entering the ring as often as it takes.
    fn flush_backlog(&mut self) -> io::Result<()> {
        while let Some(entry) = self.backlog.pop_front() {
            if self.push(&entry) {
                continue;
            }
            self.backlog.push_front(entry);
            match self.ring.submit() {
                Ok(_) => {}
                // The completion queue is full: reap it before going on.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn free_if_done(&mut self, id: u32) {
        let source = &self.sources[id as usize];
        if source.closed && !source.is_busy() {
            self.free.push(id);
        }
    }
}

impl Source {
    /// Whether the kernel, or the queue to it, holds an operation on this source.
    fn is_busy(&self) -> bool {
        self.sends
            || matches!(self.recv, Recv::Many | Recv::Ending)
            || self.readable == PollState::InFlight
            || self.writable == PollState::InFlight
            || self.ended == PollState::InFlight
    }
}

impl Drop for Uring {
    /// Waits until the kernel uses none of our buffers any more; keeps them if it does not stop.
    fn drop(&mut self) {
        let stats = LoopStats::default();
        for id in 0..self.sources.len() {
            if !self.sources[id].closed {
                self.cancel(SourceId(id as u32));
            }
        }
        for _ in 0..100 {
            let all_submitted = self.backlog.is_empty() && self.ring.submission().is_empty();
            if self.in_flight == 0 && all_submitted {
                return;
            }
            let timespec = types::Timespec::from(Duration::from_millis(10));
            let args = types::SubmitArgs::new().timespec(&timespec);
            let entered = self
                .flush_backlog()
                .and_then(|()| self.ring.submitter().submit_with_args(1, &args));
            if self.after_enter(entered, &stats).is_err() {
                break;
            }
        }
        std::mem::forget(Rc::clone(&self.buffers));
    }
}

fn user_data(id: SourceId, kind: u64) -> u64 {
    u64::from(id.0) << KIND_BITS | kind
}

fn check(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn wake(waker: &Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}
