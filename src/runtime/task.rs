//! Tasks by number, and wakers that are nothing but such numbers.

use std::future::Future;
use std::pin::Pin;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::core::with_current;
use super::remote;

pub(super) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
// A waker is one pointer: task, generation and loop must fit into it.
const _: () = assert!(usize::BITS == 64 && INDEX_BITS + GENERATION_BITS + u16::BITS == 64);

/// A task's slot and the generation of its tenant: a stale key names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskKey {
    index: u32,
    generation: u32,
}

impl TaskKey {
    /// A waker that schedules this task on the loop numbered `remote`.
    pub(super) fn waker(self, remote: u16) -> Waker {
        let packed = u64::from(remote) << (INDEX_BITS + GENERATION_BITS)
            | u64::from(self.generation) << INDEX_BITS
            | u64::from(self.index);
        let data = std::ptr::without_provenance(packed as usize);
        // SAFETY: the vtable's functions treat the data as a number only; they never
        // dereference it, own nothing, and may be called from any thread.
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }

    fn unpack(data: *const ()) -> (u16, Self) {
        let packed = data.addr() as u64;
        let key = Self {
            index: (packed & INDEX_MASK) as u32,
            generation: (packed >> INDEX_BITS & GENERATION_MASK) as u32,
        };
        ((packed >> (INDEX_BITS + GENERATION_BITS)) as u16, key)
    }
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake, wake, |_| {});

fn wake(data: *const ()) {
    let (loop_id, key) = TaskKey::unpack(data);
    let here = with_current(|core| match core {
        Some(core) if core.remote_id() == loop_id => {
            core.schedule(key);
            true
        }
        _ => false,
    });
    if !here {
        remote::wake(loop_id, key);
    }
}

struct Slot {
    generation: u32,
    /// Absent while it is being polled, and when the slot is free.
    future: Option<TaskFuture>,
    occupied: bool,
    queued: bool,
}

/// All tasks of one loop.
#[derive(Default)]
pub(super) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Tasks {
    /// The new task counts as queued: the caller queues it.
    pub(super) fn insert(&mut self, future: TaskFuture) -> TaskKey {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.future = Some(future);
            slot.occupied = true;
            slot.queued = true;
            return TaskKey { index, generation: slot.generation };
        }
        let index = self.slots.len() as u32;
        assert!(u64::from(index) < INDEX_MASK, "connection limits keep tasks below 16 million");
        self.slots.push(Slot { generation: 0, future: Some(future), occupied: true, queued: true });
        TaskKey { index, generation: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn slot(&mut self, key: TaskKey) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.occupied && slot.generation == key.generation).then_some(slot)
    }

    /// Whether the caller has to queue the task.
    pub(super) fn mark_queued(&mut self, key: TaskKey) -> bool {
        self.slot(key).is_some_and(|slot| !std::mem::replace(&mut slot.queued, true))
    }

    /// Marks every task that is not queued yet, and says which those are.
    pub(super) fn queue_all(&mut self) -> Vec<TaskKey> {
        let queueable = |(index, slot): (usize, &mut Slot)| {
            let queue = slot.occupied && !std::mem::replace(&mut slot.queued, true);
            queue.then_some(TaskKey { index: index as u32, generation: slot.generation })
        };
        self.slots.iter_mut().enumerate().filter_map(queueable).collect()
    }

    /// Takes the future out for a poll. From now on a wake queues the task again.
    pub(super) fn take(&mut self, key: TaskKey) -> Option<TaskFuture> {
        let slot = self.slot(key)?;
        slot.queued = false;
        slot.future.take()
    }

    pub(super) fn put_back(&mut self, key: TaskKey, future: TaskFuture) {
        if let Some(slot) = self.slot(key) {
            slot.future = Some(future);
        }
    }

    pub(super) fn remove(&mut self, key: TaskKey) {
        if let Some(slot) = self.slot(key) {
            slot.occupied = false;
            slot.generation = (slot.generation + 1) & GENERATION_MASK as u32;
            self.free.push(key.index);
        }
    }

    /// Takes all futures out, to be dropped where nothing is borrowed.
    pub(super) fn drain(&mut self) -> Vec<TaskFuture> {
        self.slots.iter_mut().filter_map(|slot| slot.future.take()).collect()
    }
}
