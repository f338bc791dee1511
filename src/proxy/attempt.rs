//! One try of an exchange on one endpoint.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::call::Call;
use super::carrier::Carrier;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::framed::Framed;
use super::http2::{ClientStream, Connecting, Found, Place};
use super::settings::{ClusterTimeouts, Route};
use super::upload::upstream_send_error;
use super::view::{ClusterView, EndpointView};
use crate::ai::service::Service;
use crate::http::proxy_protocol::{Ends, Version};
use crate::http::refusal::Refusal;
use crate::net::socket::{Leave, Peer, Socket};
use crate::net::stream::Stream;
use crate::net::tls::{self, HandshakeFault};
use crate::runtime::io::Deadline;

/// What a failure counts as where the time to first byte is balanced by: an endpoint that fails
/// fast is not a fast one.
const FAILED_LATENCY_NS: u64 = 1_000_000_000;

/// What is sent to the endpoint.
#[derive(Clone, Copy)]
pub(super) enum Outgoing<'a> {
    /// The request as it came, by the rules of its route. Its body streams.
    Request(&'a Route),
    /// The same, asking for a WebSocket.
    WebSocket(&'a Route),
    /// An AI call, whose body is held.
    Call(&'a Call),
}

impl Outgoing<'_> {
    /// What is asked of a model, if one is asked.
    pub(super) fn service(self) -> Option<Service> {
        match self {
            Self::Request(_) | Self::WebSocket(_) => None,
            Self::Call(call) => Some(call.service),
        }
    }

    /// Whether the endpoint understands it.
    pub(super) fn fits(self, endpoint: &EndpointView) -> bool {
        match self {
            Self::Request(_) => true,
            Self::WebSocket(_) => !endpoint.http2,
            Self::Call(call) => call.fits(endpoint),
        }
    }
}

impl Exchange<'_> {
    /// `fresh`: an idle connection has failed already, so the others may be as dead.
    pub(super) async fn attempt(
        &mut self,
        cluster: &ClusterView,
        index: usize,
        outgoing: Outgoing<'_>,
        fresh: bool,
    ) -> Result<(), ExchangeError> {
        let endpoint = &cluster.endpoints[index];
        endpoint.series.requests.inc();
        self.record.endpoint = Some(index);
        self.record.attempts += 1;
        self.record.first_byte_ns = None;
        let outcome = self.try_on(cluster, endpoint, outgoing, fresh).await;
        let failed = match &outcome {
            Ok(()) => false,
            Err(error) => self.note_failure(endpoint, error),
        };
        if cluster.passive.is_some() {
            self.judge(cluster, endpoint, &outcome);
        }
        if cluster.observes_latency {
            self.observe_latency(endpoint, failed);
        }
        outcome
    }

    /// Whether the endpoint is to blame; if so, that is counted and remembered.
    fn note_failure(&self, endpoint: &EndpointView, error: &ExchangeError) -> bool {
        let Some(failure) = error.endpoint_failure() else { return false };
        endpoint.series.failures.inc(failure.index());
        let core = &self.downstream.worker.core;
        let status = match error {
            ExchangeError::RetriedStatus(status) => Some(*status),
            _ => None,
        };
        endpoint.state.failure_log.note(error.reason(), status, core.unix_nanos(core.now()));
        true
    }

    fn observe_latency(&self, endpoint: &EndpointView, failed: bool) {
        let took = match failed {
            true => self.record.first_byte_ns.unwrap_or(0).max(FAILED_LATENCY_NS),
            false => match self.record.first_byte_ns {
                Some(took) => took,
                // The client left first: nothing is known.
                None => return,
            },
        };
        let now = self.downstream.worker.core.now();
        endpoint.state.latency.observe(took, now.as_nanos());
    }

    async fn try_on(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
        outgoing: Outgoing<'_>,
        fresh: bool,
    ) -> Result<(), ExchangeError> {
        let timeouts = &cluster.timeouts;
        let core = Rc::clone(&self.downstream.worker.core);
        // What the endpoint has been told of a connection holds for this client only.
        let client = cluster.proxy_protocol.map(|_| self.client.address);
        let upstream = match endpoint.http2 {
            false => Carrier::Http1(self.reach(cluster, endpoint, client, fresh).await?),
            true => self.reach_http2(cluster, endpoint).await?,
        };
        let connected = if self.record.reused { core.now() } else { core.precise_now() };
        match outgoing {
            Outgoing::Request(route) | Outgoing::WebSocket(route) => {
                self.write_cluster_request(route);
                self.send_request(&upstream, timeouts).await?;
            }
            Outgoing::Call(call) => match self.send_call(call, endpoint, &upstream, timeouts).await
            {
                // It may have answered before it closed, as when it refuses a large body.
                Ok(()) | Err(ExchangeError::UpstreamClosed) => {}
                Err(error) => return Err(error),
            },
        }
        self.record.overhead_ns += core.precise_now().nanos_since(connected);
        let relayed = self.relay(&upstream, timeouts).await?;
        if let Carrier::Http1(stream) = upstream
            && relayed.reusable
        {
            endpoint.pool.put(stream, client, core.now());
        }
        Ok(())
    }

    /// An idle connection, or a new one.
    async fn reach(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
        client: Option<SocketAddr>,
        fresh: bool,
    ) -> Result<Stream, ExchangeError> {
        let idle = if fresh { None } else { endpoint.pool.take(client) };
        self.record.reused = idle.is_some();
        match idle {
            Some(stream) => {
                self.downstream.worker.metrics.upstream_reused.inc();
                Ok(stream)
            }
            None => self.connect(cluster, endpoint).await,
        }
    }

    /// A place on a connection that there is, or on a new one.
    async fn reach_http2(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
    ) -> Result<Carrier, ExchangeError> {
        let worker = Rc::clone(&self.downstream.worker);
        let now = worker.core.now();
        self.set_deadline(cluster.timeouts.connect);
        let link = Rc::clone(&self.downstream.link);
        let finding = link.deadline.limit(|cx| endpoint.pool.http2.poll_find(now, cx));
        let found = finding.await.map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => self.timed_out(ExchangeError::ConnectTimeout),
            _ => ExchangeError::Exhausted,
        })?;
        self.record.reused = matches!(found, Found::Place(_));
        let place = match found {
            Found::Place(place) => {
                worker.metrics.upstream_reused.inc();
                place
            }
            // Once for many requests: not worth a place in every connection's task.
            Found::Connect(connecting) => {
                Box::pin(self.connect_http2(cluster, endpoint, &connecting)).await?
            }
        };
        Ok(Carrier::Http2Upstream(Box::new(ClientStream::new(place))))
    }

    async fn connect_http2(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
        connecting: &Connecting,
    ) -> Result<Place, ExchangeError> {
        let stream = self.connect(cluster, endpoint).await?;
        self.downstream.worker.metrics.http2_upstream_connections.inc();
        let link = Rc::clone(&self.downstream.link);
        let added = connecting.add(stream, &link.deadline).await;
        added.map_err(|_| self.timed_out(ExchangeError::ConnectFailed))
    }

    async fn connect(
        &mut self,
        cluster: &ClusterView,
        endpoint: &EndpointView,
    ) -> Result<Stream, ExchangeError> {
        let worker = Rc::clone(&self.downstream.worker);
        let peer = endpoint.state.peer().ok_or(ExchangeError::NoEndpoint)?;
        let began = worker.core.now();
        self.set_deadline(cluster.timeouts.connect);
        worker.metrics.upstream_connects.inc();
        let connected = self.open(endpoint, peer, cluster.proxy_protocol).await;
        let took = worker.core.precise_now().nanos_since(began);
        match connected {
            Ok(stream) => {
                self.record.connect_ns = Some(took);
                endpoint.series.connect.record(took);
                Ok(stream)
            }
            Err(error) => {
                worker.metrics.upstream_connect_failures.inc();
                Err(match error.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS) => {
                        ExchangeError::Exhausted
                    }
                    _ if error.kind() == io::ErrorKind::TimedOut => {
                        self.timed_out(ExchangeError::ConnectTimeout)
                    }
                    _ => ExchangeError::ConnectFailed,
                })
            }
        }
    }

    /// Connects within the deadline, says whose connection it is if the endpoint wants to know,
    /// and makes it private if the endpoint wants that.
    async fn open(
        &self,
        endpoint: &EndpointView,
        peer: &Peer,
        announce: Option<Version>,
    ) -> io::Result<Stream> {
        let deadline = &self.downstream.link.deadline;
        let socket = Socket::connect(&self.downstream.worker.core, peer, deadline).await?;
        if let Some(version) = announce {
            let source = self.client.address;
            let destination = self.downstream.client.destination();
            let mut header = Vec::new();
            version.write(&Ends { source, destination }, &mut header);
            socket.send_bytes(&header, deadline).await?;
        }
        make_private(socket, endpoint, deadline).await
    }

    /// Sends the head in `scratch.out`, and behind it what is at hand of the body.
    async fn send_request(
        &mut self,
        upstream: &Carrier,
        timeouts: &ClusterTimeouts,
    ) -> Result<(), ExchangeError> {
        self.set_deadline(timeouts.idle);
        let encoder = self.request_encoder();
        let Self { downstream, scratch, body, record, .. } = self;
        let input = downstream.input.bytes();
        scratch.content.clear();
        let decoded = body.decode(input, 0, &mut scratch.content)?;
        let length: usize = scratch.content.iter().map(|span| span.len()).sum();
        let left = self.body_allowance.checked_sub(length as u64);
        let Some(left) = left else {
            // The decoder has counted what still lies in the input: no next request begins there.
            self.lose_place();
            return Err(Refusal::BodyTooLarge.into());
        };
        self.body_allowance = left;
        let framed = Framed {
            out: &mut scratch.out,
            bytes: input,
            content: &scratch.content,
            encoder,
            ended: decoded.ended,
            trailers: body.trailers(),
            leave: Leave::WithTurn,
        };
        let sent = upstream.send(framed, &downstream.link.deadline).await;
        record.bytes_in += decoded.consumed as u64;
        downstream.input.consume(decoded.consumed);
        sent.map(drop).map_err(|error| match upstream.is_unprocessed() {
            true => ExchangeError::UpstreamRefused,
            false => upstream_send_error(&error),
        })
    }
}

/// Makes a new connection private where the endpoint wants that, within the deadline.
async fn make_private(
    socket: Socket,
    endpoint: &EndpointView,
    deadline: &Deadline,
) -> io::Result<Stream> {
    let Some((client, settings)) = &endpoint.tls else { return Ok(Stream::Plain(socket)) };
    let now = socket.core().now();
    // Its state is not worth a place in every connection's task.
    match Box::pin(tls::connect(socket, client, &settings.server_name, deadline)).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(failure) => {
            endpoint.complain(now, &failure);
            let is_late = failure.fault == HandshakeFault::TimedOut;
            let kind =
                if is_late { io::ErrorKind::TimedOut } else { io::ErrorKind::ConnectionAborted };
            Err(kind.into())
        }
    }
}
