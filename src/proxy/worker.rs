//! One worker: what its connections share, how connections come to it, and its housekeeping.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::connection::{self, Client};
use super::date::DateCache;
use super::scratch::Scratch;
use super::shared::Shared;
use super::view::{Pools, View};
use crate::net::listener::Listener;
use crate::net::socket::Socket;
use crate::runtime::core::Core;
use crate::runtime::io::Sleep;
use crate::runtime::mailbox::Mailbox;
use crate::telemetry::log_queue::LogSink;
use crate::telemetry::stamp::StampCache;
use crate::telemetry::worker::WorkerMetrics;

/// How far a worker's connections may exceed the least loaded worker's before it passes the next
/// one on: two, so that sixteen long connections on two workers end up nine to seven at worst,
/// and short ones seldom pay for a wake-up of another thread.
const IMBALANCE_MAX: usize = 2;

/// Idle memory kept for exchanges to come.
const SPARE_SCRATCH_MAX: usize = 256;

/// How often idle connections are looked over, log lines handed on, and the time of day adjusted.
const HOUSEKEEPING: Duration = Duration::from_millis(200);

/// What other threads tell a worker.
pub enum Message {
    /// Serve this connection, accepted by another worker.
    Serve(Accepted),
    /// Accept on this socket from now on.
    Listen(Arc<ListenerState>, OwnedFd),
    /// Serve what is queued on this listener, then close it.
    Unlisten(Arc<ListenerState>),
    /// A new snapshot is in force.
    Reload,
    /// Finish what is under way, and what those bring who still connect.
    Wane,
    /// The same, and take nobody new but those who have connected.
    Drain,
    /// End now.
    Stop,
}

/// A listener as all workers share it; it lives as long as its address is configured.
#[derive(Debug)]
pub struct ListenerState {
    /// Its name in the file.
    pub name: String,
    /// As configured, which may be port 0.
    pub bind: SocketAddr,
    /// Client connections of all workers.
    connections: AtomicUsize,
}

impl ListenerState {
    pub fn new(name: String, bind: SocketAddr) -> Arc<Self> {
        Arc::new(Self { name, bind, connections: AtomicUsize::new(0) })
    }

    /// Whether these settings are of this listener: the same address, or the same name where
    /// the kernel chose the port.
    pub fn is_of(&self, settings: &super::settings::Listener) -> bool {
        settings.bind == self.bind && (self.bind.port() != 0 || settings.name == self.name)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// A connection on its way to the worker that will serve it.
pub struct Accepted {
    fd: OwnedFd,
    peer: SocketAddr,
    ticket: Ticket,
}

/// Counts one connection on its listener and its worker, until it is dropped.
pub(super) struct Ticket {
    pub(super) listener: Arc<ListenerState>,
    shared: Arc<Shared>,
    worker: usize,
}

impl Ticket {
    fn issue(shared: &Arc<Shared>, listener: &Arc<ListenerState>, worker: usize) -> Self {
        listener.connections.fetch_add(1, Ordering::Relaxed);
        shared.load_of(worker).fetch_add(1, Ordering::Relaxed);
        Self { listener: Arc::clone(listener), shared: Arc::clone(shared), worker }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.listener.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.load_of(self.worker).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a worker is made from; the same again when it has to be replaced.
pub struct Parts {
    pub shared: Arc<Shared>,
    pub metrics: Arc<WorkerMetrics>,
    /// Those of all workers, in order.
    pub mailboxes: Arc<[Mailbox<Message>]>,
    pub log: LogSink,
    /// Set when another worker has taken the place of this one.
    pub replaced: Arc<AtomicBool>,
}

/// The worker, shared by the tasks of its thread.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) core: Rc<Core>,
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) dates: RefCell<DateCache>,
    pub(super) stamps: RefCell<StampCache>,
    pub(super) log: RefCell<LogSink>,
    mailboxes: Arc<[Mailbox<Message>]>,
    view: RefCell<Rc<View>>,
    pools: RefCell<Pools>,
    listeners: RefCell<Vec<(Arc<ListenerState>, Rc<Listener>)>>,
    // Boxed, because each moves out and in again as a whole.
    #[expect(clippy::vec_box, reason = "moving a box is cheaper than moving what is in it")]
    spare: RefCell<Vec<Box<Scratch>>>,
    draining: Cell<bool>,
    replaced: Arc<AtomicBool>,
    requests: Cell<u64>,
    settled: Cell<u64>,
}

/// Sets a worker up on its thread's loop.
pub fn prepare(core: &Rc<Core>, parts: Parts) {
    let Parts { shared, metrics, mailboxes, log, replaced } = parts;
    let mut pools = Pools::default();
    let view = View::new(shared.snapshot(), None, &mut pools, &metrics);
    let worker = Rc::new(Worker {
        index: metrics.index,
        core: Rc::clone(core),
        draining: Cell::new(shared.is_draining()),
        replaced,
        view: RefCell::new(Rc::new(view)),
        pools: RefCell::new(pools),
        shared,
        metrics,
        mailboxes,
        log: RefCell::new(log),
        dates: RefCell::default(),
        stamps: RefCell::default(),
        listeners: RefCell::default(),
        spare: RefCell::default(),
        requests: Cell::new(0),
        settled: Cell::new(0),
    });
    core.spawn(read_mail(Rc::clone(&worker)));
    core.spawn(keep_house(worker));
}

async fn read_mail(worker: Rc<Worker>) {
    while let Some(message) = next_message(&worker).await {
        match message {
            Message::Serve(accepted) => {
                worker.metrics.connections_received.inc();
                worker.serve(accepted);
            }
            Message::Listen(state, fd) => worker.listen(state, fd),
            Message::Unlisten(state) => worker.unlisten(&state),
            Message::Reload => drop(worker.view()),
            Message::Wane => worker.wane(),
            Message::Drain => worker.drain(),
            Message::Stop => {
                worker.draining.set(true);
                worker.log.borrow_mut().flush();
                worker.core.stop();
            }
        }
    }
}

/// `None` when another worker reads this mail now: this one was taken for dead, and was not.
async fn next_message(worker: &Rc<Worker>) -> Option<Message> {
    let mut receiving = pin!(worker.mailboxes[worker.index].receive());
    let message = poll_fn(|cx| match worker.replaced.load(Ordering::Relaxed) {
        true => Poll::Ready(None),
        false => receiving.as_mut().poll(cx).map(Some),
    })
    .await;
    if message.is_none() {
        worker.retire();
    }
    message
}

async fn keep_house(worker: Rc<Worker>) {
    loop {
        Sleep::for_time(&worker.core, HOUSEKEEPING).await;
        worker.log.borrow_mut().flush();
        worker.core.resync_clock();
        let now = worker.core.now();
        for pool in worker.pools.borrow().iter() {
            pool.sweep(now);
        }
        worker.view();
    }
}

impl Worker {
    /// The rules in force. An exchange asks once and keeps the answer.
    pub(super) fn view(&self) -> Rc<View> {
        if self.view.borrow().snapshot.version != self.shared.version() {
            let mut pools = self.pools.borrow_mut();
            let before = self.view.borrow();
            let snapshot = self.shared.snapshot();
            let view = View::new(snapshot, Some(&before), &mut pools, &self.metrics);
            drop(before);
            *self.view.borrow_mut() = Rc::new(view);
        }
        Rc::clone(&self.view.borrow())
    }

    /// Whether a listener is configured no more. Its connections end: no rule is theirs.
    pub(super) fn has_lost(&self, listener: &ListenerState) -> bool {
        self.view().listener(listener).is_none()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// A number no other request of this worker has.
    pub(super) fn next_request(&self) -> u64 {
        let number = self.requests.get();
        self.requests.set(number + 1);
        number
    }

    /// How many exchanges had been settled before this one.
    pub(super) fn next_settled(&self) -> u64 {
        let number = self.settled.get();
        self.settled.set(number + 1);
        number
    }

    pub(super) fn take_scratch(&self) -> Box<Scratch> {
        self.spare.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn return_scratch(&self, mut scratch: Box<Scratch>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_SCRATCH_MAX {
            scratch.trim();
            spare.push(scratch);
        }
    }

    fn listen(self: &Rc<Self>, state: Arc<ListenerState>, fd: OwnedFd) {
        let listener = match Listener::new(&self.core, fd) {
            Ok(listener) => Rc::new(listener),
            Err(error) => {
                tracing::error!(listener = state.name, %error, "cannot watch a listening socket");
                return;
            }
        };
        self.listeners.borrow_mut().push((Arc::clone(&state), Rc::clone(&listener)));
        self.shared.set_accepting(self.index, true);
        let worker = Rc::clone(self);
        self.core.spawn(async move {
            let accepting = listener.accept_each(
                || worker.listens_on(&state),
                |fd, peer| worker.accept(fd, peer, &state),
            );
            if let Err(error) = accepting.await {
                tracing::error!(listener = state.name, %error, "a listening socket broke");
            }
        });
    }

    fn listens_on(&self, state: &Arc<ListenerState>) -> bool {
        self.listeners.borrow().iter().any(|(listening, _)| Arc::ptr_eq(listening, state))
    }

    fn unlisten(self: &Rc<Self>, state: &Arc<ListenerState>) {
        let is_gone = |(known, _): &mut (Arc<ListenerState>, _)| Arc::ptr_eq(known, state);
        let gone: Vec<_> = self.listeners.borrow_mut().extract_if(.., is_gone).collect();
        for (state, listener) in gone {
            listener.accept_queued(|fd, peer| self.accept(fd, peer, &state));
        }
        // The accepting tasks see that they are no longer listed, and drop the sockets.
        self.core.wake_all();
    }

    fn accept(self: &Rc<Self>, fd: OwnedFd, peer: SocketAddr, listener: &Arc<ListenerState>) {
        let view = self.view();
        let limit = view.listener(listener).map(|(_, settings)| settings.limits.connections);
        if limit.is_some_and(|limit| listener.connections() >= limit) {
            self.metrics.connections_refused.inc();
            return;
        }
        self.metrics.connections_accepted.inc();
        let here = self.shared.load_of(self.index).load(Ordering::Relaxed);
        let (other, least) = self.shared.least_loaded();
        let target = if here > least + IMBALANCE_MAX - 1 { other } else { self.index };
        let ticket = Ticket::issue(&self.shared, listener, target);
        let accepted = Accepted { fd, peer, ticket };
        if target == self.index {
            return self.serve(accepted);
        }
        match self.mailboxes[target].send(Message::Serve(accepted)) {
            Ok(()) => self.metrics.connections_handed_over.inc(),
            // The other worker is behind with its mail: better uneven than late.
            Err(Message::Serve(Accepted { fd, peer, ticket })) => {
                let listener = Arc::clone(&ticket.listener);
                drop(ticket);
                let ticket = Ticket::issue(&self.shared, &listener, self.index);
                self.serve(Accepted { fd, peer, ticket });
            }
            Err(_) => {}
        }
    }

    fn serve(self: &Rc<Self>, accepted: Accepted) {
        let Accepted { fd, peer, ticket } = accepted;
        let client = Client::new(self, peer, ticket);
        match Socket::accepted(&self.core, fd) {
            Ok(socket) => self.core.spawn(connection::serve(socket, client)),
            Err(error) => tracing::warn!(%error, "cannot watch an accepted connection"),
        }
    }

    /// Leaves everything new to the worker that has taken this one's place; what is under way ends
    /// here.
    fn retire(self: &Rc<Self>) {
        self.draining.set(true);
        self.listeners.borrow_mut().clear();
        self.core.wake_all();
    }

    /// Idle connections close, busy ones after their exchange.
    fn wane(&self) {
        self.draining.set(true);
        for pool in self.pools.borrow().iter() {
            pool.clear();
        }
        self.core.wake_all();
    }

    /// Who waits in a queue is served; who comes later is left to the new process, if there is one.
    /// Main closes the sockets last.
    fn drain(self: &Rc<Self>) {
        let listeners = std::mem::take(&mut *self.listeners.borrow_mut());
        for (state, listener) in listeners {
            listener.accept_queued(|fd, peer| self.accept(fd, peer, &state));
        }
        self.shared.set_accepting(self.index, false);
        self.wane();
    }
}
