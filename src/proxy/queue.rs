//! Exchanges that wait until their cluster has room.
//!
//! All workers share the queue of a cluster. Whoever waits stays in it until it has what it waited
//! for, and newcomers queue up behind: nobody is overtaken. Leaving room calls the next one, on
//! whichever worker it waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::client_address::network;
use crate::policy::departures::Departures;
use crate::policy::line::{Joined, Line, Spot, Ticket};
use crate::runtime::clock::Clock;

/// A client is asked to stay away for at least this long, and at most that long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who takes turns with whom: one client address. Of IPv6 the network half counts, since a host
/// has as many addresses as it likes in it (RFC 7934).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner(u128);

impl Owner {
    pub(super) fn of(client: IpAddr) -> Self {
        Self(network(client, 64))
    }
}

/// Why an exchange did not get a place or lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shed {
    pub(super) reason: ShedReason,
    /// When it might go better.
    pub(super) retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShedReason {
    /// As many wait as may.
    Full,
    /// Its place went to a client that had fewer.
    Displaced,
    /// At the present pace its turn would come too late.
    TooLong,
    /// Its turn did not come in time.
    TimedOut,
}

impl ShedReason {
    /// The labels of metrics, in the order of [`Self::index`].
    pub(super) const LABELS: &'static [&'static str] =
        &["queue_full", "queue_displaced", "queue_too_long", "queue_timeout"];

    pub(super) fn index(self) -> usize {
        self as usize
    }

    pub(super) fn label(self) -> &'static str {
        Self::LABELS[self.index()]
    }
}

/// The exchanges that wait for one cluster.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// All that wait: where those who leave room look before they take the lock.
    waiting: AtomicUsize,
    clock: Clock,
}

#[derive(Default)]
struct Inner {
    line: Line<Owner>,
    /// Those in the line, and those that have been called out of it. As many as the line may
    /// have, and for a moment those called.
    waiters: HashMap<Ticket, Waiter>,
    next_ticket: Ticket,
    departures: Departures,
}

struct Waiter {
    owner: Owner,
    state: State,
    /// What it was found to wait for alone.
    bound: Option<Spot>,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    InLine,
    Called,
    Displaced,
    Served,
}

impl Queue {
    pub(super) fn new(clock: Clock) -> Self {
        Self { inner: Mutex::default(), waiting: AtomicUsize::new(0), clock }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        // With the counts of what is in flight in one order: see `made_room`.
        self.waiting.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        self.clock.now().as_nanos()
    }

    /// Takes a place for an exchange, unless that is of no use: there are `limit` places, and its
    /// turn must come within `timeout`.
    ///
    /// # Errors
    ///
    /// Why there is no place for it.
    pub(super) fn join(
        &self,
        owner: Owner,
        limit: usize,
        timeout: Option<Duration>,
    ) -> Result<Place<'_>, Shed> {
        let now = self.now_ns();
        let mut inner = self.lock();
        inner.departures.start(now);
        let ahead = inner.line.ahead_of(&owner);
        let wait = inner.departures.wait(ahead, now);
        let pause = wait.unwrap_or(PAUSE_MIN).clamp(PAUSE_MIN, PAUSE_MAX);
        let shed = |reason| Err(Shed { reason, retry_after: pause });
        // Somebody has to wait, or the pace would never be seen to change.
        if ahead > 0 && wait.zip(timeout).is_some_and(|(wait, timeout)| wait > timeout) {
            return shed(ShedReason::TooLong);
        }
        let ticket = inner.next_ticket;
        let displaced = match inner.line.join(owner, ticket, limit) {
            Joined::Waits => None,
            Joined::WaitsInsteadOf(other) => inner.turn_over(other, State::Displaced),
            Joined::Full => {
                if inner.waiters.is_empty() {
                    inner.departures.stop(now);
                }
                return shed(ShedReason::Full);
            }
        };
        inner.next_ticket += 1;
        inner
            .waiters
            .insert(ticket, Waiter { owner, state: State::InLine, bound: None, waker: None });
        self.waiting.fetch_add(1, Ordering::SeqCst);
        drop(inner);
        wake(displaced);
        Ok(Place { queue: self, ticket, pause })
    }

    /// Tells the queue that there is room for one more, and at which endpoint if it is one's. Costs a
    /// load when nobody waits.
    ///
    /// No call is lost: whoever leaves first counts down and then looks here; whoever joins first
    /// counts itself here and then looks for room.
    pub(super) fn made_room(&self, at: Option<Spot>) {
        if self.len() > 0 {
            let now = self.now_ns();
            let mut inner = self.lock();
            inner.departures.count(now);
            let called = inner.call(at);
            drop(inner);
            wake(called);
        }
    }

    /// Calls the next one: there may be room, at this endpoint if it is one's.
    pub(super) fn call(&self, at: Option<Spot>) {
        let called = self.lock().call(at);
        wake(called);
    }

    /// Calls the next one that waits for this endpoint alone: it is not to be had any more.
    pub(super) fn call_bound(&self, spot: Spot) {
        let mut inner = self.lock();
        let called =
            inner.line.call_bound(spot).and_then(|next| inner.turn_over(next, State::Called));
        drop(inner);
        wake(called);
    }

    /// Calls everybody: there may be room for many.
    pub(super) fn call_all(&self) {
        if self.len() == 0 {
            return;
        }
        let mut inner = self.lock();
        let called: Vec<Waker> =
            (0..inner.waiters.len()).filter_map(|_| inner.call(None)).collect();
        drop(inner);
        called.into_iter().for_each(Waker::wake);
    }

    /// Calls the next one that has not been called in vain: those who have cannot use the room
    /// that there is.
    pub(super) fn call_new(&self) {
        let mut inner = self.lock();
        let called = inner.line.call_new().and_then(|next| inner.turn_over(next, State::Called));
        drop(inner);
        wake(called);
    }
}

impl Inner {
    fn call(&mut self, at: Option<Spot>) -> Option<Waker> {
        let next = self.line.call(at)?;
        self.turn_over(next, State::Called)
    }

    fn turn_over(&mut self, ticket: Ticket, state: State) -> Option<Waker> {
        let waiter = self.waiters.get_mut(&ticket)?;
        waiter.state = state;
        waiter.waker.take()
    }
}

/// Never under the lock: the woken may be on this thread.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A place in the queue, given up on drop.
pub(super) struct Place<'q> {
    queue: &'q Queue,
    ticket: Ticket,
    pause: Duration,
}

impl Place<'_> {
    /// Ready when it is this one's turn to look for room.
    pub(super) fn poll_called(&self, cx: &Context<'_>) -> Poll<Result<(), Shed>> {
        let mut inner = self.queue.lock();
        let waiter = inner.waiters.get_mut(&self.ticket);
        let waiter = waiter.expect("a waiter is there as long as its place");
        match waiter.state {
            State::Called => Poll::Ready(Ok(())),
            State::Displaced => Poll::Ready(Err(self.shed(ShedReason::Displaced))),
            State::InLine | State::Served => {
                if !waiter.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    waiter.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Called in vain: back into the line, before all that have not been called. `bound`: there is
    /// no room at the endpoint that it waits for alone.
    pub(super) fn put_back(&self, bound: Option<Spot>) {
        let mut inner = self.queue.lock();
        let Inner { line, waiters, .. } = &mut *inner;
        if let Some(waiter) = waiters.get_mut(&self.ticket)
            && waiter.state == State::Called
        {
            waiter.state = State::InLine;
            waiter.bound = bound;
            line.put_back(self.ticket, bound);
        }
    }

    /// It has what it waited for.
    pub(super) fn serve(&self) {
        let mut inner = self.queue.lock();
        let Inner { line, waiters, .. } = &mut *inner;
        if let Some(waiter) = waiters.get_mut(&self.ticket) {
            if waiter.state == State::InLine {
                line.leave(&waiter.owner, self.ticket);
            }
            waiter.state = State::Served;
        }
    }

    pub(super) fn shed(&self, reason: ShedReason) -> Shed {
        Shed { reason, retry_after: self.pause }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let now = self.queue.now_ns();
        let mut inner = self.queue.lock();
        let waiter = inner.waiters.remove(&self.ticket);
        let called = match waiter {
            Some(Waiter { owner, state: State::InLine, .. }) => {
                inner.line.leave(&owner, self.ticket);
                None
            }
            // It left without using the room that it was called for.
            Some(Waiter { state: State::Called, bound, .. }) => inner.call(bound),
            _ => None,
        };
        if inner.waiters.is_empty() {
            inner.departures.stop(now);
        }
        self.queue.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(inner);
        wake(called);
    }
}
