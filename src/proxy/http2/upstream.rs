//! Connections to one endpoint that speaks HTTP/2, shared by the exchanges of one worker.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use http::uri::Scheme;

use super::content::broken;
use super::io::Io;
use super::{FRAMES_OF_STREAM_BYTES, SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES};
use crate::net::stream::Stream;
use crate::net::tls::Protocol;
use crate::proxy::input::Input;
use crate::runtime::clock::Instant;
use crate::runtime::core::Core;
use crate::runtime::io::Deadline;

/// Requests under way on one connection, if the server allows as many: more would all wait behind
/// one lost packet.
const STREAMS_MAX: usize = 100;

/// All streams may be full: clients that take nothing must not hold up those of others, with whom
/// they share the connection.
const WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;

/// As many streams may be full of small frames: an endpoint is trusted more than a client.
const STREAMS_OF_SMALL_FRAMES: usize = 16;

/// Connections to one endpoint of one worker.
const CONNECTIONS_MAX: usize = 64;

/// How long a connection may lie idle, as in HTTP/1.
const IDLE_TIME: Duration = Duration::from_secs(55);

/// After this much silence a connection is asked for a sign of life with its next request: what
/// stands between may have forgotten it, and nobody would say so.
const DOUBT_AFTER: Duration = Duration::from_secs(10);

/// How long that sign may take. A round trip around the earth is 0.3 s.
const PONG_TIME: Duration = Duration::from_secs(5);

/// A response head may be as large as one of HTTP/1.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// The connections to one endpoint.
#[derive(Default)]
pub(in crate::proxy) struct Connections {
    open: RefCell<Vec<Rc<Shared>>>,
    /// Somebody is connecting.
    connecting: Cell<bool>,
    /// Exchanges that wait for that.
    waiting: RefCell<Vec<Waker>>,
}

/// What is known of one connection.
struct Shared {
    sender: RefCell<SendRequest<Bytes>>,
    scheme: Scheme,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
    core: Rc<Core>,
    /// Whether a sign of life is wanted, and whom to tell.
    is_doubted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

/// A place for one request on a connection, until it is dropped.
pub(in crate::proxy) struct Place {
    shared: Rc<Shared>,
}

/// What an exchange that needs a place gets.
pub(in crate::proxy) enum Found {
    Place(Place),
    /// There is none: the exchange has to connect, and to hand the stream to
    /// [`Connecting::add`].
    Connect(Connecting),
}

/// Keeps others from connecting at the same time, until it is dropped.
pub(in crate::proxy) struct Connecting(Rc<Connections>);

impl Connections {
    /// Waits for a connection that somebody else opens, if there is one under way: a burst of
    /// requests needs one, not one each.
    pub(in crate::proxy) fn poll_find(
        self: &Rc<Self>,
        now: Instant,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Found>> {
        if let Some(place) = self.take(now) {
            return Poll::Ready(Ok(Found::Place(place)));
        }
        if self.open.borrow().len() >= CONNECTIONS_MAX {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        if self.connecting.replace(true) {
            self.wait(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(Found::Connect(Connecting(Rc::clone(self)))))
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// A place on the first connection that has one, so that the others can age and go.
    fn take(&self, now: Instant) -> Option<Place> {
        self.open.borrow_mut().retain(|shared| shared.is_usable());
        let open = self.open.borrow();
        let shared = open.iter().find(|shared| shared.has_room())?;
        shared.doubt(now);
        Some(Place::on(shared))
    }

    /// Lets connections go that are idle for long. They close when their requests have ended.
    pub(in crate::proxy) fn sweep(&self, now: Instant) {
        self.open.borrow_mut().retain(|shared| {
            let is_fresh = shared.streams.get() > 0 || shared.idle_since.get() + IDLE_TIME > now;
            is_fresh && shared.is_usable()
        });
    }

    /// Connections without a request.
    pub(in crate::proxy) fn idle(&self) -> usize {
        self.open.borrow().iter().filter(|shared| shared.streams.get() == 0).count()
    }

    pub(in crate::proxy) fn clear(&self) {
        self.open.borrow_mut().clear();
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        for waker in self.0.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

impl Connecting {
    /// Makes a connection of a stream, and takes the first place on it.
    pub(in crate::proxy) async fn add(
        &self,
        stream: Stream,
        deadline: &Deadline,
    ) -> io::Result<Place> {
        let core = Rc::clone(stream.core());
        let scheme = match stream.protocol() {
            None => Scheme::HTTP,
            Some(Protocol::Http2) => Scheme::HTTPS,
            // It would take what follows for a request of HTTP/1.
            Some(Protocol::Http1) => return Err(io::ErrorKind::Unsupported.into()),
        };
        let io = Io::new(stream, Input::default(), None);
        let mut handshake = Box::pin(builder().handshake(io));
        let (sender, connection) = deadline
            .limit(|cx| handshake.as_mut().poll(cx).map(|made| made.map_err(broken)))
            .await?;
        let shared = Rc::new(Shared {
            sender: RefCell::new(sender),
            scheme,
            streams: Cell::new(0),
            idle_since: Cell::new(core.now()),
            core: Rc::clone(&core),
            is_doubted: Cell::new(false),
            driver: RefCell::new(None),
        });
        core.spawn(drive(connection, Rc::downgrade(&shared), Deadline::new(&core)));
        let place = Place::on(&shared);
        self.0.open.borrow_mut().push(shared);
        Ok(place)
    }
}

impl Shared {
    /// Whether it takes requests at all: the server may have sent GOAWAY.
    fn is_usable(&self) -> bool {
        let ready = self.sender.borrow_mut().poll_ready(&mut Context::from_waker(Waker::noop()));
        !matches!(ready, Poll::Ready(Err(_)))
    }

    fn has_room(&self) -> bool {
        let allowed = self.sender.borrow().current_max_send_streams();
        // A server that allows none at the moment will say when it does.
        self.streams.get() < allowed.clamp(1, STREAMS_MAX)
    }

    fn doubt(&self, now: Instant) {
        if self.streams.get() == 0 && self.idle_since.get() + DOUBT_AFTER <= now {
            self.is_doubted.set(true);
            if let Some(driver) = &*self.driver.borrow() {
                driver.wake_by_ref();
            }
        }
    }
}

impl Place {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self { shared: Rc::clone(shared) }
    }

    /// Who opens the stream.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.shared.sender.borrow().clone()
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.shared.scheme.clone()
    }

    pub(super) fn core(&self) -> &Rc<Core> {
        &self.shared.core
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Shared { streams, idle_since, core, .. } = &*self.shared;
        streams.set(streams.get() - 1);
        idle_since.set(core.now());
    }
}

fn builder() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .data_frame_budget(STREAMS_OF_SMALL_FRAMES * FRAMES_OF_STREAM_BYTES);
    builder
}

/// Moves a connection's bytes until nobody needs it, or it breaks.
async fn drive(
    mut connection: Connection<Io, Bytes>,
    shared: std::rc::Weak<Shared>,
    deadline: Deadline,
) {
    let Some(mut pings) = connection.ping_pong() else { return };
    let mut is_asked = false;
    poll_fn(|cx| {
        if let Some(shared) = shared.upgrade() {
            *shared.driver.borrow_mut() = Some(cx.waker().clone());
            if shared.is_doubted.take() && !is_asked && pings.send_ping(Ping::opaque()).is_ok() {
                is_asked = true;
                deadline.set(Some(PONG_TIME));
            }
        }
        let is_over = Pin::new(&mut connection).poll(cx).is_ready();
        if is_over || is_asked && is_lost(&mut pings, &mut is_asked, &deadline, cx) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// Whether the sign of life does not come.
fn is_lost(
    pings: &mut PingPong,
    is_asked: &mut bool,
    deadline: &Deadline,
    cx: &mut Context<'_>,
) -> bool {
    match pings.poll_pong(cx) {
        Poll::Ready(Ok(_)) => {
            *is_asked = false;
            deadline.set(None);
            false
        }
        Poll::Ready(Err(_)) => true,
        Poll::Pending => deadline.poll_passed(cx).is_ready(),
    }
}
