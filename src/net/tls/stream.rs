//! A TLS connection with the interface of its socket.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustls::{Error, ProtocolVersion};

use super::engine::{Engine, Intent, Sinks, Step};
use super::incoming::Incoming;
use crate::net::socket::Socket;
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;
use crate::runtime::io::Deadline;

/// Content of one record (RFC 8446, 5.1).
const RECORD_MAX: usize = 16 << 10;

/// Content encrypted for one send. A full receive buffer and a head are three records; more
/// would only wait in memory.
const BATCH_MAX: usize = 4 * RECORD_MAX;

/// Records below this that wait to be sent leave together with what is sent next.
const GATHERED_MAX: usize = 4 << 10;

/// What the handshake settled.
#[derive(Debug)]
pub struct Negotiated {
    pub protocol: Protocol,
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// By a ticket, without a certificate being shown again.
    pub resumed: bool,
    /// There if and only if the listener demands one.
    pub client: Option<Rc<ClientCertificate>>,
}

/// What is spoken inside, as ALPN chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Who the client is, by a certificate that has been verified.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's distinguished name (RFC 4514), in visible ASCII.
    pub subject: String,
    /// SHA-256 of the whole certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

/// A connection whose handshake is done.
pub struct TlsStream {
    socket: Socket,
    state: RefCell<State>,
    negotiated: Negotiated,
}

/// A connection from its first byte on.
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) incoming: Incoming,
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

impl TlsStream {
    pub(super) fn new(socket: Socket, state: State, negotiated: Negotiated) -> Self {
        Self { socket, state: RefCell::new(state), negotiated }
    }

    pub fn core(&self) -> &Rc<Core> {
        self.socket.core()
    }

    pub fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// As [`Socket::poll_recv`]. An end that the peer has not announced is an error.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.state.borrow_mut().poll_content(&self.socket, cx, Socket::poll_recv)
    }

    /// As [`Socket::poll_recv_later`].
    pub fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.state.borrow_mut().poll_content(&self.socket, cx, Socket::poll_recv_later)
    }

    /// As [`Socket::is_quiet`]. Tickets and key updates that came are read and forgotten: they
    /// are no answer.
    pub fn is_quiet(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.early.is_some() || state.end.is_some() {
            return false;
        }
        if !self.socket.is_quiet() {
            let cx = Context::from_waker(Waker::noop());
            match state.poll_content(&self.socket, &cx, Socket::poll_recv) {
                Poll::Ready(Ok(Some(chunk))) => {
                    state.early = Some(chunk);
                    return false;
                }
                Poll::Ready(_) => return false,
                Poll::Pending => {}
            }
        }
        // Of a record that is not whole nobody knows what it is.
        state.incoming.is_empty()
    }

    /// As [`Socket::poll_ended`].
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        match self.state.borrow().end {
            Some(_) => Poll::Ready(()),
            None => self.socket.poll_ended(cx),
        }
    }

    /// Encrypts and sends at least one byte of the pieces, and says how many. What the socket
    /// does not take of the records, at most four, waits for [`Self::poll_flush`] or the next send.
    pub fn poll_send(&self, cx: &Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if !state.unsent.may_be_gathered() && state.poll_flush(&self.socket, cx)?.is_pending() {
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|Scratch { content, records }| {
            records.clear();
            state.unsent.take_into(records);
            let taken = state.encrypt(pieces, content, records)?;
            state.send(&self.socket, cx, records)?;
            Poll::Ready(Ok(taken))
        })
    }

    /// Ready when the socket has taken every record.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_flush(&self.socket, cx)
    }

    /// Sends one piece whole, within the deadline.
    pub async fn send_bytes(&self, bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        self.send_all(&mut [IoSlice::new(bytes)], deadline).await
    }

    /// Sends all pieces, within the deadline.
    pub async fn send_all(
        &self,
        pieces: &mut [IoSlice<'_>],
        deadline: &Deadline,
    ) -> io::Result<()> {
        let mut pieces = pieces;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let sent = deadline.limit(|cx| self.poll_send(cx, pieces)).await?;
            IoSlice::advance_slices(&mut pieces, sent);
        }
        deadline.limit(|cx| self.poll_flush(cx)).await
    }

    /// Says that nothing more will be sent (close_notify); what was sent still arrives.
    pub fn finish_sending(&self) {
        self.state.borrow_mut().say_goodbye(&self.socket);
        self.socket.finish_sending();
    }

    /// As [`Socket::reset_on_close`]; and no close_notify is sent, which would say that all is
    /// well.
    pub fn reset_on_close(&self) {
        self.state.borrow_mut().says_goodbye = false;
        self.socket.reset_on_close();
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        self.state.borrow_mut().say_goodbye(&self.socket);
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

    fn poll_content(
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

    /// Makes records of the pieces, and says how many bytes are in them.
    fn encrypt(
        &mut self,
        pieces: &[IoSlice<'_>],
        scratch: &mut Vec<u8>,
        records: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        let mut rest = Rest { pieces, offset: 0 };
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
    fn send(&mut self, socket: &Socket, cx: &Context<'_>, records: &[u8]) -> io::Result<()> {
        let sent = match socket.poll_send(cx, &[IoSlice::new(records)]) {
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
            match socket.poll_send(cx, &[IoSlice::new(rest)]) {
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
    fn say_goodbye(&mut self, socket: &Socket) {
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

/// Pieces, less what has been put into records.
struct Rest<'a, 'b> {
    pieces: &'b [IoSlice<'a>],
    /// How much of the first one is gone.
    offset: usize,
}

impl<'b> Rest<'_, 'b> {
    /// The content of the next record: where it lies, if it lies in one piece, else put together
    /// in `scratch`.
    fn next_record<'s>(&mut self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'b: 's,
    {
        while let Some((piece, later)) = self.pieces.split_first() {
            let piece = &piece[self.offset..];
            let room = RECORD_MAX - scratch.len();
            let fits = piece.len() <= room;
            let count = piece.len().min(room);
            let is_all = later.is_empty() || !fits;
            if fits {
                (self.pieces, self.offset) = (later, 0);
            } else {
                self.offset += count;
            }
            if is_all && scratch.is_empty() {
                return &piece[..count];
            }
            scratch.extend_from_slice(&piece[..count]);
            if is_all {
                break;
            }
        }
        scratch
    }
}

pub(super) fn version_name(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        _ => "1.2",
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the records that pieces of these lengths are put into.
    fn records(pieces: &[usize]) -> Vec<usize> {
        let bytes: Vec<Vec<u8>> = pieces.iter().map(|length| vec![7; *length]).collect();
        let slices: Vec<IoSlice<'_>> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut rest = Rest { pieces: &slices, offset: 0 };
        let mut lengths = Vec::new();
        loop {
            let mut scratch = Vec::new();
            match rest.next_record(&mut scratch).len() {
                0 => return lengths,
                length => lengths.push(length),
            }
        }
    }

    #[test]
    fn a_head_and_its_content_are_one_record() {
        assert_eq!(records(&[200, 128]), [328]);
        assert_eq!(records(&[200, 4000, 2]), [4202]);
    }

    #[test]
    fn records_are_filled() {
        assert!(records(&[]).is_empty());
        assert_eq!(records(&[RECORD_MAX]), [RECORD_MAX]);
        assert_eq!(records(&[RECORD_MAX + 1]), [RECORD_MAX, 1]);
        assert_eq!(records(&[200, 2 * RECORD_MAX, 5]), [RECORD_MAX, RECORD_MAX, 205]);
    }
}
