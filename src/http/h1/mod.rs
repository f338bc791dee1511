//! The HTTP/1.1 engine (RFC 9112): heads and bodies, both ways, from buffers that may be partial.

mod chunked;
mod connection;
mod decoder;
mod encoder;
mod framing;
mod lines;
mod request;
mod request_line;
mod response;
mod trailers;
#[cfg(test)]
mod wire_tests;

pub use decoder::{BodyDecoder, Decoded, SPANS_MAX};
pub use encoder::{BodyEncoder, ChunkHead};
pub use lines::HeadLimits;
pub use request::RequestHead;
pub use request_line::TargetForm;
pub use response::ResponseHead;
pub use trailers::TRAILER_BYTES_MAX;
