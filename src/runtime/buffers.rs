//! The worker's receive buffers: a ring of them that the kernel fills, and a few spare ones.
//!
//! Unsafe lives here because the kernel writes into this memory. The rule that makes it sound:
//! a ring buffer belongs either to the kernel (its id is published in the ring) or to exactly one
//! [`Chunk`] (its id came out of a completion), never to both. Ids leave the ring only through
//! completions and return only through [`Chunk`]'s drop.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use io_uring::types::BufRingEntry;

/// One receive buffer. A response of 16 KiB with its head fits, so that it needs one receive.
pub const BUFFER_BYTES: usize = 32 * 1024;

/// Buffers in a worker's ring: 2 MiB, which stays in the second-level cache of a server core.
/// When all are in use, spare ones from the heap stand in.
const RING_BUFFERS: u16 = 64;
const _: () = assert!(RING_BUFFERS.is_power_of_two(), "the ring's index is masked");

/// Spare buffers kept for reuse; more than these go back to the allocator.
const SPARE_MAX: usize = 64;

/// The buffer group that receives name in their submission. A worker has one.
pub(super) const BUFFER_GROUP: u16 = 0;

/// All receive buffers of one worker.
pub struct Buffers {
    ring: RefCell<Option<Ring>>,
    spare: RefCell<Vec<Box<[u8]>>>,
    in_use: Cell<usize>,
}

impl Buffers {
    /// Spare buffers only: what the epoll driver needs.
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            ring: RefCell::new(None),
            spare: RefCell::new(Vec::new()),
            in_use: Cell::new(0),
        })
    }

    /// Adds a ring of buffers and registers it with `uring`.
    pub(super) fn register_ring(&self, uring: &io_uring::IoUring) -> io::Result<()> {
        let ring = Ring::map()?;
        let address = ring.entries.as_ptr() as u64;
        // SAFETY: the address is that of RING_BUFFERS page-aligned entries, which stay mapped
        // until `Buffers` is dropped, and the io_uring driver keeps it until its ring is closed.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                address,
                RING_BUFFERS,
                BUFFER_GROUP,
                0,
            )?
        };
        for id in 0..RING_BUFFERS {
            ring.publish(id);
        }
        *self.ring.borrow_mut() = Some(ring);
        Ok(())
    }

    /// The chunk for a completed receive: `len` bytes in ring buffer `id`.
    pub(super) fn filled(self: &Rc<Self>, id: u16, len: usize) -> Chunk {
        debug_assert!(len <= BUFFER_BYTES, "the kernel fills at most a buffer");
        self.in_use.set(self.in_use.get() + 1);
        Chunk { storage: Storage::Ring(id), range: 0..len, buffers: Rc::clone(self) }
    }

    /// Gives a ring buffer back whose completion carried no data.
    pub(super) fn unused(&self, id: u16) {
        if let Some(ring) = self.ring.borrow().as_ref() {
            ring.publish(id);
        }
    }

    /// A spare buffer to receive into.
    pub(super) fn take_spare(&self) -> Box<[u8]> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice())
    }

    pub(super) fn return_spare(&self, bytes: Box<[u8]>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(bytes);
        }
    }

    /// The chunk for `len` bytes received into a spare buffer.
    pub(super) fn filled_spare(self: &Rc<Self>, bytes: Box<[u8]>, len: usize) -> Chunk {
        self.in_use.set(self.in_use.get() + 1);
        Chunk { storage: Storage::Spare(bytes), range: 0..len, buffers: Rc::clone(self) }
    }

    /// A chunk of bytes that were received into other memory than a worker's buffers.
    pub(super) fn foreign(self: &Rc<Self>, bytes: Bytes) -> Chunk {
        self.in_use.set(self.in_use.get() + 1);
        let range = 0..bytes.len();
        Chunk { storage: Storage::Foreign(bytes), range, buffers: Rc::clone(self) }
    }

    /// Chunks that are held at this moment.
    pub fn in_use(&self) -> usize {
        self.in_use.get()
    }
}

/// Received bytes, in a buffer that goes back to its worker when this is dropped.
pub struct Chunk {
    storage: Storage,
    range: Range<usize>,
    buffers: Rc<Buffers>,
}

enum Storage {
    Ring(u16),
    Spare(Box<[u8]>),
    Foreign(Bytes),
}

impl Chunk {
    /// An empty chunk on a spare buffer, for bytes that are made here instead of received.
    pub fn empty(buffers: &Rc<Buffers>) -> Self {
        buffers.filled_spare(buffers.take_spare(), 0)
    }

    /// Adds as many of `bytes` as there is room for, and says how many those were. Only a chunk
    /// made by [`Self::empty`] has room.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let Storage::Spare(storage) = &mut self.storage else { return 0 };
        let room = &mut storage[self.range.end..];
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        self.range.end += count;
        count
    }

    /// How many more bytes [`Self::append`] would take.
    pub fn room(&self) -> usize {
        match &self.storage {
            Storage::Ring(_) | Storage::Foreign(_) => 0,
            Storage::Spare(bytes) => bytes.len() - self.range.end,
        }
    }

    /// The bytes, to be changed in place. Of a library's there are none: they may have other
    /// readers.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.storage {
            Storage::Ring(id) => {
                let ring = self.buffers.ring.borrow();
                let start = ring.as_ref().expect("a ring chunk comes from a ring").buffer(*id);
                // SAFETY: as in `deref`; and since a buffer has one chunk, which is borrowed
                // mutably here, nobody else sees these bytes.
                unsafe {
                    std::slice::from_raw_parts_mut(
                        start.as_ptr().add(self.range.start),
                        self.range.len(),
                    )
                }
            }
            Storage::Spare(bytes) => &mut bytes[self.range.clone()],
            Storage::Foreign(_) => &mut [],
        }
    }

    /// Forgets the first `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.range.start = (self.range.start + count).min(self.range.end);
    }
}

impl std::ops::Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.storage {
            Storage::Ring(id) => {
                let ring = self.buffers.ring.borrow();
                let start = ring.as_ref().expect("a ring chunk comes from a ring").buffer(*id);
                // SAFETY: this chunk owns the buffer (module comment), the kernel has filled
                // the range, and the mapping lives as long as `buffers`, which self holds.
                unsafe {
                    std::slice::from_raw_parts(
                        start.as_ptr().add(self.range.start),
                        self.range.len(),
                    )
                }
            }
            Storage::Spare(bytes) => &bytes[self.range.clone()],
            Storage::Foreign(bytes) => &bytes[self.range.clone()],
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.buffers.in_use.set(self.buffers.in_use.get() - 1);
        match std::mem::replace(&mut self.storage, Storage::Foreign(Bytes::new())) {
            Storage::Ring(id) => self.buffers.unused(id),
            Storage::Spare(bytes) => self.buffers.return_spare(bytes),
            Storage::Foreign(_) => {}
        }
    }
}

/// The ring of buffer ids shared with the kernel, and the buffers themselves.
struct Ring {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: Cell<u16>,
}

const ENTRIES_BYTES: usize = RING_BUFFERS as usize * size_of::<BufRingEntry>();
const MEMORY_BYTES: usize = RING_BUFFERS as usize * BUFFER_BYTES;

impl Ring {
    fn map() -> io::Result<Self> {
        let entries = map_anonymous(ENTRIES_BYTES)?.cast();
        let memory = map_anonymous(MEMORY_BYTES)?;
        Ok(Self { entries, memory, tail: Cell::new(0) })
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < RING_BUFFERS);
        // SAFETY: ids are below RING_BUFFERS, so the offset lies within the mapping.
        unsafe { self.memory.add(usize::from(id) * BUFFER_BYTES) }
    }

    /// Gives buffer `id` to the kernel.
    fn publish(&self, id: u16) {
        let tail = self.tail.get();
        // SAFETY: the masked index is below RING_BUFFERS. The slot is free: there are as many
        // slots as ids, and `id` was not in the ring. The tail lies in the reserved part of the
        // first entry, is aligned for a u16, and is written by this thread only.
        unsafe {
            let entry = self.entries.add(usize::from(tail & (RING_BUFFERS - 1))).as_mut();
            entry.set_addr(self.buffer(id).as_ptr() as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            let shared_tail = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(shared_tail).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: both mappings were made in `map` with these lengths. No chunk is left (each
        // holds the `Buffers` that hold this), and the driver that let the kernel write here
        // keeps `Buffers` until no operation is in flight.
        unsafe {
            libc::munmap(self.entries.as_ptr().cast(), ENTRIES_BYTES);
            libc::munmap(self.memory.as_ptr().cast(), MEMORY_BYTES);
        }
    }
}

fn map_anonymous(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new private mapping touches no memory that exists.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("mmap without a fixed address never returns null"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_buffer_is_used_again() {
        let buffers = Buffers::new();
        let bytes = buffers.take_spare();
        let address = bytes.as_ptr();
        let chunk = buffers.filled_spare(bytes, 5);
        assert_eq!((chunk.len(), buffers.in_use()), (5, 1));
        drop(chunk);
        assert_eq!(buffers.in_use(), 0);
        let again = buffers.take_spare();
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn a_chunk_takes_what_it_has_room_for() {
        let buffers = Buffers::new();
        let mut chunk = Chunk::empty(&buffers);
        assert_eq!(chunk.append(b"hello"), 5);
        chunk.bytes_mut()[0] = b'j';
        assert_eq!(&chunk[..], b"jello");
        assert_eq!(chunk.append(&vec![0; BUFFER_BYTES]), BUFFER_BYTES - 5);
        assert_eq!(chunk.append(b"x"), 0);
    }

    #[test]
    fn foreign_bytes_are_read_like_any_other_and_keep_no_buffer() {
        let buffers = Buffers::new();
        let mut chunk = buffers.foreign(Bytes::from_static(b"hello"));
        chunk.consume(1);
        assert_eq!((&chunk[..], buffers.in_use()), (&b"ello"[..], 1));
        drop(chunk);
        assert_eq!(buffers.in_use(), 0);
        assert!(buffers.spare.borrow().is_empty());
    }

    #[test]
    fn consumed_bytes_are_gone_and_no_more_than_there_are() {
        let buffers = Buffers::new();
        let mut bytes = buffers.take_spare();
        bytes[..5].copy_from_slice(b"hello");
        let mut chunk = buffers.filled_spare(bytes, 5);
        chunk.consume(3);
        assert_eq!(&chunk[..], b"lo");
        chunk.consume(9);
        assert!(chunk.is_empty());
    }
}
