//! A place on an endpoint for an exchange: picked, counted, and waited for where limits say so.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};

use super::affinity::Affinity;
use super::attempt::Outgoing;
use super::availability::Asker;
use super::downstream::Downstream;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::limits::OverLimit;
use super::queue::{Owner, Place, ShedReason};
use super::view::{ClusterView, EndpointView};
use crate::policy::balance::{Balancer, Candidates};
use crate::policy::circuit::Probe;
use crate::policy::line::Spot;
use crate::runtime::clock::Instant;

/// What an exchange wants of a cluster.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) outgoing: Outgoing<'a>,
    /// Endpoints that have failed it.
    pub(super) failed: &'a [usize],
    pub(super) affinity: Affinity,
}

/// What a look for room brought.
pub(super) enum Room {
    Taken(InFlight),
    /// There are endpoints, and all have as many in flight as they may.
    Full,
    /// There are endpoints, and their limits on requests are reached.
    OverLimit(OverLimit),
    /// No endpoint is available.
    Nobody,
}

/// One attempt in flight on an endpoint, counted until this is dropped.
pub(super) struct InFlight {
    cluster: Rc<ClusterView>,
    pub(super) endpoint: usize,
    /// Whether it was more than a try. Whoever gives a try back looks once more itself, so nobody
    /// else has to be called for it.
    is_used: bool,
    /// It tries the endpoint out, until somebody takes that over.
    pub(super) probe: Option<Probe>,
}

/// One exchange in flight on a cluster that has a limit, counted until this is dropped.
pub(super) struct InCluster(Rc<ClusterView>);

/// The endpoints as a wish sees them.
struct Choice<'a> {
    cluster: &'a ClusterView,
    wish: Wish<'a>,
    now: Instant,
}

impl Choice<'_> {
    fn now_ns(&self) -> u64 {
        self.now.as_nanos()
    }

    /// Why none of these was taken; `None` if there is none.
    fn shortage(&self, endpoints: impl IntoIterator<Item = usize>) -> Option<Room> {
        let now = self.now_ns();
        let mut shortage: Option<(OverLimit, usize)> = None;
        for index in endpoints.into_iter().filter(|index| self.suits(*index)) {
            match (self.cluster.endpoints[index].check_limits(now), shortage) {
                // One that is busy will have room.
                (Ok(()), _) => return Some(Room::Full),
                (Err(over), Some((soonest, _))) if !over.is_before(&soonest) => {}
                (Err(over), _) => shortage = Some((over, index)),
            }
        }
        let (over, index) = shortage?;
        self.cluster.endpoints[index].count_rejected(now);
        Some(Room::OverLimit(over))
    }

    /// Whether the endpoint could serve it, if it had room.
    fn suits(&self, index: usize) -> bool {
        let endpoint = &self.cluster.endpoints[index];
        !self.wish.failed.contains(&index)
            && (endpoint.state.availability.is_clear() || self.is_let_in(index))
            && endpoint.state.peer().is_some()
            && self.wish.outgoing.fits(endpoint)
    }

    /// Whether an endpoint that is not for everybody is for this one.
    fn is_let_in(&self, index: usize) -> bool {
        self.cluster.admits(&self.cluster.endpoints[index], self.asker(index), self.now)
    }

    fn asker(&self, index: usize) -> Asker {
        let is_bound = self.wish.affinity.pinned() == Some(index);
        if is_bound { Asker::Bound } else { Asker::Anybody }
    }
}

impl Candidates for Choice<'_> {
    fn admits(&self, index: usize) -> bool {
        let endpoint = &self.cluster.endpoints[index];
        endpoint.has_room() && self.suits(index) && endpoint.check_limits(self.now_ns()).is_ok()
    }

    fn ramp(&self, index: usize) -> u32 {
        self.cluster.endpoints[index].state.ramp(self.now, self.cluster.slow_start_ns)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.cluster.endpoints[index].state.in_flight.load(Ordering::Relaxed)
    }

    fn latency(&self, index: usize) -> Option<f32> {
        self.cluster.endpoints[index].state.latency.read(self.now.as_nanos())
    }

    fn draw(&self) -> u64 {
        self.cluster.draw()
    }
}

impl EndpointView {
    /// What tells it apart in the cluster's queue, whatever view it is seen from.
    fn spot(&self) -> Spot {
        Arc::as_ptr(&self.state).addr()
    }

    fn has_room(&self) -> bool {
        // In one order with the count of those who wait: see `Queue::made_room`.
        self.max_in_flight.is_none_or(|max| self.state.in_flight.load(Ordering::SeqCst) < max)
    }
}

/// Counts one more, unless that would be more than `max`.
fn count_up(count: &AtomicU32, max: Option<u32>) -> bool {
    let Some(max) = max else {
        count.fetch_add(1, Ordering::SeqCst);
        return true;
    };
    let one_more = |count| (count < max).then_some(count + 1);
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok()
}

impl ClusterView {
    /// Takes room for an attempt, if there is any. `held` is the exchange's own place in a cluster
    /// with a limit: taken with its first attempt, and kept for all.
    pub(super) fn take(
        self: &Rc<Self>,
        wish: Wish<'_>,
        held: &mut Option<InCluster>,
        now: Instant,
    ) -> Room {
        let enters = held.is_none() && self.max_in_flight.is_some();
        if enters && !self.is_below_limit() {
            return Room::Full;
        }
        let mut room = self.take_endpoint(&Choice { cluster: self, wish, now });
        if enters && let Room::Taken(in_flight) = &mut room {
            if !count_up(&self.state.in_flight, self.max_in_flight) {
                in_flight.is_used = false;
                self.endpoints[in_flight.endpoint].give_back_limits();
                return Room::Full;
            }
            *held = Some(InCluster(Rc::clone(self)));
        }
        room
    }

    fn take_endpoint(self: &Rc<Self>, choice: &Choice<'_>) -> Room {
        if let Some(index) = choice.wish.affinity.pinned()
            && choice.suits(index)
        {
            // It is waited for, as if there were no other, whatever its weight.
            let taken = self.occupy(index, choice).map(Room::Taken);
            return taken.or_else(|| choice.shortage([index])).unwrap_or(Room::Full);
        }
        let balancers = [Some(&self.balancers.primary), self.balancers.backup.as_ref()];
        for balancer in balancers.into_iter().flatten() {
            if let Some(in_flight) = self.take_from(balancer, choice) {
                return Room::Taken(in_flight);
            }
            // Endpoints that are busy are there: backups stand in for those that are not.
            if let Some(shortage) = choice.shortage(balancer.endpoints()) {
                return shortage;
            }
        }
        Room::Nobody
    }

    /// Takes a place on one endpoint; `None` if it has none, or has reached a limit, or if another
    /// worker tries it out or has just found it wanting.
    fn occupy(self: &Rc<Self>, index: usize, choice: &Choice<'_>) -> Option<InFlight> {
        let endpoint = &self.endpoints[index];
        if !count_up(&endpoint.state.in_flight, endpoint.max_in_flight) {
            return None;
        }
        let cluster = Rc::clone(self);
        let mut taken = InFlight { cluster, endpoint: index, is_used: false, probe: None };
        taken.probe = self.enter(endpoint, choice.asker(index), choice.now)?;
        taken.is_used = endpoint.take_limits(choice.now_ns());
        taken.is_used.then_some(taken)
    }

    fn take_from(self: &Rc<Self>, balancer: &Balancer, choice: &Choice<'_>) -> Option<InFlight> {
        // A retry takes no turn of others: where two endpoints take turns, one that fails would
        // else be the first choice of every request.
        let is_retry = !choice.wish.failed.is_empty();
        let own_turn = AtomicU64::new(if is_retry { choice.draw() } else { 0 });
        let turn = if is_retry { &own_turn } else { &self.state.turn };
        // Another worker may take the last room between the pick and the count.
        for _ in 0..=self.endpoints.len() {
            let index = balancer.pick(choice, turn, choice.wish.affinity.hash())?;
            if let Some(taken) = self.occupy(index, choice) {
                return Some(taken);
            }
        }
        None
    }

    /// Whether an endpoint is there for it, be it busy.
    pub(super) fn is_served_for(&self, wish: Wish<'_>, now: Instant) -> bool {
        let choice = Choice { cluster: self, wish, now };
        self.all_endpoints().any(|index| choice.suits(index))
    }

    /// Whether another endpoint than `index` could take it at this moment.
    pub(super) fn has_room_beside(&self, wish: Wish<'_>, index: usize, now: Instant) -> bool {
        let choice = Choice { cluster: self, wish, now };
        self.all_endpoints().any(|other| other != index && choice.admits(other))
    }

    pub(super) fn all_endpoints(&self) -> impl Iterator<Item = usize> {
        let backup = self.balancers.backup.iter().flat_map(Balancer::endpoints);
        self.balancers.primary.endpoints().chain(backup)
    }

    fn is_below_limit(&self) -> bool {
        self.max_in_flight.is_none_or(|max| self.state.in_flight.load(Ordering::SeqCst) < max)
    }

    /// Whether somebody might find room here. Not everybody: an endpoint need not suit.
    fn has_room(&self, now: Instant) -> bool {
        let asker = if self.sticky.is_some() { Asker::Bound } else { Asker::Anybody };
        let is_there = |index: &usize| {
            let endpoint = &self.endpoints[*index];
            endpoint.state.peer().is_some() && self.admits(endpoint, asker, now)
        };
        let has_room = |balancer: &Balancer| {
            let mut there = balancer.endpoints().filter(is_there).peekable();
            there.peek()?;
            Some(there.any(|index| self.endpoints[index].has_room()))
        };
        if self.sticky.is_some() {
            // Somebody may wait for one that is drained, or for a backup.
            let mut there = (0..self.endpoints.len()).filter(is_there);
            return self.is_below_limit() && there.any(|index| self.endpoints[index].has_room());
        }
        let backup = || self.balancers.backup.as_ref().and_then(has_room);
        self.is_below_limit() && has_room(&self.balancers.primary).or_else(backup) == Some(true)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Self { cluster, endpoint, is_used, probe } = self;
        let endpoint = &cluster.endpoints[*endpoint];
        if let Some(probe) = probe.take() {
            endpoint.state.availability.abandon(probe);
        }
        endpoint.state.in_flight.fetch_sub(1, Ordering::SeqCst);
        if !cluster.is_limited || !*is_used {
            return;
        }
        match cluster.max_in_flight {
            None => cluster.state.queue.made_room(Some(endpoint.spot())),
            // The exchange goes on, and its place in the cluster with it.
            Some(_) if cluster.state.queue.len() > 0 && cluster.is_below_limit() => {
                cluster.state.queue.call(Some(endpoint.spot()));
            }
            Some(_) => {}
        }
    }
}

impl Drop for InCluster {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.0.state.queue.made_room(None);
    }
}

impl Exchange<'_> {
    /// Takes room for an attempt, and waits for it in the cluster's queue if it must.
    pub(super) async fn reserve(
        &mut self,
        cluster: &Rc<ClusterView>,
        wish: Wish<'_>,
        held: &mut Option<InCluster>,
    ) -> Result<InFlight, ExchangeError> {
        let now = self.downstream.worker.core.now();
        // Who has been let in goes before those who wait; others go behind them.
        let may_look = !cluster.is_limited || held.is_some() || cluster.state.queue.len() == 0;
        if may_look {
            match cluster.take(wish, held, now) {
                Room::Taken(in_flight) => return Ok(in_flight),
                Room::Nobody => return Err(ExchangeError::NoEndpoint),
                Room::OverLimit(over) => return Err(over.into()),
                Room::Full => {}
            }
        }
        // Rare and long: its state is not worth a place in every connection's task.
        Box::pin(self.wait_for_room(cluster, wish, held)).await
    }

    async fn wait_for_room(
        &mut self,
        cluster: &Rc<ClusterView>,
        wish: Wish<'_>,
        held: &mut Option<InCluster>,
    ) -> Result<InFlight, ExchangeError> {
        let core = Rc::clone(&self.downstream.worker.core);
        let began = core.precise_now();
        let owner = Owner::of(self.client.address.ip());
        let timeout = cluster.timeouts.queue;
        let place = cluster.state.queue.join(owner, cluster.queue, timeout);
        let place = place.map_err(ExchangeError::Shed)?;
        // Room that was made before the queue knew of this one is nobody's call.
        if cluster.has_room(began) {
            cluster.state.queue.call(None);
        }
        self.downstream.input.release_buffer();
        self.set_deadline(timeout);
        let whole = self.body.is_ended();
        let spot = wish.affinity.pinned().map(|index| cluster.endpoints[index].spot());
        let downstream = &mut *self.downstream;
        let waited = poll_fn(|cx| {
            let now = core.now();
            let take = || cluster.take(wish, held, now);
            if let Poll::Ready(found) = poll_room(cluster, &place, spot, cx, now, take) {
                return Poll::Ready(found);
            }
            if poll_left(downstream, whole, cx).is_ready() {
                return Poll::Ready(Err(ExchangeError::DownstreamGone));
            }
            let passed = downstream.link.deadline.poll_passed(cx);
            passed.map(|()| Err(ExchangeError::Shed(place.shed(ShedReason::TimedOut))))
        })
        .await;
        drop(place);
        let took = core.precise_now().nanos_since(began);
        self.record.queued_ns += took;
        cluster.series.waited.record(took);
        waited.map_err(|error| match error {
            ExchangeError::Shed(shed) if shed.reason == ShedReason::TimedOut => {
                self.timed_out(ExchangeError::Shed(shed))
            }
            error => error,
        })
    }
}

/// Looks for room when it is this place's turn.
fn poll_room(
    cluster: &ClusterView,
    place: &Place<'_>,
    pinned: Option<Spot>,
    cx: &Context<'_>,
    now: Instant,
    mut take: impl FnMut() -> Room,
) -> Poll<Result<InFlight, ExchangeError>> {
    loop {
        match place.poll_called(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(shed)) => return Poll::Ready(Err(ExchangeError::Shed(shed))),
            Poll::Pending => return Poll::Pending,
        }
        if let Some(found) = found(place, pinned, take()) {
            return Poll::Ready(found);
        }
        // A cluster that is full is full for all.
        place.put_back(pinned.filter(|_| cluster.is_below_limit()));
        // Room made before it was back in the line has called nobody.
        if let Some(found) = found(place, pinned, take()) {
            return Poll::Ready(found);
        }
        if cluster.has_room(now) {
            cluster.state.queue.call_new();
        }
    }
}

fn found(
    place: &Place<'_>,
    pinned: Option<Spot>,
    room: Room,
) -> Option<Result<InFlight, ExchangeError>> {
    match room {
        Room::Taken(in_flight) => {
            place.serve();
            let InFlight { cluster, endpoint, .. } = &in_flight;
            // Not where it was waiting for room: that endpoint is nobody's any more.
            if let Some(spot) = pinned.filter(|spot| *spot != cluster.endpoints[*endpoint].spot()) {
                cluster.state.queue.call_bound(spot);
            }
            Some(Ok(in_flight))
        }
        Room::Nobody => Some(Err(ExchangeError::NoEndpoint)),
        Room::OverLimit(over) => Some(Err(over.into())),
        Room::Full => None,
    }
}

/// Ready when the client has left. `whole`: nothing more belongs to the request. If something does,
/// it stays in the kernel until the wait is over.
fn poll_left(downstream: &mut Downstream, whole: bool, cx: &Context<'_>) -> Poll<()> {
    let Downstream { link, input, .. } = downstream;
    if !whole {
        return link.carrier.poll_ended(cx);
    }
    let gone = link.poll_gone(input, cx);
    input.release_buffer();
    gone
}
