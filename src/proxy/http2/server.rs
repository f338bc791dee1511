//! A client's connection: accepts requests, and ends when it should.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use http::header::CONTENT_LENGTH;

use super::io::Io;
use super::meter::Meter;
use super::server_stream::ServerStream;
use super::{FRAMES_OF_STREAM_BYTES, SEND_BUFFER_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX, content};
use crate::http::h2::{write_request, write_websocket_request};
use crate::http::refusal::Refusal;
use crate::net::stream::Stream;
use crate::proxy::carrier::Carrier;
use crate::proxy::connection::Client;
use crate::proxy::downstream::{After, Downstream};
use crate::proxy::exchange::Exchange;
use crate::proxy::input::Input;
use crate::proxy::settings::{Listener, ListenerLimits};
use crate::proxy::worker::Worker;
use crate::runtime::clock::Instant;
use crate::runtime::io::{Deadline, yield_now};

/// How long a client may take to go, once it has been told to and nothing of its is under way.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a client may send before any of it has been passed on.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// What a field takes in a header list besides its name and value (RFC 9113, 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// Serves a connection whose first bytes, if any, are in `input`.
pub(in crate::proxy) async fn serve(stream: Stream, input: Input, client: Rc<Client>) {
    let worker = Rc::clone(&client.worker);
    let view = worker.view();
    let Some((_, listener)) = view.listener(client.listener()) else { return };
    worker.metrics.http2_connections.inc();
    let meter = Rc::new(RefCell::new(Meter::new(worker.core.now())));
    let deadline = Deadline::new(&worker.core);
    deadline.set(listener.timeouts.request_head);
    let io = Io::new(stream, input, Some(Rc::clone(&meter)));
    let connection = {
        let mut handshake = pin!(builder(&listener.limits).handshake(io));
        deadline.limit(|cx| handshake.as_mut().poll(cx).map_err(content::broken)).await
    };
    drop(view);
    if let Ok(connection) = connection {
        let shared = Rc::new(Shared::new(meter, worker.core.now()));
        let server = Server { connection, client, worker, shared, deadline, farewell: None };
        server.run().await;
    }
}

/// The defaults of the crate have no limit for streams, and 16 MiB for a head.
fn builder(limits: &ListenerLimits) -> h2::server::Builder {
    let head = limits.head + limits.headers * FIELD_OVERHEAD_BYTES;
    let mut builder = h2::server::Builder::new();
    builder
        .enable_connect_protocol()
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .data_frame_budget(FRAMES_OF_STREAM_BYTES);
    builder
}

/// What a connection and the exchanges on it tell each other.
struct Shared {
    meter: Rc<RefCell<Meter>>,
    /// Exchanges under way.
    open: Cell<u32>,
    /// When there were none, last.
    idle_since: Cell<Instant>,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    fn new(meter: Rc<RefCell<Meter>>, now: Instant) -> Self {
        Self { meter, open: Cell::new(0), idle_since: Cell::new(now), waker: RefCell::new(None) }
    }
}

/// One exchange under way.
struct Open {
    shared: Rc<Shared>,
    worker: Rc<Worker>,
}

impl Open {
    fn new(shared: &Rc<Shared>, worker: &Rc<Worker>) -> Self {
        shared.open.set(shared.open.get() + 1);
        Self { shared: Rc::clone(shared), worker: Rc::clone(worker) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Shared { open, idle_since, waker, .. } = &*self.shared;
        open.set(open.get() - 1);
        if open.get() == 0 {
            idle_since.set(self.worker.core.now());
            if let Some(waker) = &*waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }
}

type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

struct Server {
    connection: Connection<Io, Bytes>,
    client: Rc<Client>,
    worker: Rc<Worker>,
    shared: Rc<Shared>,
    deadline: Deadline,
    /// When the client was told to go.
    farewell: Option<Instant>,
}

impl Server {
    async fn run(mut self) {
        while let Some(accepted) = poll_fn(|cx| self.poll_accept(cx)).await {
            self.worker.metrics.http2_requests.inc();
            let open = Open::new(&self.shared, &self.worker);
            self.worker.core.spawn(carry_out(accepted, Rc::clone(&self.client), open));
        }
    }

    /// The next request; `None` when there will be none, or when time is up.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        *self.shared.waker.borrow_mut() = Some(cx.waker().clone());
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => return Poll::Ready(Some(accepted)),
                Poll::Ready(Some(Err(error))) => {
                    // The crate has said GOAWAY, and would go on reporting the same for ever.
                    self.count(&error);
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending if self.says_farewell() => {}
                Poll::Pending => return self.poll_deadline(cx),
            }
        }
    }

    fn count(&self, error: &h2::Error) {
        let refusal = match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => Refusal::Http2Flood,
            _ => Refusal::Http2Broken,
        };
        if error.is_library() {
            self.worker.metrics.refused.inc(refusal.index());
        }
    }

    /// Tells the client to go, if there is a new reason to.
    fn says_farewell(&mut self) -> bool {
        let now = self.worker.core.now();
        let excess = self.shared.meter.borrow_mut().take_excess();
        if let Some(refusal) = excess {
            self.worker.metrics.refused.inc(refusal.index());
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.farewell = Some(now);
            return true;
        }
        let is_over = self.worker.is_draining() || self.worker.has_lost(self.client.listener());
        if self.farewell.is_none() && is_over {
            self.connection.graceful_shutdown();
            self.farewell = Some(now);
            return true;
        }
        false
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        self.deadline.set_at(self.due());
        if self.deadline.poll_passed(cx).is_pending() {
            return Poll::Pending;
        }
        if self.shared.meter.borrow().head_since().is_some() {
            self.worker.metrics.refused.inc(Refusal::HeadTimeout.index());
            return Poll::Ready(None);
        }
        if self.farewell.is_some() {
            return Poll::Ready(None);
        }
        self.connection.graceful_shutdown();
        self.farewell = Some(self.worker.core.now());
        self.poll_accept(cx)
    }

    /// When this connection has waited long enough for what it waits for.
    fn due(&self) -> Option<Instant> {
        let view = self.worker.view();
        let listener = view.listener(self.client.listener()).map(|(_, listener)| listener);
        let timeouts = listener.map(|listener: &Listener| &listener.timeouts);
        let head = self.shared.meter.borrow().head_since().and_then(|since| {
            let timeout = timeouts.and_then(|timeouts| timeouts.request_head);
            timeout.map(|timeout| since + timeout)
        });
        let is_idle = self.shared.open.get() == 0;
        let idle = match self.farewell {
            _ if !is_idle => None,
            Some(since) => Some(since.max(self.shared.idle_since.get()) + FAREWELL),
            None => timeouts
                .and_then(|timeouts| timeouts.keep_alive)
                .map(|timeout| self.shared.idle_since.get() + timeout),
        };
        [head, idle].into_iter().flatten().min()
    }
}

/// Whether a request says that its content is empty.
fn states_nothing(request: &Request<()>) -> bool {
    request.headers().get(CONTENT_LENGTH).is_some_and(|length| length == "0")
}

/// Waits until a stream that states no content has ended: a frame that contradicts this would
/// come too late once the request has gone on as a whole one.
async fn await_end(downstream: &Downstream) -> Result<(), Refusal> {
    let view = downstream.worker.view();
    let timeouts = view.listener(downstream.listener()).map(|(_, listener)| &listener.timeouts);
    let deadline = &downstream.link.deadline;
    deadline.set(timeouts.and_then(|timeouts| timeouts.request_body));
    // Where there is content after all, the crate finds the stream broken.
    match deadline.limit(|cx| downstream.link.carrier.poll_recv(cx)).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Refusal::BodyTimeout),
        Err(_) => Err(Refusal::BodyIncomplete),
    }
}

/// What a WebSocket's answer is checked by; it only has to differ from others.
fn random_key() -> [u8; 16] {
    let half = || RandomState::new().build_hasher().finish();
    let mut key = [0; 16];
    key[..8].copy_from_slice(&half().to_le_bytes());
    key[8..].copy_from_slice(&half().to_le_bytes());
    key
}

/// One request, from its head to the end of its response.
async fn carry_out((request, answer): Accepted, client: Rc<Client>, open: Open) {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let worker = Rc::clone(&client.worker);
    let stream = ServerStream::new(&worker.core, body, answer);
    let mut text = Vec::new();
    let understood = match request.extensions().get::<Protocol>() {
        None => write_request(&request, !stream.is_ended(), &mut text),
        Some(protocol) => {
            stream.expect_switch();
            write_websocket_request(&request, protocol.as_ref(), random_key(), &mut text)
        }
    };
    let states_nothing = !stream.is_ended() && states_nothing(&request);
    drop(request);
    let head = worker.core.foreign_chunk(text.into());
    let mut downstream = Downstream::of_stream(stream, head, client);
    let understood = match understood {
        Ok(()) if states_nothing => Box::pin(await_end(&downstream)).await,
        understood => understood,
    };
    let mut scratch = worker.take_scratch();
    let exchange = Exchange::begin(&mut downstream, &mut scratch);
    let after = match understood {
        Ok(()) => exchange.run().await,
        Err(refusal) => exchange.refuse(refusal).await,
    };
    worker.return_scratch(scratch);
    match downstream.link.carrier.is_answered() {
        true => open.shared.meter.borrow_mut().finished(),
        false => worker.metrics.http2_unfinished.inc(),
    }
    if let Carrier::Http2(stream) = &downstream.link.carrier
        && stream.is_cut()
    {
        // What has been sent leaves with the connection's next turn; a reset would overtake it.
        yield_now().await;
        stream.reset();
    }
    if after == After::Linger {
        downstream.linger().await;
    }
}
