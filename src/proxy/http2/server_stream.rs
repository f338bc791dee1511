//! One request of a client and its response, as the carrier of an exchange.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{Response, StatusCode};

use super::content::{Incoming, Part, broken};
use crate::http::h2::read_response;
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;

/// A stream that a client has opened. Dropping it unfinished resets it.
pub(in crate::proxy) struct ServerStream {
    core: Rc<Core>,
    request: RefCell<Incoming>,
    response: RefCell<Answer>,
    /// What has been taken over and not been sent.
    pending: RefCell<Part>,
    answered: Cell<bool>,
    cut: Cell<bool>,
    /// The client asks for another protocol, and takes any success for a switch.
    expects_switch: Cell<bool>,
}

/// How far the response has come.
enum Answer {
    Awaited(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
}

impl ServerStream {
    pub(super) fn new(core: &Rc<Core>, request: RecvStream, answer: SendResponse<Bytes>) -> Self {
        Self {
            core: Rc::clone(core),
            request: RefCell::new(Incoming::new(request)),
            response: RefCell::new(Answer::Awaited(answer)),
            pending: RefCell::default(),
            answered: Cell::new(false),
            cut: Cell::new(false),
            expects_switch: Cell::new(false),
        }
    }

    /// The request is an extended CONNECT (RFC 8441).
    pub(super) fn expect_switch(&self) {
        self.expects_switch.set(true);
    }

    /// Whether all of the request has come.
    pub(in crate::proxy) fn is_ended(&self) -> bool {
        self.request.borrow().is_ended()
    }

    /// The next piece of the request's body.
    pub(in crate::proxy) fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let cx = &mut Context::from_waker(cx.waker());
        self.request.borrow_mut().poll_recv(&self.core, cx)
    }

    pub(in crate::proxy) fn take_trailers(&self) -> Vec<u8> {
        self.request.borrow_mut().take_trailers()
    }

    /// Ready when the client has cancelled the request, or its connection has ended.
    pub(in crate::proxy) fn poll_gone(&self, cx: &Context<'_>) -> Poll<()> {
        let cx = &mut Context::from_waker(cx.waker());
        let reset = match &mut *self.response.borrow_mut() {
            Answer::Awaited(answer) => answer.poll_reset(cx),
            Answer::Begun(stream) => stream.poll_reset(cx),
        };
        reset.map(drop)
    }

    /// Whether all of the response has been sent.
    pub(in crate::proxy) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Takes over a part of the response: its head, or nothing, and content.
    pub(in crate::proxy) fn begin(&self, head: &[u8], part: Part) -> io::Result<()> {
        if !head.is_empty() {
            self.send_head(head, part.is_end())?;
        }
        *self.pending.borrow_mut() = part;
        Ok(())
    }

    /// Ready when the client and the connection have taken that part.
    pub(in crate::proxy) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pending = &mut *self.pending.borrow_mut();
        match &mut *self.response.borrow_mut() {
            Answer::Awaited(_) => return Poll::Ready(Err(io::ErrorKind::InvalidInput.into())),
            Answer::Begun(_) if self.answered.get() => {}
            Answer::Begun(stream) => ready!(pending.poll_send(stream, cx))?,
        }
        self.answered.set(pending.ends());
        Poll::Ready(Ok(()))
    }

    pub(in crate::proxy) fn send_interim(&self, head: &[u8]) -> io::Result<()> {
        let response = read_response(head).map_err(|_| io::ErrorKind::InvalidData)?;
        match &mut *self.response.borrow_mut() {
            Answer::Awaited(answer) => answer.send_informational(response).map_err(broken),
            Answer::Begun(_) => Ok(()),
        }
    }

    /// Sends the 101 that answers an extended CONNECT: here it is 200 (RFC 8441, 5).
    pub(in crate::proxy) fn send_switch(&self, head: &[u8]) -> io::Result<()> {
        let mut head = read_response(head).map_err(|_| io::ErrorKind::InvalidData)?;
        *head.status_mut() = StatusCode::OK;
        head.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
        self.send_response(head, false)
    }

    /// Ends what has not ended yet.
    pub(in crate::proxy) fn finish(&self) {
        if let Answer::Begun(stream) = &mut *self.response.borrow_mut()
            && !self.answered.replace(true)
        {
            // One that is broken is finished, too.
            let _ = stream.send_data(Bytes::new(), true);
        }
    }

    /// The response will not be finished, which the client must notice.
    pub(in crate::proxy) fn cut(&self) {
        self.cut.set(true);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Tells the client so.
    pub(super) fn reset(&self) {
        match &mut *self.response.borrow_mut() {
            Answer::Awaited(answer) => answer.send_reset(Reason::INTERNAL_ERROR),
            Answer::Begun(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    fn send_head(&self, head: &[u8], ends: bool) -> io::Result<()> {
        let mut head = read_response(head).map_err(|_| io::ErrorKind::InvalidData)?;
        if self.expects_switch.get() && head.status().is_success() {
            *head.status_mut() = StatusCode::NOT_IMPLEMENTED;
        }
        self.send_response(head, ends)
    }

    fn send_response(&self, head: Response<()>, ends: bool) -> io::Result<()> {
        let mut response = self.response.borrow_mut();
        let Answer::Awaited(answer) = &mut *response else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stream = answer.send_response(head, ends).map_err(broken)?;
        *response = Answer::Begun(stream);
        self.answered.set(ends);
        Ok(())
    }
}
