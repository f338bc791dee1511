//! What stands before the first byte of a client: the PROXY protocol header of a trusted proxy.

use std::io;
use std::time::Duration;

use super::connection::Client;
use crate::http::proxy_protocol::{self, HEADER_BYTES_MAX, Header};
use crate::http::refusal::Refusal;
use crate::net::socket::Socket;
use crate::runtime::io::Deadline;

/// Learns whose connection this is, where the listener wants to be told. `false`: nobody said so
/// properly, and the connection has to be closed.
pub(super) async fn learn_client(client: &mut Client, socket: &Socket) -> bool {
    let view = client.worker.view();
    let Some((_, listener)) = view.listener(client.listener()) else { return false };
    if !listener.proxy_protocol {
        return true;
    }
    let is_trusted = listener.trusted_proxies.iter().any(|block| block.contains(client.peer.ip()));
    let received = match is_trusted {
        // Boxed: it has a buffer, and is over before the first request.
        true => Box::pin(receive(socket, listener.timeouts.request_head)).await,
        false => Err(Refusal::ProxyUntrusted),
    };
    match received {
        Ok(Some(header)) => {
            client.take_over(header.announced);
            true
        }
        Ok(None) => false,
        Err(refusal) => {
            client.worker.metrics.refused.inc(refusal.index());
            let (peer, reason) = (client.peer, refusal.label());
            tracing::debug!(listener = listener.name, %peer, reason, "connection refused");
            false
        }
    }
}

/// Receives a header, and nothing of what stands behind it. `None`: the connection ended without
/// a byte, as those do that only try whether somebody listens.
async fn receive(socket: &Socket, time: Option<Duration>) -> Result<Option<Header>, Refusal> {
    let deadline = Deadline::new(socket.core());
    deadline.set(time);
    let mut bytes = [0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        let peeked = deadline.limit(|cx| socket.poll_peek(cx, &mut bytes[taken..])).await;
        let arrived = match peeked {
            Ok(0) if taken == 0 => return Ok(None),
            Ok(0) => return Err(Refusal::ProxyHeaderIncomplete),
            Ok(count) => taken + count,
            Err(error) => return Err(fault_of(&error)),
        };
        let header = proxy_protocol::read(&bytes[..arrived])?;
        // All that has arrived belongs to a header that is not complete, so nothing is looked at
        // twice.
        let end = header.map_or(arrived, |header| header.len);
        socket.skip_peeked(&mut bytes[taken..end]).map_err(|error| fault_of(&error))?;
        taken = end;
        if header.is_some() {
            return Ok(header);
        }
    }
}

fn fault_of(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::TimedOut => Refusal::ProxyHeaderTimeout,
        _ => Refusal::ProxyHeaderIncomplete,
    }
}
