//! A connection's bytes, in the form that the `h2` crate asks for.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::meter::Meter;
use crate::net::socket::Leave;
use crate::net::stream::Stream;
use crate::proxy::input::Input;

/// Receives of one turn before other tasks have theirs: a quarter of a megabyte.
const RECEIVES_PER_TURN: u32 = 8;

/// A stream of bytes. Received ones are copied into the crate's memory at once, so that an idle
/// connection holds no receive buffer; sends are tried at once on the crate's own memory.
pub(super) struct Io {
    stream: Stream,
    input: Input,
    /// Who counts what a client's frames cost.
    meter: Option<Rc<RefCell<Meter>>>,
    /// Receives since the connection last had nothing to say.
    receives: u32,
}

impl Io {
    /// `input` has been received already.
    pub(super) fn new(stream: Stream, input: Input, meter: Option<Rc<RefCell<Meter>>>) -> Self {
        let io = Self { stream, input, meter, receives: 0 };
        io.count_received(io.input.bytes());
        io
    }

    fn count_received(&self, bytes: &[u8]) {
        if let Some(meter) = &self.meter {
            meter.borrow_mut().received(bytes, self.stream.core().now());
        }
    }

    /// Receives more; `false` at the end of the stream.
    fn poll_input(&mut self, cx: &Context<'_>) -> Poll<io::Result<bool>> {
        if self.meter.as_ref().is_some_and(|meter| meter.borrow().excess().is_some()) {
            // Nothing more is wanted. The connection's task, which asks, looks at the meter next.
            return Poll::Pending;
        }
        if self.receives == RECEIVES_PER_TURN {
            self.receives = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(received) = self.stream.poll_recv(cx) else {
            self.receives = 0;
            return Poll::Pending;
        };
        self.receives += 1;
        let Some(chunk) = received? else { return Poll::Ready(Ok(false)) };
        self.count_received(&chunk);
        self.input.push(chunk);
        Poll::Ready(Ok(true))
    }

    fn count_sent(&self, sent: usize) {
        if let Some(meter) = &self.meter {
            meter.borrow_mut().sent(sent);
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() && !ready!(self.poll_input(cx))? {
            return Poll::Ready(Ok(()));
        }
        let count = buffer.remaining().min(self.input.bytes().len());
        buffer.put_slice(&self.input.bytes()[..count]);
        self.input.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = ready!(self.stream.poll_send(cx, pieces, Leave::AtOnce))?;
        self.count_sent(sent);
        Poll::Ready(Ok(sent))
    }

    /// Otherwise the crate sends the head of a frame and its content apart.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.finish_sending();
        Poll::Ready(Ok(()))
    }
}
