//! What a TLS connection has beside its socket, from its first byte on.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustls::Error;

use super::engine::{Engine, Intent, Sinks, Step};
use super::incoming::Incoming;
use super::records::{RECORD_MAX, Rest};
use crate::net::socket::{Leave, Socket};
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;

/// Content encrypted for one send. A full receive buffer and a head are three records; more
/// would only wait in memory.
const BATCH_MAX: usize = 4 * RECORD_MAX;

/// Records below this that wait to be sent leave together with what is sent next.
const GATHERED_MAX: usize = 4 << 10;

/// A connection from its first byte on.
pub(super) struct State {
    pub(super) engine: Engine,
    incoming: Incoming,
    unsent: Unsent,
    /// Content that came where nobody asked for it: behind the handshake's last message, or on an
    /// idle connection.
    early: Option<Chunk>,
    end: Option<End>,
    /// Whether the peer is to be told that no more comes.
    says_goodbye: bool,
}

/// Records that the socket has not taken yet.
#[derive(Default)]
struct Unsent {
    records: Vec<u8>,
    sent: usize,
    /// The socket was full when they were last tried.
    tried: bool,
}

/// How receiving ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By close_notify.
    Closed,
    /// By the socket alone: what came may be cut short (RFC 8446, 6.1).
    Cut,
    /// By bytes that are no TLS.
    Broken,
}

/// What came of looking at received records.
pub(super) enum Received {
    Content(Chunk),
    End,
    /// The socket has to bring more.
    Nothing,
}

thread_local! {
    /// Where a worker makes records. Between two sends it holds nothing that anybody needs.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

struct Scratch {
    /// Pieces put together into the content of one record.
    content: Vec<u8>,
    records: Vec<u8>,
}

impl Scratch {
    const fn new() -> Self {
        Self { content: Vec::new(), records: Vec::new() }
    }
}

impl State {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            incoming: Incoming::default(),
            unsent: Unsent::default(),
            early: None,
            end: None,
            says_goodbye: true,
        }
    }

    pub(super) fn poll_content(
        &mut self,
        socket: &Socket,
        cx: &Context<'_>,
        recv: impl Fn(&Socket, &Context<'_>) -> Poll<io::Result<Option<Chunk>>>,
    ) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.early.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        loop {
            match self.look(socket.core()) {
                Ok(Received::Content(chunk)) => return Poll::Ready(Ok(Some(chunk))),
                Ok(Received::End) => return Poll::Ready(self.ended()),
                Ok(Received::Nothing) => {}
                Err(error) => {
                    self.send_alert(socket);
                    return Poll::Ready(Err(broken(error)));
                }
            }
            match recv(socket, cx) {
                Poll::Ready(Ok(Some(chunk))) => self.incoming.push(chunk),
                Poll::Ready(Ok(None)) => self.end = Some(End::Cut),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Tickets, and answers to key updates. If they cannot leave, the peer is not
                    // reading, and nobody has to wait for that.
                    let _ = self.poll_flush(socket, cx)?;
                    return Poll::Pending;
                }
            }
        }
    }

    fn ended(&self) -> io::Result<Option<Chunk>> {
        match self.end {
            Some(End::Cut) => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(End::Broken) => Err(io::ErrorKind::InvalidData.into()),
            Some(End::Closed) | None => Ok(None),
        }
    }

    /// See [`super::TlsStream::is_quiet`].
    pub(super) fn is_quiet(&mut self, socket: &Socket) -> bool {
        if self.early.is_some() || self.end.is_some() {
            return false;
        }
        if !socket.is_quiet() {
            let cx = Context::from_waker(Waker::noop());
            match self.poll_content(socket, &cx, Socket::poll_recv) {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.early = Some(chunk);
                    return false;
                }
                Poll::Ready(_) => return false,
                Poll::Pending => {}
            }
        }
        // Of a record that is not whole nobody knows what it is.
        self.incoming.is_empty()
    }

    /// Whether the peer has said that no more comes, or can say nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// No close_notify is sent: it would say that all is well.
    pub(super) fn forbid_goodbye(&mut self) {
        self.says_goodbye = false;
    }

    /// Adds what was received next.
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.incoming.push(chunk);
    }

    /// Decrypts what has been received, as much of it as fits one buffer.
    pub(super) fn look(&mut self, core: &Rc<Core>) -> Result<Received, Error> {
        if self.end.is_some() {
            return Ok(Received::End);
        }
        if self.incoming.is_empty() && !self.engine.common().is_handshaking() {
            return Ok(Received::Nothing);
        }
        let content: RefCell<Option<Chunk>> = RefCell::new(None);
        let mut take = |bytes: &[u8]| {
            let mut content = content.borrow_mut();
            let chunk = content.get_or_insert_with(|| Chunk::empty(&core.buffers()));
            let taken = chunk.append(bytes);
            debug_assert_eq!(taken, bytes.len(), "there is room for a whole record");
        };
        let is_full = || {
            let content = content.borrow();
            content.as_ref().is_some_and(|chunk| chunk.room() < RECORD_MAX)
        };
        let mut sinks = Sinks { content: &mut take, out: &mut self.unsent.records };
        let step = self.incoming.work_off(&mut self.engine, &mut sinks, is_full);
        match step {
            Ok(Step::PeerClosed | Step::Closed) => self.end = Some(End::Closed),
            Ok(_) => {}
            Err(_) => self.end = Some(End::Broken),
        }
        match (content.into_inner(), step) {
            // What came before an error is as good as if the error had come later.
            (Some(chunk), _) => Ok(Received::Content(chunk)),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) if self.end.is_some() => Ok(Received::End),
            (None, Ok(_)) => Ok(Received::Nothing),
        }
    }

    /// Keeps content for whoever asks first.
    pub(super) fn keep(&mut self, chunk: Chunk) {
        self.early = Some(chunk);
    }

    /// Sends the alert that rustls has ready after an error, if the socket takes it.
    pub(super) fn send_alert(&mut self, socket: &Socket) {
        self.end = Some(End::Broken);
        self.says_goodbye = false;
        let mut forget = |_: &[u8]| {};
        let mut sinks = Sinks { content: &mut forget, out: &mut self.unsent.records };
        drop(self.incoming.step(&mut self.engine, Intent::Receive, &mut sinks));
        drop(self.poll_flush(socket, &Context::from_waker(Waker::noop())));
    }

    /// See [`super::TlsStream::poll_send`].
    pub(super) fn poll_send(
        &mut self,
        socket: &Socket,
        cx: &Context<'_>,
        pieces: &[IoSlice<'_>],
        leave: Leave,
    ) -> Poll<io::Result<usize>> {
        if !self.unsent.may_be_gathered() && self.poll_flush(socket, cx)?.is_pending() {
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|Scratch { content, records }| {
            records.clear();
            self.unsent.take_into(records);
            let taken = self.encrypt(pieces, content, records)?;
            self.send(socket, cx, records, leave)?;
            Poll::Ready(Ok(taken))
        })
    }

    /// Makes records of the pieces, and says how many bytes are in them.
    fn encrypt(
        &mut self,
        pieces: &[IoSlice<'_>],
        scratch: &mut Vec<u8>,
        records: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        let mut rest = Rest::new(pieces);
        while taken < BATCH_MAX {
            scratch.clear();
            let content = rest.next_record(scratch);
            if content.is_empty() {
                break;
            }
            self.carry_out(Intent::Send(content), records)?;
            taken += content.len();
        }
        Ok(taken)
    }

    fn carry_out(&mut self, intent: Intent<'_>, records: &mut Vec<u8>) -> io::Result<()> {
        // Nothing whole is held back, so nothing can be decrypted here.
        let mut none = |_: &[u8]| debug_assert!(false, "content while sending");
        let mut sinks = Sinks { content: &mut none, out: records };
        loop {
            match self.incoming.step(&mut self.engine, intent, &mut sinks).map_err(broken)? {
                Step::Done => return Ok(()),
                Step::Again => {}
                Step::PeerClosed => self.end = Some(End::Closed),
                Step::Blocked | Step::Closed => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Sends records; keeps what the socket does not take.
    fn send(
        &mut self,
        socket: &Socket,
        cx: &Context<'_>,
        records: &[u8],
        leave: Leave,
    ) -> io::Result<()> {
        let sent = match socket.poll_send(cx, &[IoSlice::new(records)], leave) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => 0,
        };
        if sent < records.len() {
            self.unsent.records.extend_from_slice(&records[sent..]);
            self.unsent.tried = true;
        }
        Ok(())
    }

    pub(super) fn poll_flush(&mut self, socket: &Socket, cx: &Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent.sent < self.unsent.records.len() {
            let rest = &self.unsent.records[self.unsent.sent..];
            match socket.poll_send(cx, &[IoSlice::new(rest)], Leave::AtOnce) {
                Poll::Ready(sent) => self.unsent.sent += sent?,
                Poll::Pending => {
                    self.unsent.tried = true;
                    return Poll::Pending;
                }
            }
        }
        // An idle connection keeps no memory.
        self.unsent = Unsent::default();
        Poll::Ready(Ok(()))
    }

    /// Sends close_notify once, if the socket takes it.
    pub(super) fn say_goodbye(&mut self, socket: &Socket) {
        if !std::mem::take(&mut self.says_goodbye) || self.end == Some(End::Broken) {
            return;
        }
        let mut records = std::mem::take(&mut self.unsent.records);
        if self.carry_out(Intent::Close, &mut records).is_ok() {
            self.unsent.records = records;
            drop(self.poll_flush(socket, &Context::from_waker(Waker::noop())));
        }
    }
}

impl Unsent {
    /// Whether these records have not been tried yet and are few enough to leave with others.
    fn may_be_gathered(&self) -> bool {
        !self.tried && self.records.len() <= GATHERED_MAX
    }

    fn take_into(&mut self, records: &mut Vec<u8>) {
        if !self.records.is_empty() {
            records.extend_from_slice(&self.records[self.sent..]);
            *self = Self::default();
        }
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
