//! A new process takes over from the running one, and nobody who connects notices.
//!
//! The running process starts its own program anew, with the same arguments, and leaves it copies
//! of its listening sockets and one end of a socket pair, whose number stands in the environment.
//! Over the pair both speak in [`Section`]s:
//!
//! ```text
//! old   version, sockets, what is to be carried on, end
//! new   prepared        all is there, nothing is accepted yet; or: refused, and why
//! old   go                and with it what has changed up to now
//! new   ready           accepts on every listener
//! ```
//!
//! Up to `go` the new process has touched no connection, so whatever happens to it costs nothing.
//! The sockets are never closed: what waits in their queues is served by whoever accepts next.

mod predecessor;
mod section;
mod sockets;
mod successor;

pub use predecessor::Predecessor;
pub use section::Section;
pub use sockets::{Offer, Role};
pub(super) use successor::{Failure, HandOver};

/// The environment variable that holds the number of the descriptor to talk to the old process.
const VARIABLE: &str = "RINGGATE_HANDOVER";

/// Raised when an older program could not understand what a newer one says.
const VERSION: &str = "1";

/// Names of sections.
mod name {
    pub(super) const VERSION: &str = "version";
    pub(super) const SOCKETS: &str = "sockets";
    pub(super) const END: &str = "end";
    pub(super) const PREPARED: &str = "prepared";
    pub(super) const REFUSED: &str = "refused";
    pub(super) const GO: &str = "go";
    pub(super) const READY: &str = "ready";
}
