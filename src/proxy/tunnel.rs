//! Bytes both ways, once both connections have been switched to another protocol.
//!
//! As with bodies, nothing is received from one side before the last piece has gone to the other,
//! and an end of one side's stream is passed on while the other direction goes on. Of WebSockets
//! the ends of frames are known, so that they can be told when this process goes away.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::carrier::Carrier;
use super::error::ExchangeError;
use super::exchange::Exchange;
use super::input::Input;
use super::record::Record;
use super::upload::PIECES_PER_TURN;
use super::worker::Worker;
use crate::http::upgrade::Protocol;
use crate::http::websocket::{Frames, GOING_AWAY, GOING_AWAY_MASKED};
use crate::runtime::buffers::{BUFFER_BYTES, Chunk};
use crate::runtime::io::{Deadline, yield_now};
use crate::telemetry::worker::{UPGRADE_OTHER, UPGRADE_WEBSOCKET, WorkerMetrics};

/// How long a WebSocket may stay open behind a Close in either direction. Both sides owe an end
/// then (RFC 6455, 7.1.1).
const CLOSE_TIME: Duration = Duration::from_secs(5);

impl Exchange<'_> {
    /// Passes bytes both ways until both streams have ended. `received` is what the upstream has
    /// sent behind its head; what the client has sent behind its own is in the input.
    pub(super) async fn tunnel(
        &mut self,
        upstream: &Carrier,
        received: Input,
        protocol: Protocol,
        idle: Option<Duration>,
    ) -> Result<(), ExchangeError> {
        let worker = Rc::clone(&self.downstream.worker);
        let link = Rc::clone(&self.downstream.link);
        let early = std::mem::take(&mut self.downstream.input);
        let _active = Active::begin(&worker.metrics, protocol);
        let tally = Tally::of(&mut self.record);
        let course =
            Course { worker: &worker, deadline: &link.deadline, idle, closed: Cell::new(0) };
        course.note_progress();
        let is_websocket = protocol == Protocol::WebSocket;
        let websocket = |close| is_websocket.then(|| WebSocket::new(close));
        let up = Direction {
            from: &link.carrier,
            to: upstream,
            input: early,
            passed: &tally.bytes_in,
            websocket: websocket(GOING_AWAY_MASKED),
        };
        let down = Direction {
            from: upstream,
            to: &link.carrier,
            input: received,
            passed: &tally.bytes_out,
            websocket: websocket(GOING_AWAY),
        };
        let ended = both(up.run(&course), down.run(&course)).await;
        drop(tally);
        match ended {
            Ok(()) => Ok(()),
            Err(Side::Client(Broken::Source)) => {
                upstream.cut(true);
                Err(ExchangeError::DownstreamGone)
            }
            Err(Side::Upstream(Broken::Source)) => {
                // So that the client is not told of an orderly end.
                self.record.ends_by_close = true;
                Err(ExchangeError::UpstreamCut)
            }
            Err(Side::Client(Broken::Idle) | Side::Upstream(Broken::Idle)) => {
                if course.is_closed() { Ok(()) } else { Err(ExchangeError::UpgradeIdle) }
            }
        }
    }
}

/// Runs both directions to their ends, or to the first that breaks.
async fn both(
    up: impl Future<Output = Result<(), Broken>>,
    down: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Side> {
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (mut up_ended, mut down_ended) = (false, false);
    poll_fn(|cx| {
        if !up_ended && let Poll::Ready(ended) = up.as_mut().poll(cx) {
            ended.map_err(Side::Client)?;
            up_ended = true;
        }
        if !down_ended && let Poll::Ready(ended) = down.as_mut().poll(cx) {
            ended.map_err(Side::Upstream)?;
            down_ended = true;
        }
        if up_ended && down_ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// Why a direction ended without an end of its stream.
enum Broken {
    /// The side that it comes from broke the connection.
    Source,
    /// Nothing has moved in either direction for too long.
    Idle,
}

/// In the direction that comes from whom.
enum Side {
    Client(Broken),
    Upstream(Broken),
}

/// What both directions know.
struct Course<'t> {
    worker: &'t Worker,
    deadline: &'t Deadline,
    idle: Option<Duration>,
    /// Directions in which a Close has been passed on or sent.
    closed: Cell<u8>,
}

impl Course<'_> {
    fn is_closed(&self) -> bool {
        self.closed.get() == 2
    }

    fn note_progress(&self) {
        if !self.is_closed() {
            self.deadline.set(self.idle);
        }
    }

    fn note_close(&self) {
        self.closed.set(self.closed.get() + 1);
        if self.is_closed() {
            self.deadline.set(Some(CLOSE_TIME));
        }
    }
}

/// One direction of a tunnel.
struct Direction<'t> {
    from: &'t Carrier,
    to: &'t Carrier,
    input: Input,
    passed: &'t Cell<u64>,
    websocket: Option<WebSocket>,
}

/// What is waited for when there is nothing to pass on.
enum News {
    /// `None` at the end of the stream.
    Received(Option<Chunk>),
    Drain,
}

impl Direction<'_> {
    async fn run(mut self, course: &Course<'_>) -> Result<(), Broken> {
        let mut pieces = 0;
        let mut full = false;
        loop {
            self.leave_if_draining(course).await?;
            if !self.input.is_empty() {
                match self.pass_on(course).await {
                    Ok(()) => {}
                    Err(error) if is_timeout(&error) => return Err(Broken::Idle),
                    // Who takes nothing more may still have said something: that ends the other
                    // direction.
                    Err(_) => return Ok(()),
                }
                continue;
            }
            if self.websocket.as_ref().is_some_and(WebSocket::has_been_answered) {
                return Ok(());
            }
            pieces += 1;
            if u32::is_multiple_of(pieces, PIECES_PER_TURN) {
                yield_now().await;
            }
            match self.receive(course, full).await {
                Ok(News::Received(Some(chunk))) => {
                    full = chunk.len() >= BUFFER_BYTES / 2;
                    self.input.push(chunk);
                }
                Ok(News::Received(None)) => {
                    self.to.finish_sending();
                    return Ok(());
                }
                Ok(News::Drain) => {}
                Err(error) if is_timeout(&error) => return Err(Broken::Idle),
                Err(_) => return Err(Broken::Source),
            }
        }
    }

    async fn receive(&self, course: &Course<'_>, full: bool) -> io::Result<News> {
        let must_leave = || course.worker.is_draining() && self.is_open();
        let received = course.deadline.limit(|cx| {
            let received =
                if full { self.from.poll_recv(cx) } else { self.from.poll_recv_later(cx) };
            match received {
                // News of a drain comes by waking every task.
                Poll::Pending if must_leave() => Poll::Ready(Ok(News::Drain)),
                received => received.map_ok(News::Received),
            }
        });
        received.await
    }

    /// Passes on what is at hand.
    async fn pass_on(&mut self, course: &Course<'_>) -> io::Result<()> {
        let bytes = self.input.bytes();
        let (taken, passed) = match &mut self.websocket {
            Some(websocket) => websocket.follow(bytes, course),
            None => (bytes.len(), bytes.len()),
        };
        if passed > 0 {
            self.to.send_tunnelled(&bytes[..passed], course.deadline).await?;
            self.passed.set(self.passed.get() + passed as u64);
            course.note_progress();
        }
        self.input.consume(taken);
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.websocket.as_ref().is_some_and(|websocket| websocket.state == State::Open)
    }

    /// When this process is to end: says so behind the frame that is under way.
    async fn leave_if_draining(&mut self, course: &Course<'_>) -> Result<(), Broken> {
        let Some(websocket) = &mut self.websocket else { return Ok(()) };
        if websocket.state == State::Open && course.worker.is_draining() {
            websocket.state = State::Leaving;
        }
        if websocket.state == State::Leaving && websocket.frames.is_at_border() {
            websocket.state = State::Left;
            course.note_close();
            let sent = self.to.send_tunnelled(websocket.going_away, course.deadline).await;
            self.passed.set(self.passed.get() + websocket.going_away.len() as u64);
            return match sent {
                Err(error) if is_timeout(&error) => Err(Broken::Idle),
                // The other direction will hear of it.
                _ => Ok(()),
            };
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// One direction of a WebSocket.
struct WebSocket {
    frames: Frames,
    state: State,
    /// The Close that this direction's receiver is sent.
    going_away: &'static [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Our Close follows the frame that is under way.
    Leaving,
    /// Our Close has been sent. What still comes is dropped, up to the sender's own.
    Left,
    /// The sender has closed by itself.
    Closed,
}

impl WebSocket {
    fn new(going_away: &'static [u8]) -> Self {
        Self { frames: Frames::default(), state: State::Open, going_away }
    }

    /// How many of these bytes are used up, and how many of those are passed on.
    fn follow(&mut self, bytes: &[u8], course: &Course<'_>) -> (usize, usize) {
        let count = match self.state {
            State::Closed => return (bytes.len(), bytes.len()),
            State::Leaving => self.frames.pass_to_border(bytes),
            State::Open | State::Left => {
                self.frames.pass(bytes);
                bytes.len()
            }
        };
        if self.state == State::Left {
            return (count, 0);
        }
        if self.frames.has_closed() {
            self.state = State::Closed;
            course.note_close();
        }
        (count, count)
    }

    /// Whether the sender has closed, and nothing more of it is of use.
    fn has_been_answered(&self) -> bool {
        self.state == State::Left && self.frames.has_closed()
    }
}

/// Counts a tunnel until it is dropped.
struct Active<'w>(&'w WorkerMetrics);

impl<'w> Active<'w> {
    fn begin(metrics: &'w WorkerMetrics, protocol: Protocol) -> Self {
        metrics.upgrades.inc(match protocol {
            Protocol::WebSocket => UPGRADE_WEBSOCKET,
            Protocol::Other => UPGRADE_OTHER,
        });
        Self(metrics)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.upgrades_ended.inc();
    }
}

/// Adds what has gone through to the record, however the tunnel ends.
struct Tally<'r> {
    record: &'r mut Record,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
}

impl<'r> Tally<'r> {
    fn of(record: &'r mut Record) -> Self {
        Self { record, bytes_in: Cell::new(0), bytes_out: Cell::new(0) }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.record.bytes_in += self.bytes_in.get();
        self.record.bytes_out += self.bytes_out.get();
    }
}
