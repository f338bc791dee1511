//! A client of HTTP/2 that sends what it is told, frame by frame.
//!
//! Heads are written as literals that no table remembers, so that any bytes can stand in them. Of
//! the responses only the frames are read, and the status.

use std::net::{SocketAddr, TcpStream};

use super::super::PATIENCE;
use super::super::wire::{Broken, Wire};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 0x1;
pub const ACK: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub const ENHANCE_YOUR_CALM: u32 = 0xb;
pub const PROTOCOL_ERROR: u32 = 0x1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    /// The error of RST_STREAM and GOAWAY.
    pub fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(code)
    }
}

/// A header block of these fields, pseudo-fields included.
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            write_length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn write_length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Answered(u16),
    Reset(u32),
    /// The connection was given up.
    GoAway(u32),
    Closed,
}

pub struct FrameClient {
    wire: Wire,
    next: u32,
}

impl FrameClient {
    /// Sends the preface and empty settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::connect_silently(address);
        client.send_bytes(PREFACE);
        client.send(&Frame::new(SETTINGS, 0, 0, []));
        client
    }

    pub fn connect_silently(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        Self { wire: Wire::new(stream), next: 1 }
    }

    /// Sends all of it; that the gateway has closed is seen by reading.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.wire.send(bytes).is_ok()
    }

    pub fn send(&mut self, frame: &Frame) -> bool {
        self.send_bytes(&frame.bytes())
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Opens a stream with a header block.
    pub fn headers(&mut self, flags: u8, block: impl Into<Vec<u8>>) -> u32 {
        let stream = self.stream();
        self.send(&Frame::new(HEADERS, flags | END_HEADERS, stream, block));
        stream
    }

    pub fn read_frame(&mut self) -> Result<Frame, Broken> {
        let head = self.wire.read_exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.read_exactly(length as usize)?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on until it is clear what becomes of this stream's request.
    pub fn fate(&mut self, stream: u32) -> Fate {
        loop {
            match self.read_frame() {
                Ok(frame) if frame.kind == GOAWAY => return Fate::GoAway(frame.error()),
                Ok(frame) if frame.stream != stream => {}
                Ok(frame) if frame.kind == HEADERS => {
                    return Fate::Answered(status(&frame.payload));
                }
                Ok(frame) if frame.kind == RST_STREAM => return Fate::Reset(frame.error()),
                Ok(_) => {}
                Err(Broken::TimedOut) => panic!("waited in vain for the fate of {stream}"),
                Err(_) => return Fate::Closed,
            }
        }
    }

    /// Reads on until the gateway gives the connection up, and says by which error; `None` if it
    /// closes without a word.
    pub fn goaway(&mut self) -> Option<u32> {
        loop {
            match self.read_frame() {
                Ok(frame) if frame.kind == GOAWAY => return Some(frame.error()),
                Ok(_) => {}
                Err(Broken::TimedOut) => panic!("waited in vain for a GOAWAY"),
                Err(_) => return None,
            }
        }
    }

    /// Reads on to the end of the connection.
    pub fn read_to_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.read_frame() {
                Ok(frame) => frames.push(frame),
                Err(Broken::TimedOut) => panic!("the connection does not end"),
                Err(_) => return frames,
            }
        }
    }
}

/// The status in a header block that begins with it (RFC 9113, 8.3.2; RFC 7541, 6 and A).
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may stand in front.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or(0);
    match &block[start..] {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        // A literal whose name is that of an entry 8 to 14.
        [name, length, text @ ..] if matches!(name & 0x3f, 8..=14) => {
            let bytes = &text[..usize::from(length & 0x7f)];
            if length & 0x80 == 0 { digits(bytes) } else { huffman_digits(bytes) }
        }
        other => panic!("no status in {other:x?}"),
    }
}

fn digits(text: &[u8]) -> u16 {
    std::str::from_utf8(text).expect("digits").parse().expect("a status")
}

/// Three digits in the code of RFC 7541, B: 0, 1 and 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u16> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)))
        .collect();
    let number = |bits: &[u16]| bits.iter().fold(0, |sum, bit| sum * 2 + bit);
    let mut at = 0;
    let mut status = 0;
    for _ in 0..3 {
        let short = number(&bits[at..at + 5]);
        let (digit, length) =
            if short <= 2 { (short, 5) } else { (number(&bits[at..at + 6]) - 0x19 + 3, 6) };
        status = status * 10 + digit;
        at += length;
    }
    status
}
