//! Small sends that leave together when the ring is entered, instead of by a system call each.
//!
//! A call for each goes from our code through the kernel's and back, and each finds the other's in
//! the CPU's caches. Gathered, the turn runs all of ours first, and then the kernel all of its own.
//! Measured at 128 B: 11.7 µs per proxied request instead of 13.4 with send(2), and 0.5 system calls
//! instead of 2.3.
//!
//! A send is tried once, at the entry, and makes no completion when all of it was taken. That is
//! the rule: who hands little to a socket that has taken everything before meets room.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use io_uring::{opcode, squeue, types};

use super::{PollState, SEND, Uring, WRITABLE, user_data, wake};
use crate::runtime::driver::{SourceId, remember, send_now};
use crate::telemetry::event_loop::LoopStats;

/// Bytes of one send that are copied. More are cheaper sent from where they lie.
const LENGTH_MAX: usize = 20 * 1024;

/// Sends that may wait for the turn to end: the first should not wait for hundreds of others.
const AT_ONCE_MAX: usize = 32;

/// Bytes that may: the copies should still be in the CPU's caches when the kernel reads them.
const AT_ONCE_BYTES: usize = 128 * 1024;

const ARENA_BYTES: usize = AT_ONCE_BYTES + LENGTH_MAX;

/// What became of a send that was not taken whole.
pub(super) enum Unsent {
    /// Goes on once the socket is writable.
    Rest(Vec<u8>),
    /// Nothing goes on: an error number.
    Broken(i32),
}

/// Sends that wait for the next entry, or whose outcome has yet to be read; at most one of a source.
pub(super) struct Sends {
    /// What the kernel reads: not touched between the submission and [`Self::settle_one`].
    arena: Box<[u8]>,
    used: usize,
    queue: Vec<Queued>,
}

struct Queued {
    source: u32,
    at: usize,
    length: usize,
}

impl Sends {
    pub(super) fn new() -> Self {
        let arena = vec![0; ARENA_BYTES].into_boxed_slice();
        Self { arena, used: 0, queue: Vec::new() }
    }

    /// Copies the bytes to where the kernel may read them; `None` if they are too many.
    pub(super) fn queue(&mut self, source: u32, pieces: &[IoSlice<'_>]) -> Option<&[u8]> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > LENGTH_MAX || length > self.arena.len() - self.used {
            return None;
        }
        let at = self.used;
        for piece in pieces {
            self.arena[self.used..][..piece.len()].copy_from_slice(piece);
            self.used += piece.len();
        }
        self.queue.push(Queued { source, at, length });
        Some(&self.arena[at..self.used])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Forgets the last one.
    pub(super) fn take_back(&mut self) {
        self.queue.pop();
    }

    /// Whether enough wait for the entry.
    pub(super) fn is_due(&self) -> bool {
        self.queue.len() >= AT_ONCE_MAX || self.used >= AT_ONCE_BYTES
    }

    /// The bytes of a source's send.
    pub(super) fn bytes_of(&self, source: u32) -> Option<&[u8]> {
        let sent = self.queue.iter().find(|sent| sent.source == source)?;
        Some(&self.arena[sent.at..][..sent.length])
    }

    /// The source of one more send that the kernel has tried and whose completion, if there was
    /// one, has been read. To be called until there is none.
    pub(super) fn settle_one(&mut self) -> Option<u32> {
        let settled = self.queue.pop();
        if settled.is_none() {
            self.used = 0;
        }
        settled.map(|sent| sent.source)
    }
}

impl Uring {
    /// Copies the bytes, to be sent when this turn ends, and says whether it has. If not, they are
    /// to be sent at once. `company`: more tasks of this turn may send.
    pub(in crate::runtime) fn send_later(
        &mut self,
        id: SourceId,
        pieces: &[IoSlice<'_>],
        company: bool,
        stats: &LoopStats,
    ) -> bool {
        // Alone it would gain nothing and leave later.
        if !company && self.sends.is_empty() {
            return false;
        }
        let source = &self.sources[id.0 as usize];
        if source.unsent.is_some() || source.sends || !self.backlog.is_empty() {
            return false;
        }
        let fd = types::Fd(source.fd);
        let Some(copy) = self.sends.queue(id.0, pieces) else { return false };
        // All or an error: without WAITALL a part of it would be a success, of which we hear nothing.
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(fd, copy.as_ptr(), copy.len() as u32)
            .flags(flags)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(id, SEND));
        if !self.push(&entry) {
            self.sends.take_back();
            return false;
        }
        self.sources[id.0 as usize].sends = true;
        if self.sends.is_due() {
            // What goes wrong with it goes wrong again at the end of the turn.
            let _ = self.enter_for_sends(stats);
        }
        true
    }

    /// Ready when a send at once overtakes nothing that [`Self::send_later`] has taken.
    pub(in crate::runtime) fn poll_sendable(
        &mut self,
        id: SourceId,
        cx: &Context<'_>,
        stats: &LoopStats,
    ) -> Poll<io::Result<()>> {
        if self.sources[id.0 as usize].sends {
            self.enter_for_sends(stats)?;
        }
        if self.sources[id.0 as usize].sends {
            // The ring takes nothing at this moment; the end of the turn makes room.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let source = &mut self.sources[id.0 as usize];
        match source.unsent.as_deref() {
            None => Poll::Ready(Ok(())),
            Some(Unsent::Broken(error)) => Poll::Ready(Err(io::Error::from_raw_os_error(*error))),
            Some(Unsent::Rest(_)) => {
                remember(&mut source.write_waker, cx);
                Poll::Pending
            }
        }
    }

    fn enter_for_sends(&mut self, stats: &LoopStats) -> io::Result<()> {
        stats.enters.add(1);
        let entered = self.ring.submit();
        self.after_enter(entered, stats)
    }

    /// A send that the kernel did not take whole.
    pub(super) fn not_sent(&mut self, id: u32, result: i32) {
        let source = &mut self.sources[id as usize];
        let Some(bytes) = self.sends.bytes_of(id).filter(|_| !source.closed) else { return };
        let rest = match usize::try_from(result) {
            Ok(sent) => &bytes[sent.min(bytes.len())..],
            Err(_) if matches!(-result, libc::EAGAIN | libc::EINTR) => bytes,
            Err(_) => {
                source.unsent = Some(Box::new(Unsent::Broken(-result)));
                wake(&source.read_waker);
                wake(&source.write_waker);
                return;
            }
        };
        source.unsent = Some(Box::new(Unsent::Rest(rest.to_vec())));
        if source.writable != PollState::InFlight {
            source.writable = PollState::InFlight;
            self.start_poll(SourceId(id), WRITABLE, libc::POLLOUT);
        }
    }

    /// Goes on with a send that was not taken whole.
    pub(super) fn send_rest(&mut self, id: u32) {
        let source = &mut self.sources[id as usize];
        let Some(Unsent::Rest(rest)) = source.unsent.as_deref_mut() else { return };
        match send_now(source.fd, rest) {
            Ok(sent) if sent >= rest.len() => source.unsent = None,
            Ok(sent) => drop(rest.drain(..sent)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let error = error.raw_os_error().unwrap_or(libc::EPIPE);
                source.unsent = Some(Box::new(Unsent::Broken(error)));
            }
        }
        if matches!(source.unsent.as_deref(), Some(Unsent::Rest(_))) {
            self.start_poll(SourceId(id), WRITABLE, libc::POLLOUT);
            return;
        }
        source.writable = PollState::Idle;
        wake(&source.read_waker);
        wake(&source.write_waker);
    }

    /// The kernel has tried all of them, and its completions have been read.
    pub(super) fn settle_sends(&mut self) {
        while let Some(id) = self.sends.settle_one() {
            self.sources[id as usize].sends = false;
            self.free_if_done(id);
        }
    }
}
