//! HTTP/2: peers that keep to the rules, by the `h2` crate, and frames written by hand for a
//! client that does not.

pub mod client;
pub mod frames;
pub mod origin;

use std::future::Future;
use std::sync::OnceLock;
use std::thread;

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use tokio::runtime::{Builder, Handle};

use super::PATIENCE;

/// A loop on a thread of its own, on which all connections of all tests live.
fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

/// Waits for what is expected at once.
#[track_caller]
fn wait<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = handle().block_on(async { tokio::time::timeout(PATIENCE, future).await });
    waited.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
}

/// Fields in their order.
pub type Fields = Vec<(String, String)>;

fn fields_of(map: &HeaderMap) -> Fields {
    let text =
        |value: &http::HeaderValue| value.as_bytes().iter().map(|&b| char::from(b)).collect();
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn map_of(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name: http::HeaderName = name.parse().expect("a field name");
        map.append(name, value.parse().expect("a field value"));
    }
    map
}

/// The next piece of a body, not empty; `None` at its end.
fn read_piece(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    while let Some(piece) = wait("a piece of a body", body.data()).transpose()? {
        let _ = body.flow_control().release_capacity(piece.len());
        if !piece.is_empty() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

fn read_rest(body: &mut RecvStream) -> Result<(Vec<u8>, Fields), h2::Error> {
    let mut content = Vec::new();
    while let Some(piece) = read_piece(body)? {
        content.extend_from_slice(&piece);
    }
    let trailers = wait("trailers", body.trailers())?;
    Ok((content, trailers.as_ref().map(fields_of).unwrap_or_default()))
}

/// Sends a piece as the peer takes it.
fn send_piece(
    stream: &mut h2::SendStream<Bytes>,
    piece: &[u8],
    end: bool,
) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(piece);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = wait(
            "room for a piece",
            std::future::poll_fn(|cx| match stream.capacity() {
                0 => stream.poll_capacity(cx),
                room => std::task::Poll::Ready(Some(Ok(room))),
            }),
        );
        let Some(room) = room.transpose()? else { return Err(h2::Reason::CANCEL.into()) };
        let now = rest.split_to(room.min(rest.len()));
        stream.send_data(now, end && rest.is_empty())?;
    }
    if end && piece.is_empty() {
        stream.send_data(Bytes::new(), true)?;
    }
    Ok(())
}
