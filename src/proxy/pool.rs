//! Connections to one endpoint, of one worker, that can be used again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::http2::Connections;
use crate::net::stream::Stream;
use crate::runtime::clock::Instant;
use crate::telemetry::UpstreamSeries;

/// Idle connections kept per endpoint and worker: as many as ten busy clients of HTTP/2 need at a
/// time. With 256, a thousand requests at a time made 0.4 connections each, and cost four times
/// as much CPU time as with none.
const IDLE_MAX: usize = 1024;

/// How long a connection may lie idle. Shorter than the keep-alive time of common servers (60 s
/// and more), so that it is mostly we who close, and a request seldom meets a closing peer.
const IDLE_TIME: Duration = Duration::from_secs(55);

/// A stack: the connection used last is used next, so that the others can age and go.
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    /// Told now and then how many lie idle, which costs the requests nothing.
    series: Arc<UpstreamSeries>,
    /// What it was told last.
    told: Cell<u64>,
    /// Those that speak HTTP/2, in use or not.
    pub(super) http2: Rc<Connections>,
}

struct Idle {
    stream: Stream,
    /// See [`Pool::take`].
    client: Option<SocketAddr>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(series: &Arc<UpstreamSeries>) -> Self {
        Self {
            idle: RefCell::default(),
            series: Arc::clone(series),
            told: Cell::new(0),
            http2: Rc::default(),
        }
    }

    /// A connection on which nothing has happened since it was put here. One on which the peer
    /// has closed or spoken is dropped: what it said would be taken for the next response.
    ///
    /// `client`: for whom, where the connection has told the endpoint so by the PROXY protocol.
    pub(super) fn take(&self, client: Option<SocketAddr>) -> Option<Stream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(index) = idle.iter().rposition(|idle| idle.client == client) {
            let Idle { stream, .. } = idle.remove(index);
            if stream.is_quiet() {
                return Some(stream);
            }
        }
        None
    }

    /// Keeps a connection whose last response has been read to its end.
    pub(super) fn put(&self, stream: Stream, client: Option<SocketAddr>, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        // Asking also starts watching for the peer's close.
        if stream.is_quiet() && idle.len() < IDLE_MAX {
            idle.push(Idle { stream, client, since: now });
        }
    }

    /// Closes what is too old and what the peer has closed.
    pub(super) fn sweep(&self, now: Instant) {
        self.http2.sweep(now);
        self.idle
            .borrow_mut()
            .retain(|idle| idle.since + IDLE_TIME > now && idle.stream.is_quiet());
        self.tell((self.idle.borrow().len() + self.http2.idle()) as u64);
    }

    pub(super) fn clear(&self) {
        self.http2.clear();
        self.idle.borrow_mut().clear();
        self.tell(0);
    }

    fn tell(&self, idle: u64) {
        let told = self.told.replace(idle);
        if told != idle {
            self.series.idle.change(told, idle);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.tell(0);
    }
}
