//! HTTP/2 (RFC 9113): the connections, and their streams as carriers of exchanges.
//!
//! The `h2` crate does framing, header compression and flow control. Here is what it leaves to its
//! user: time limits, what a client may cost, the way to an exchange and back. A connection's task
//! does nothing but accept and drive; each stream has a task of its own with an ordinary exchange
//! in it.

mod client_stream;
mod content;
mod io;
mod meter;
mod server;
mod server_stream;
mod upstream;

pub(super) use client_stream::ClientStream;
pub(super) use content::Part;
pub(super) use server::serve;
pub(super) use server_stream::ServerStream;
pub(super) use upstream::{Connecting, Connections, Found, Place};

/// Requests that a client may have under way on one connection. Browsers are content with 100.
const STREAMS_MAX: u32 = 128;

/// What a peer may send on one stream before any of it has been passed on: a round trip of 10 ms
/// at 50 Mbit/s. All of it may have to be held, 128 times over.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// What keeping the frames of one full stream may cost besides their content, if they are as small
/// as short messages: the `h2` crate counts 256 bytes for each frame, less its content, and gives
/// a connection up that has spent its budget. Frames of 16 bytes fit.
const FRAMES_OF_STREAM_BYTES: usize = STREAM_WINDOW_BYTES as usize * 16;

/// Content of one stream that waits for its connection to be written.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
