//! HTTP as bytes in, meaning out: no sockets, no clock, no allocation per message (but for one
//! that comes compressed).
//!
//! A reader of one of these messages may not be left in doubt: what two readers could understand
//! differently is refused, each kind for a [`refusal::Refusal`] of its own. What becomes of a
//! message (routing, rewriting, relaying) is decided elsewhere.

pub mod authority;
pub mod base64;
mod crc32c;
pub mod cookie;
pub mod date;
pub mod field_name;
pub mod fields;
pub mod forwarded;
pub mod gzip;
pub mod h1;
pub mod h2;
pub mod message;
pub mod proxy_protocol;
pub mod refusal;
mod sha1;
pub mod span;
mod syntax;
pub mod target;
pub mod upgrade;
pub mod websocket;
