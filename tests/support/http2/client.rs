//! A client of HTTP/2 that keeps to the rules.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{Fields, fields_of, handle, map_of, read_piece, read_rest, send_piece, wait};

/// A connection.
pub struct Http2Client {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// A whole response.
#[derive(Debug)]
pub struct Http2Reply {
    pub status: u16,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
}

impl Http2Reply {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }
}

impl Http2Client {
    /// By prior knowledge.
    pub fn connect(address: SocketAddr) -> Self {
        let (sender, driver) = wait("a connection of HTTP/2", async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("TCP_NODELAY is settable");
            let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
            (sender, handle().spawn(connection))
        });
        Self { sender, driver }
    }

    pub fn get(&mut self, target: &str) -> Http2Reply {
        self.request("GET", target, &[]).end().read()
    }

    /// Begins a request for the host `a`.
    pub fn request<'f>(
        &mut self,
        method: &'f str,
        target: &'f str,
        fields: &'f [(&'f str, &'f str)],
    ) -> Begun<'_, 'f> {
        Begun { client: self, method, target, fields }
    }

    /// Asks for a WebSocket by an extended CONNECT.
    pub fn websocket(&mut self, target: &str, fields: &[(&str, &str)]) -> Call {
        let sender = &mut self.sender;
        super::super::eventually("the settings of the gateway", || {
            sender.is_extended_connect_protocol_enabled().then_some(())
        });
        let request = Request::builder().method("CONNECT").uri(format!("http://a{target}"));
        let mut request = request.body(()).expect("a head");
        request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        *request.headers_mut() = map_of(fields);
        self.open(request, false)
    }

    fn open(&mut self, request: Request<()>, end: bool) -> Call {
        self.try_open(request, end).expect("the connection is open")
    }

    fn try_open(&mut self, request: Request<()>, end: bool) -> Result<Call, h2::Error> {
        let sender = &mut self.sender;
        wait("room for a request", std::future::poll_fn(|cx| sender.poll_ready(cx)))?;
        let (response, body) = sender.send_request(request, end)?;
        Ok(Call { response: Some(response), body, received: None })
    }

    /// Waits until the connection has ended, and says whether in an orderly way.
    pub fn wait_for_end(self) -> Result<(), h2::Error> {
        drop(self.sender);
        wait("the end of the connection", self.driver).expect("the driver does not panic")
    }

    /// Breaks the connection off.
    pub fn abort(self) {
        self.driver.abort();
    }
}

/// A request whose head has not been sent.
pub struct Begun<'c, 'f> {
    client: &'c mut Http2Client,
    method: &'f str,
    target: &'f str,
    fields: &'f [(&'f str, &'f str)],
}

impl Begun<'_, '_> {
    /// Without a body.
    pub fn end(self) -> Call {
        self.send(true)
    }

    /// The same, unless the connection takes no more requests.
    pub fn try_end(self) -> Result<Call, h2::Error> {
        let request = self.head();
        self.client.try_open(request, true)
    }

    /// With a body, which is sent next.
    pub fn open(self) -> Call {
        self.send(false)
    }

    /// With this body.
    pub fn body(self, content: impl AsRef<[u8]>) -> Call {
        let mut call = self.open();
        call.send(content);
        call.finish();
        call
    }

    fn send(self, end: bool) -> Call {
        let request = self.head();
        self.client.open(request, end)
    }

    fn head(&self) -> Request<()> {
        let uri = format!("http://a{}", self.target);
        let mut request = Request::builder().method(self.method).uri(uri).body(()).expect("a head");
        *request.headers_mut() = map_of(self.fields);
        request
    }
}

/// Whether this says that the server goes, and that it has not begun with the request.
pub fn is_farewell(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
}

/// A request on its way.
pub struct Call {
    response: Option<ResponseFuture>,
    body: SendStream<Bytes>,
    received: Option<RecvStream>,
}

impl Call {
    pub fn send(&mut self, piece: impl AsRef<[u8]>) {
        self.try_send(piece).expect("the stream is open");
    }

    pub fn try_send(&mut self, piece: impl AsRef<[u8]>) -> Result<(), h2::Error> {
        send_piece(&mut self.body, piece.as_ref(), false)
    }

    pub fn finish(&mut self) {
        send_piece(&mut self.body, b"", true).expect("the stream is open");
    }

    pub fn finish_with_trailers(&mut self, fields: &[(&str, &str)]) {
        self.body.send_trailers(map_of(fields)).expect("the stream is open");
    }

    pub fn reset(&mut self, reason: h2::Reason) {
        self.body.send_reset(reason);
    }

    /// The head of the next interim response.
    pub fn read_interim(&mut self) -> Response<()> {
        let response = self.response.as_mut().expect("the response has not been read");
        let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
        wait("an interim response", interim).expect("it is interim").expect("the stream is open")
    }

    /// Status and fields of the response.
    pub fn try_read_head(&mut self) -> Result<(u16, Fields), h2::Error> {
        let mut response = self.response.take().expect("a head is read once");
        let response = std::future::poll_fn(|cx| Pin::new(&mut response).poll(cx));
        let (head, body) = wait("a response", response)?.into_parts();
        self.received = Some(body);
        Ok((head.status.as_u16(), fields_of(&head.headers)))
    }

    pub fn read_head(&mut self) -> (u16, Fields) {
        self.try_read_head().expect("a response")
    }

    fn received(&mut self) -> &mut RecvStream {
        self.received.as_mut().expect("the head has been read")
    }

    pub fn try_read_piece(&mut self) -> Result<Option<Bytes>, h2::Error> {
        read_piece(self.received())
    }

    pub fn read_piece(&mut self) -> Bytes {
        self.try_read_piece().expect("the stream is open").expect("there is a piece")
    }

    /// The whole response.
    pub fn try_read(mut self) -> Result<Http2Reply, h2::Error> {
        let (status, fields) = self.try_read_head()?;
        let (body, trailers) = read_rest(self.received())?;
        Ok(Http2Reply { status, fields, body, trailers })
    }

    pub fn read(self) -> Http2Reply {
        self.try_read().expect("a whole response")
    }
}
