//! The memory that one exchange works in, used again by later ones.

use super::call::Scanner;
use super::limits::Held;
use crate::http::h1::{RequestHead, ResponseHead};
use crate::http::span::Span;

/// Buffers that grew beyond this are not kept.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// An idle connection has none of this.
#[derive(Default)]
pub(super) struct Scratch {
    /// The request head's bytes, which `request` points into.
    pub(super) head: Vec<u8>,
    pub(super) request: RequestHead,
    pub(super) response: ResponseHead,
    /// The request path, where normalising changed it.
    pub(super) path: Vec<u8>,
    /// The host in lower case, without a port.
    pub(super) host: Vec<u8>,
    /// A head on its way out.
    pub(super) out: Vec<u8>,
    /// Content found in the bytes at hand.
    pub(super) content: Vec<Span>,
    /// What an AI call's body has said so far.
    pub(super) scanner: Option<Scanner>,
    /// A request body that is held whole.
    pub(super) body: Vec<u8>,
    /// What the exchange has of limits.
    pub(super) held: Held,
}

impl Scratch {
    /// Gives back what an unusual exchange needed.
    pub(super) fn trim(&mut self) {
        self.held.release();
        self.scanner = None;
        self.request.clear();
        self.response.clear();
        for buffer in
            [&mut self.head, &mut self.path, &mut self.host, &mut self.out, &mut self.body]
        {
            buffer.clear();
            if buffer.capacity() > KEPT_BYTES_MAX {
                buffer.shrink_to_fit();
            }
        }
        self.content.clear();
        if self.content.capacity() > KEPT_BYTES_MAX / size_of::<Span>() {
            self.content.shrink_to_fit();
        }
    }
}
