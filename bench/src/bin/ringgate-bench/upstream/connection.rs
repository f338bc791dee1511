//! One connection of a gateway: reads requests, writes replies or events.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::reply::Reply;
use super::request::{Request, head_length};
use crate::event;
use crate::poll::{Interest, monotonic_ns};

const READ_BYTES: usize = 16 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What has become of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Open,
    /// The head of an event stream has been written; events may follow.
    StreamBegun,
    /// Closed by the other side, failed, or not understood.
    Gone,
}

/// A reply to be written when the request's body has been read.
struct Pending {
    reply: Reply,
    body_left: usize,
}

pub(crate) struct Connection {
    socket: TcpStream,
    /// Read and not yet understood. Less than a head and one read.
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` that the socket has taken.
    sent: usize,
    pending: Option<Pending>,
    /// Number of the event stream that this connection carries.
    pub(crate) stream: Option<u64>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, input: Vec::new(), output: Vec::new(), sent: 0, pending: None, stream: None }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// No more is read while a reply has not left: what is held stays bounded.
    pub(crate) fn interest(&self) -> Interest {
        if self.output.is_empty() { Interest::Read } else { Interest::Write }
    }

    /// Does what can be done without waiting.
    pub(crate) fn advance(&mut self) -> Progress {
        if self.output.is_empty() && self.read() == Progress::Gone {
            return Progress::Gone;
        }
        loop {
            if self.flush() == Progress::Gone {
                return Progress::Gone;
            }
            if !self.output.is_empty() || self.stream.is_some() {
                return Progress::Open;
            }
            match self.answer_next() {
                Answer::Written => {}
                Answer::StreamBegun => {
                    self.input.clear();
                    return match self.flush() {
                        Progress::Gone => Progress::Gone,
                        _ => Progress::StreamBegun,
                    };
                }
                Answer::Incomplete => return Progress::Open,
                Answer::Refused => return Progress::Gone,
            }
        }
    }

    /// Sends an event stamped now; leaves it out when the last one is still stuck.
    pub(crate) fn send_event(&mut self) -> Progress {
        if !self.output.is_empty() {
            return Progress::Open;
        }
        self.output.extend_from_slice(format!("{:x}\r\n", event::EVENT_BYTES).as_bytes());
        event::write(&mut self.output, monotonic_ns());
        self.output.extend_from_slice(b"\r\n");
        self.flush()
    }

    fn read(&mut self) -> Progress {
        let mut piece = [0; READ_BYTES];
        match self.socket.read(&mut piece) {
            Ok(0) => Progress::Gone,
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                Progress::Open
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Open,
            Err(_) => Progress::Gone,
        }
    }

    fn flush(&mut self) -> Progress {
        while self.sent < self.output.len() {
            match self.socket.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Open,
                Err(_) => return Progress::Gone,
            }
        }
        self.output.clear();
        self.sent = 0;
        Progress::Open
    }
}

enum Answer {
    Written,
    StreamBegun,
    /// More input is needed.
    Incomplete,
    Refused,
}

impl Connection {
    /// Writes the reply to the next request in `input`, if that is complete.
    fn answer_next(&mut self) -> Answer {
        if self.pending.is_none() {
            let Some(length) = head_length(&self.input) else {
                let too_long = self.input.len() > HEAD_BYTES_MAX;
                return if too_long { Answer::Refused } else { Answer::Incomplete };
            };
            let head = &self.input[..length];
            let Ok(request) = Request::parse(head) else {
                return Answer::Refused;
            };
            let reply = Reply::to(&request, head);
            self.pending = Some(Pending { reply, body_left: request.content_length });
            self.input.drain(..length);
        }
        self.answer_pending()
    }

    fn answer_pending(&mut self) -> Answer {
        let Some(mut pending) = self.pending.take() else {
            return Answer::Incomplete;
        };
        let body = pending.body_left.min(self.input.len());
        self.input.drain(..body);
        pending.body_left -= body;
        if pending.body_left > 0 {
            self.pending = Some(pending);
            return Answer::Incomplete;
        }
        pending.reply.write(&mut self.output);
        if pending.reply == Reply::Events { Answer::StreamBegun } else { Answer::Written }
    }
}
