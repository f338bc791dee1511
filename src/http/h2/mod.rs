//! The border between HTTP/2 (RFC 9113) and the rest of the program, which works on the text of
//! HTTP/1.1 heads: one engine, one set of refusals for both versions.
//!
//! What comes from HTTP/2 is written as text and then read by the strict reader of [`super::h1`];
//! nothing is believed for having come in frames. What goes to HTTP/2 is read from text that this
//! program has written.

mod frames;
mod request;
mod response;
mod text;
mod trailers;

pub use frames::{FrameHead, FrameKind, Frames};
pub use request::{read_request, write_request, write_websocket_request};
pub use response::{read_response, write_response};
pub use text::NotExpressible;
pub use trailers::{read_trailers, write_trailers};

/// What a client of HTTP/2 sends first (RFC 9113, 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
