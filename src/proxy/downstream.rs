//! A client's connection: one exchange after the other, until one side has had enough.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::carrier::Carrier;
use super::connection::Client;
use super::exchange::Exchange;
use super::http2::{self, ServerStream};
use super::input::Input;
use super::settings;
use super::worker::{ListenerState, Worker};
use crate::http::refusal::Refusal;
use crate::net::socket::Leave;
use crate::net::stream::Stream;
use crate::net::tls::Protocol;
use crate::policy::body_pace::BodyPace;
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;
use crate::runtime::io::Deadline;

/// How long a connection that is closed with unread request bytes is read on, so that the reset
/// those bytes would cause does not destroy the response on its way (RFC 9112, 9.6). With a stream
/// of HTTP/2 it is the same: curl (7.88) loses a response that a reset follows at once.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// How much is read then. Who sends more than this will see the reset.
const LINGER_BYTES: usize = 256 * 1024;

/// How long an idle connection may still bring a request once a drain has begun. One that is on
/// its way by then is answered.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// What became of waiting for a request.
enum Next {
    Request,
    /// The client has gone, or has waited for too long.
    End,
    /// This side ends the connection, and the client may just be sending.
    Leave,
}

/// A method that no client of HTTP/1 sends: how the preface of HTTP/2 begins.
const RESERVED: &[u8] = b"PRI ";

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It waits for the next request.
    Keep,
    /// It is closed; everything the client sent has been read.
    Close,
    /// It is closed, and the client may still be sending.
    Linger,
}

/// The client's side of an exchange and the time limit of what is being done on it.
pub(super) struct Link {
    pub(super) carrier: Carrier,
    pub(super) deadline: Deadline,
}

/// What an exchange receives its request from and sends its response to.
pub(super) struct Downstream {
    /// Shared with the upload of a request body, which goes on while a response comes.
    pub(super) link: Rc<Link>,
    pub(super) input: Input,
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    has_served: bool,
}

impl Downstream {
    /// A connection that speaks HTTP/1 until it shows that it does not.
    pub(super) fn new(stream: Stream, client: Rc<Client>) -> Self {
        let worker = Rc::clone(&client.worker);
        let link = Link { carrier: Carrier::Http1(stream), deadline: Deadline::new(&worker.core) };
        Self { link: Rc::new(link), input: Input::default(), worker, client, has_served: false }
    }

    /// One stream of an HTTP/2 connection, and the text of its head.
    pub(super) fn of_stream(stream: ServerStream, head: Chunk, client: Rc<Client>) -> Self {
        let worker = Rc::clone(&client.worker);
        let link = Link {
            carrier: Carrier::Http2(Box::new(stream)),
            deadline: Deadline::new(&worker.core),
        };
        let mut input = Input::default();
        input.push(head);
        Self { link: Rc::new(link), input, worker, client, has_served: false }
    }

    pub(super) fn listener(&self) -> &Arc<ListenerState> {
        self.client.listener()
    }

    pub(super) async fn serve(mut self) {
        match self.speaks_http2().await {
            Some(true) => return Box::pin(self.serve_http2()).await,
            Some(false) => {}
            None => return,
        }
        loop {
            match self.await_request().await {
                Next::Request if self.worker.has_lost(self.listener()) => break,
                Next::Request => {}
                Next::End => return,
                Next::Leave => break,
            }
            let mut scratch = self.worker.take_scratch();
            let after = Exchange::begin(&mut self, &mut scratch).run().await;
            self.worker.return_scratch(scratch);
            self.has_served = true;
            match after {
                After::Keep => {}
                After::Close => return,
                After::Linger => break,
            }
        }
        self.linger().await;
    }

    /// Whether the client speaks HTTP/2, by agreement or by how it begins. `None`: it says nothing.
    async fn speaks_http2(&mut self) -> Option<bool> {
        let Carrier::Http1(stream) = &self.link.carrier else { return Some(false) };
        if let Some(protocol) = stream.protocol() {
            return Some(protocol == Protocol::Http2);
        }
        if !self.client.may_speak_http2() {
            return Some(false);
        }
        self.link.deadline.set(self.idle_timeout());
        while self.input.bytes().len() < RESERVED.len() && RESERVED.starts_with(self.input.bytes())
        {
            match self.receive().await {
                Ok(true) => {}
                Ok(false) | Err(_) if self.input.is_empty() => return None,
                Ok(false) | Err(_) => return Some(false),
            }
        }
        Some(self.input.bytes().starts_with(RESERVED))
    }

    /// Boxed by its caller: its state is larger, and not worth a place in every connection's task.
    async fn serve_http2(self) {
        let Self { link, input, client, .. } = self;
        if let Some(Link { carrier: Carrier::Http1(stream), .. }) = Rc::into_inner(link) {
            http2::serve(stream, input, client).await;
        }
    }

    /// Waits for the first byte of a request. An idle connection holds no buffer.
    async fn await_request(&mut self) -> Next {
        if !self.input.is_empty() {
            return Next::Request;
        }
        self.link.deadline.set(self.idle_timeout());
        let link = &self.link;
        let received = link.deadline.limit(|cx| {
            let received = link.carrier.poll_recv(cx);
            // News of a drain, or of a listener's end, comes by waking every task.
            if let (Poll::Pending, Some(grace)) = (&received, self.grace()) {
                link.deadline.shorten(grace);
            }
            received
        });
        match received.await {
            Ok(Some(chunk)) => {
                self.input.push(chunk);
                Next::Request
            }
            Err(_) if self.grace().is_some() => Next::Leave,
            Ok(None) | Err(_) => Next::End,
        }
    }

    /// How long this connection may go on lying idle, if it is to be closed. One that was never
    /// used has the time that a first request has anyway.
    fn grace(&self) -> Option<Duration> {
        if !self.has_served {
            return None;
        }
        if self.worker.has_lost(self.listener()) {
            // No rule could answer what it might bring.
            return Some(Duration::ZERO);
        }
        self.worker.is_draining().then_some(IDLE_GRACE)
    }

    /// The first request of a connection must begin as soon as a head must end; later ones may
    /// take as long as a connection may lie idle.
    fn idle_timeout(&self) -> Option<Duration> {
        let view = self.worker.view();
        let (_, listener) = view.listener(self.listener())?;
        let settings::ListenerTimeouts { request_head, keep_alive, .. } = listener.timeouts;
        if self.has_served { keep_alive } else { request_head.or(keep_alive) }
    }

    /// Receives more of what the client sends, within the deadline; `false` at its end.
    pub(super) async fn receive(&mut self) -> io::Result<bool> {
        let link = &self.link;
        let received = link.deadline.limit(|cx| link.carrier.poll_recv(cx)).await?;
        Ok(received.map(|chunk| self.input.push(chunk)).is_some())
    }

    /// Ends the response's side, and forgets what the client still sends, for a while.
    pub(super) async fn linger(mut self) {
        self.input.clear();
        let Link { carrier, deadline } = &*self.link;
        carrier.finish_sending();
        deadline.set(Some(LINGER_TIME));
        let mut left = LINGER_BYTES;
        while let Ok(Some(chunk)) = deadline.limit(|cx| carrier.poll_recv(cx)).await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }
}

impl Link {
    /// Receives more of a request body, at the pace that is asked of it; `None` at the end.
    pub(super) async fn receive_body(
        &self,
        core: &Core,
        deadline: &Deadline,
        pace: &mut BodyPace,
    ) -> Result<Option<Chunk>, Refusal> {
        let began = core.now();
        deadline.set(pace.patience());
        let received = deadline.limit(|cx| self.carrier.poll_recv(cx)).await;
        let waited = Duration::from_nanos(core.now().nanos_since(began));
        match received {
            Ok(chunk) => {
                pace.enter(waited, chunk.as_ref().map_or(0, |chunk| chunk.len()));
                Ok(chunk)
            }
            Err(error) if error.kind() != io::ErrorKind::TimedOut => Err(Refusal::BodyIncomplete),
            Err(_) if pace.is_behind() => Err(Refusal::BodyTooSlow),
            Err(_) => Err(Refusal::BodyTimeout),
        }
    }

    /// Sends the client a message whose body is there as a whole; says how many bytes that were.
    pub(super) async fn send_message(&self, pieces: &[&[u8]], leave: Leave) -> io::Result<u64> {
        self.carrier.send_message(pieces, leave, &self.deadline).await
    }

    /// Sends the client an interim response.
    pub(super) async fn send_interim(&self, head: &[u8]) -> io::Result<u64> {
        self.carrier.send_interim(head, &self.deadline).await
    }

    /// Ready when the client has closed or broken the connection while it waits for a response.
    ///
    /// The receive that this leaves pending is the one that the next request needs anyway, so
    /// watching costs nothing. A pipelined request is kept in `input`; behind it nothing more is
    /// received, and the end is watched for by itself.
    pub(super) fn poll_gone(&self, input: &mut Input, cx: &Context<'_>) -> Poll<()> {
        if let Carrier::Http2(stream) = &self.carrier {
            return stream.poll_gone(cx);
        }
        if input.bytes() == b"\r\n" {
            input.clear();
        }
        while input.is_empty() {
            match self.carrier.poll_recv_later(cx) {
                // An empty line behind a body is no request (RFC 9112, 2.2), and must not hide a close.
                Poll::Ready(Ok(Some(chunk))) if chunk[..] == *b"\r\n" => {}
                Poll::Ready(Ok(Some(chunk))) => input.push(chunk),
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        self.carrier.poll_ended(cx)
    }
}

/// What came of waiting for an upstream.
pub(super) enum Waited {
    /// Bytes, or the end of the stream.
    Received(Option<Chunk>),
    Broken,
    DownstreamGone,
    TimedOut,
}

impl Downstream {
    /// The next bytes of an upstream response. `watch`: the client has sent its whole request, so
    /// an end of its stream means that it has gone.
    pub(super) async fn wait_for(
        &mut self,
        upstream: &Carrier,
        watch: bool,
        later: bool,
    ) -> Waited {
        let Self { link, input, .. } = self;
        poll_fn(|cx| {
            let received =
                if later { upstream.poll_recv_later(cx) } else { upstream.poll_recv(cx) };
            match received {
                Poll::Ready(Ok(chunk)) => return Poll::Ready(Waited::Received(chunk)),
                Poll::Ready(Err(_)) => return Poll::Ready(Waited::Broken),
                Poll::Pending => {}
            }
            if watch && link.poll_gone(input, cx).is_ready() {
                return Poll::Ready(Waited::DownstreamGone);
            }
            link.deadline.poll_passed(cx).map(|()| Waited::TimedOut)
        })
        .await
    }
}
