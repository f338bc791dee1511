//! One request to an endpoint and its response, as the carrier of an attempt.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;

use super::content::{Incoming, Part, broken};
use super::upstream::Place;
use crate::http::h2::{read_request, write_response};
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;

/// A stream that is opened by sending a request's head. Dropping it unfinished resets it.
pub(in crate::proxy) struct ClientStream {
    /// A head that has been taken over and not been sent.
    head: RefCell<Option<Request<()>>>,
    /// The same of content.
    pending: RefCell<Part>,
    request: RefCell<Option<SendStream<Bytes>>>,
    response: RefCell<Reply>,
    sender: RefCell<SendRequest<Bytes>>,
    is_unprocessed: Cell<bool>,
    core: Rc<Core>,
    /// Given back last, when the stream is gone.
    place: Place,
}

/// How far the response has come.
enum Reply {
    /// The request has not been sent.
    None,
    Awaited(ResponseFuture),
    Begun(Incoming),
}

impl ClientStream {
    pub(in crate::proxy) fn new(place: Place) -> Self {
        Self {
            head: RefCell::default(),
            pending: RefCell::default(),
            request: RefCell::new(None),
            response: RefCell::new(Reply::None),
            sender: RefCell::new(place.sender()),
            is_unprocessed: Cell::new(false),
            core: Rc::clone(place.core()),
            place,
        }
    }

    /// Whether the stream ends with what has been received of it.
    pub(in crate::proxy) fn is_ended(&self) -> bool {
        matches!(&*self.response.borrow(), Reply::Begun(body) if body.is_ended())
    }

    /// Whether the server has said that it did nothing with the request (RFC 9113, 8.7).
    pub(in crate::proxy) fn is_unprocessed(&self) -> bool {
        self.is_unprocessed.get()
    }

    /// The text of a head, interim ones included, then pieces of the body.
    pub(in crate::proxy) fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let cx = &mut Context::from_waker(cx.waker());
        let reply = &mut *self.response.borrow_mut();
        match reply {
            Reply::None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            Reply::Awaited(response) => {
                let (head, body) =
                    ready!(poll_head(response, cx)).map_err(|error| self.notice(error))?;
                if let Some(body) = body {
                    *reply = Reply::Begun(Incoming::new(body));
                }
                Poll::Ready(Ok(Some(self.core.foreign_chunk(head))))
            }
            Reply::Begun(body) => body.poll_recv(&self.core, cx),
        }
    }

    pub(in crate::proxy) fn take_trailers(&self) -> Vec<u8> {
        match &mut *self.response.borrow_mut() {
            Reply::Begun(body) => body.take_trailers(),
            Reply::None | Reply::Awaited(_) => Vec::new(),
        }
    }

    /// Takes over a part of the request: its head, or nothing, and content.
    pub(in crate::proxy) fn begin(&self, head: &[u8], part: Part) -> io::Result<()> {
        if !head.is_empty() {
            let request = read_request(head, self.place.scheme());
            let request = request.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            *self.head.borrow_mut() = Some(request);
        }
        *self.pending.borrow_mut() = part;
        Ok(())
    }

    /// Ready when the server and the connection have taken that part.
    pub(in crate::proxy) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let pending = &mut *self.pending.borrow_mut();
        let has_head = self.head.borrow().is_some();
        if has_head {
            let ready = ready!(self.sender.borrow_mut().poll_ready(cx));
            ready.map_err(|error| self.notice(error))?;
            self.send_head(pending.is_end())?;
            if pending.is_end() {
                return Poll::Ready(Ok(()));
            }
        }
        match &mut *self.request.borrow_mut() {
            Some(stream) => pending.poll_send(stream, cx),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn send_head(&self, ends: bool) -> io::Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let opened = self.sender.borrow_mut().send_request(head, ends);
        let (response, stream) = opened.map_err(|error| self.notice(error))?;
        *self.response.borrow_mut() = Reply::Awaited(response);
        *self.request.borrow_mut() = Some(stream);
        Ok(())
    }

    fn notice(&self, error: h2::Error) -> io::Error {
        let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // A GOAWAY breaks those streams only that it says were not begun with.
        let is_passed_over = error.is_go_away();
        if error.is_remote() && (is_refused || is_passed_over) {
            self.is_unprocessed.set(true);
        }
        broken(error)
    }
}

type Head = (Bytes, Option<h2::RecvStream>);

/// The text of the next head; with a body, it was the last.
fn poll_head(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Result<Head, h2::Error>> {
    let mut text = Vec::new();
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        write_response(&interim?, &mut text);
        return Poll::Ready(Ok((text.into(), None)));
    }
    let (head, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
    write_response(&http::Response::from_parts(head, ()), &mut text);
    Poll::Ready(Ok((text.into(), Some(body))))
}
