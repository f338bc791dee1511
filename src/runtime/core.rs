//! The loop of one worker: tasks, timers, and the driver they wait with.
//!
//! Everything here belongs to one thread. The only way in from another is a [`Waker`], which
//! carries numbers instead of pointers and finds its loop through [`super::remote`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::buffers::{Buffers, Chunk};
use super::clock::{Clock, Instant, NANOS_PER_TICK};
use super::driver::{Driver, Wait};
use super::remote::Remote;
use super::task::{TaskKey, Tasks};
use super::wheel::Wheel;
use crate::telemetry::event_loop::LoopStats;

/// One worker's loop and all that its tasks share.
pub struct Core {
    clock: Cell<Clock>,
    now: Cell<Instant>,
    pub(super) driver: RefCell<Driver>,
    pub(super) timers: RefCell<Wheel<Option<Waker>>>,
    tasks: RefCell<Tasks>,
    ready: RefCell<VecDeque<TaskKey>>,
    /// Tasks that have not been polled yet. They need not wait for the next turn: what a connection
    /// is accepted for is mostly there already.
    spawned: RefCell<VecDeque<TaskKey>>,
    remote: Arc<Remote>,
    stats: Arc<LoopStats>,
    stopping: Cell<bool>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// Runs `action` with the loop of this thread, if it has one.
pub(super) fn with_current<T>(action: impl FnOnce(Option<&Rc<Core>>) -> T) -> T {
    CURRENT.with_borrow(|core| action(core.as_ref()))
}

impl Core {
    pub(super) fn new(driver: Driver, stats: Arc<LoopStats>) -> io::Result<Rc<Self>> {
        let clock = Clock::start();
        let now = clock.now();
        Ok(Rc::new(Self {
            clock: Cell::new(clock),
            now: Cell::new(now),
            driver: RefCell::new(driver),
            timers: RefCell::new(Wheel::new(now.tick())),
            tasks: RefCell::new(Tasks::default()),
            ready: RefCell::new(VecDeque::new()),
            spawned: RefCell::new(VecDeque::new()),
            remote: Remote::register()?,
            stats,
            stopping: Cell::new(false),
        }))
    }

    /// The time at which this turn of the loop began: what the events of the turn are dated by.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The time at this moment, for figures below a turn's length: about 25 ns to read.
    pub fn precise_now(&self) -> Instant {
        self.clock.get().now()
    }

    /// The time of day at `instant`, in nanoseconds since 1970.
    pub fn unix_nanos(&self, instant: Instant) -> u64 {
        self.clock.get().unix_nanos(instant)
    }

    /// Follows a step of the system's time of day.
    pub fn resync_clock(&self) {
        let mut clock = self.clock.get();
        clock.resync();
        self.clock.set(clock);
    }

    pub fn stats(&self) -> &LoopStats {
        &self.stats
    }

    /// The driver in use, in words for the log and the metrics.
    pub fn driver_name(&self) -> &'static str {
        self.driver.borrow().name()
    }

    /// The worker's receive buffers.
    pub fn buffers(&self) -> Rc<Buffers> {
        Rc::clone(self.driver.borrow().buffers())
    }

    /// Receive buffers that hold data at this moment.
    pub fn buffers_in_use(&self) -> usize {
        self.driver.borrow().buffers().in_use()
    }

    /// A chunk of bytes that a protocol's library has received into its own memory.
    pub fn foreign_chunk(&self, bytes: Bytes) -> Chunk {
        self.driver.borrow().buffers().foreign(bytes)
    }

    /// Starts a task. It runs until it is done, or until the loop ends.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let key = self.tasks.borrow_mut().insert(Box::pin(future));
        self.spawned.borrow_mut().push_back(key);
    }

    pub fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Polls every task once more: for news that concerns them all, such as a drain.
    pub fn wake_all(&self) {
        let keys = self.tasks.borrow_mut().queue_all();
        self.ready.borrow_mut().extend(keys);
    }

    /// Ends the loop after this turn; tasks that are left are dropped.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Queues a task to be polled, unless it is queued already or gone.
    pub(super) fn schedule(&self, key: TaskKey) {
        if self.tasks.borrow_mut().mark_queued(key) {
            self.ready.borrow_mut().push_back(key);
        }
    }

    /// Whether tasks wait for their poll.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    pub(super) fn remote_id(&self) -> u16 {
        self.remote.id()
    }

    /// Runs until `stop` is called. An error is the driver's: without it the loop is blind.
    pub(super) fn run(self: &Rc<Self>) -> io::Result<()> {
        CURRENT.set(Some(Rc::clone(self)));
        self.spawn(super::remote::answer(Rc::clone(self), Arc::clone(&self.remote)));
        let outcome = self.turns();
        self.drop_tasks();
        CURRENT.set(None);
        outcome
    }

    fn turns(self: &Rc<Self>) -> io::Result<()> {
        while !self.stopping.get() {
            self.stats.turns.add(1);
            self.run_ready();
            let wait = self.idle_time();
            self.driver.borrow_mut().wait(wait, self.clock.get(), &self.stats)?;
            self.now.set(self.clock.get().now());
            self.fire_timers();
        }
        Ok(())
    }

    /// Polls the tasks that are ready now, and those they spawn; what they wake waits for the
    /// next turn, so that tasks which wake each other cannot keep events waiting.
    fn run_ready(self: &Rc<Self>) {
        self.run_spawned();
        let count = self.ready.borrow().len();
        for _ in 0..count {
            let Some(key) = self.ready.borrow_mut().pop_front() else { return };
            self.poll_task(key);
            self.run_spawned();
        }
    }

    fn run_spawned(self: &Rc<Self>) {
        loop {
            let Some(key) = self.spawned.borrow_mut().pop_front() else { return };
            self.poll_task(key);
        }
    }

    fn poll_task(self: &Rc<Self>, key: TaskKey) {
        let Some(mut future) = self.tasks.borrow_mut().take(key) else { return };
        let waker = key.waker(self.remote_id());
        match poll_caught(future.as_mut(), &mut Context::from_waker(&waker)) {
            Ok(Poll::Pending) => self.tasks.borrow_mut().put_back(key, future),
            Ok(Poll::Ready(())) => self.finish(key, future),
            Err(()) => {
                self.stats.panics.add(1);
                self.finish(key, future);
            }
        }
    }

    /// Drops what a finished task left. A destructor that panics ends its task, not the worker.
    fn finish(&self, key: TaskKey, future: Pin<Box<dyn Future<Output = ()>>>) {
        if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
            self.stats.panics.add(1);
        }
        self.tasks.borrow_mut().remove(key);
    }

    /// How long the driver may wait: not at all when tasks are ready.
    fn idle_time(&self) -> Wait {
        if !self.ready.borrow().is_empty() || self.stopping.get() {
            return Wait::Never;
        }
        match self.timers.borrow().next_look() {
            Some(tick) => Wait::Until(Instant::from_nanos(tick.saturating_mul(NANOS_PER_TICK))),
            None => Wait::Forever,
        }
    }

    fn fire_timers(&self) {
        let tick = self.now.get().tick();
        self.timers.borrow_mut().advance(tick, |waker| {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        });
    }

    fn drop_tasks(&self) {
        let futures = self.tasks.borrow_mut().drain();
        drop(futures);
    }
}

fn poll_caught(
    future: Pin<&mut dyn Future<Output = ()>>,
    cx: &mut Context<'_>,
) -> Result<Poll<()>, ()> {
    // What the task owned is dropped with it, so nothing sees the state the panic broke; cells
    // that tasks share are never left between two related writes across a call that can panic.
    catch_unwind(AssertUnwindSafe(|| future.poll(cx))).map_err(drop)
}
