//! WebSocket messages of one short frame each (RFC 6455, 5.2).

use super::sha1::websocket_accept;
use super::wire::{Broken, Head, Wire};

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;

/// Status "going away" (RFC 6455, 7.4.1).
pub const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();

/// The example of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn text(text: &str) -> Self {
        Self { opcode: TEXT, payload: text.as_bytes().to_vec() }
    }

    /// The next message, whoever has sent it.
    pub fn read(wire: &mut Wire) -> Result<Self, Broken> {
        let head = wire.read_exactly(2)?;
        let length = usize::from(head[1] & 0x7f);
        assert!(length < 126, "a short message: {head:?}");
        let mask = if head[1] & 0x80 == 0 { vec![0; 4] } else { wire.read_exactly(4)? };
        let payload = wire.read_exactly(length)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        Ok(Self { opcode: head[0] & 0xf, payload: payload.collect() })
    }

    /// As a server sends it.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.head(0)[..], &self.payload].concat()
    }

    /// As a client sends it: masked, here by zeros.
    pub fn masked(&self) -> Vec<u8> {
        [&self.head(0x80)[..], &[0; 4], &self.payload].concat()
    }

    fn head(&self, mask: u8) -> [u8; 2] {
        assert!(self.payload.len() < 126, "a short message");
        [0x80 | self.opcode, mask | self.payload.len() as u8]
    }
}

/// A request for a WebSocket.
pub fn handshake(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// The answer of a server that agrees.
pub fn agreement(request: &Head) -> String {
    let accept = websocket_accept(request.get("sec-websocket-key").expect("a key"));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}
