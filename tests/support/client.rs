//! A client that sends what it is told, byte by byte, and reads strictly.

use std::net::{SocketAddr, TcpStream};

use rustls::pki_types::CertificateDer;

use super::PATIENCE;
use super::wire::{Broken, Head, Wire};

/// One response, interim ones included.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Reply {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?} {:?}", self.head, self.body))
    }

    /// Whether the connection may carry another exchange, by what the head says.
    pub fn keeps_alive(&self) -> bool {
        self.get("connection") != Some("close")
    }
}

/// A connection to the gateway.
pub struct Client {
    wire: Wire,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { wire: Wire::new(stream) }
    }

    /// From an address of this machine: all of 127.0.0.0/8 are.
    pub fn connect_from(local: SocketAddr, address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(local), socket2::Type::STREAM, None)
                .expect("a descriptor is free");
        socket.bind(&local.into()).expect("an address of this machine");
        socket
            .connect_timeout(&address.into(), PATIENCE)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self { wire: Wire::new(socket.into()) }
    }

    /// Over a connection that is there already.
    pub fn over(wire: Wire) -> Self {
        Self { wire }
    }

    /// Whether its TLS session was one that was known before.
    pub fn is_resumed(&mut self) -> bool {
        self.wire.tls().is_resumed()
    }

    /// The certificate that the gateway has shown.
    pub fn certificate(&mut self) -> CertificateDer<'static> {
        let shown = self.wire.tls().state().peer_certificates().expect("a certificate");
        shown[0].clone().into_owned()
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends all of it. What happens to a connection that the gateway has closed is seen by
    /// reading.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        drop(self.wire.send(bytes.as_ref()));
        self
    }

    /// A request without a body.
    pub fn get(&mut self, target: &str) -> Reply {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.read()
    }

    /// A request with a body of stated length. `fields` are whole lines, each with its CRLF.
    pub fn post(&mut self, target: &str, fields: &str, body: impl AsRef<[u8]>) -> Reply {
        let body = body.as_ref();
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        self.send([head.as_bytes(), body].concat());
        self.read()
    }

    /// Exactly one response to a method whose responses may have a body.
    pub fn read(&mut self) -> Reply {
        self.read_reply_to("GET")
    }

    pub fn read_reply_to(&mut self, method: &str) -> Reply {
        self.try_read_reply_to(method).expect("a whole response")
    }

    pub fn try_read(&mut self) -> Result<Reply, Broken> {
        self.try_read_reply_to("GET")
    }

    fn try_read_reply_to(&mut self, method: &str) -> Result<Reply, Broken> {
        let head = self.read_head()?;
        let status = head.word(1).parse().map_err(|_| Broken::Malformed(format!("{head:?}")))?;
        let body = self.wire.read_response_body(&head, method)?;
        Ok(Reply { status, head, body: body.content, trailers: body.trailers })
    }

    pub fn read_head(&mut self) -> Result<Head, Broken> {
        self.wire.read_head()
    }

    /// The gateway closes, without another byte and without a reset.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let (rest, end) = self.wire.read_to_end();
        let rest = String::from_utf8_lossy(&rest);
        assert_eq!((&*rest, end), ("", Broken::Closed), "the connection is closed");
    }

    /// The gateway says no more on this connection, however it ends it.
    #[track_caller]
    pub fn expect_ended(&mut self) {
        let (rest, end) = self.wire.read_to_end();
        let rest = String::from_utf8_lossy(&rest);
        assert_eq!(&*rest, "", "nothing more is said");
        assert!(matches!(end, Broken::Closed | Broken::Reset), "the connection has ended: {end:?}");
    }

    pub fn finish_sending(&mut self) -> &mut Self {
        self.wire.finish_sending();
        self
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        self.wire.reset_on_close();
    }
}
