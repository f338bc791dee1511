//! An upstream that speaks HTTP/2 and does what a test tells it to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::super::eventually;
use super::{Fields, fields_of, handle, map_of, read_piece, read_rest, send_piece, wait};

type Script = Arc<dyn Fn(&mut Served) + Send + Sync>;

/// Calls this for each request, on a thread of its own.
pub fn http2_origin(script: impl Fn(&mut Served) + Send + Sync + 'static) -> Http2Origin {
    http2_origin_with(Builder::new(), script)
}

/// The same with other settings.
pub fn http2_origin_with(
    builder: Builder,
    script: impl Fn(&mut Served) + Send + Sync + 'static,
) -> Http2Origin {
    let listener = wait("a port", TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    let state = Arc::new(State::default());
    let accepting = accept(listener, builder, Arc::new(script), Arc::clone(&state));
    let acceptor = handle().spawn(accepting).abort_handle();
    Http2Origin { address, state, acceptor }
}

async fn accept(listener: TcpListener, builder: Builder, script: Script, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = serve(stream, builder.clone(), Arc::clone(&script), Arc::clone(&state));
        let task = handle().spawn(connection);
        state.lock().connections.push(task.abort_handle());
    }
}

async fn serve(stream: TcpStream, builder: Builder, script: Script, state: Arc<State>) {
    stream.set_nodelay(true).expect("TCP_NODELAY is settable");
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let (goodbyes, mut goodbye) = tokio::sync::mpsc::unbounded_channel();
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Some(()) = goodbye.recv() => { connection.graceful_shutdown(); continue }
        };
        let Some(Ok((request, answer))) = accepted else { return };
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, ());
        let mut served = Served { request, body, answer, stream: None, goodbyes: goodbyes.clone() };
        state.lock().heads.push(Seen::of(&served.request));
        let script = Arc::clone(&script);
        thread::spawn(move || script(&mut served));
    }
}

/// A request's head as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub fields: Fields,
}

impl Seen {
    fn of(request: &Request<()>) -> Self {
        Self {
            method: request.method().to_string(),
            uri: request.uri().to_string(),
            fields: fields_of(request.headers()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct State(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    heads: Vec<Seen>,
    connections: Vec<AbortHandle>,
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way, as the origin sees it.
pub struct Served {
    pub request: Request<()>,
    body: RecvStream,
    answer: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
    goodbyes: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Served {
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    pub fn read_piece(&mut self) -> Option<Bytes> {
        read_piece(&mut self.body).ok().flatten()
    }

    /// The rest of the body, and the trailers behind it.
    pub fn read_rest(&mut self) -> (Vec<u8>, Fields) {
        read_rest(&mut self.body).expect("a whole request")
    }

    /// Waits until the gateway cancels the request.
    pub fn wait_for_reset(&mut self) -> h2::Reason {
        let reset = std::future::poll_fn(|cx| match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.answer.poll_reset(cx),
        });
        wait("a reset", reset).unwrap_or(h2::Reason::CANCEL)
    }

    pub fn interim(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.answer.send_informational(head(status, fields)).expect("the stream is open");
    }

    /// Begins a response with a body.
    pub fn respond(&mut self, status: u16, fields: &[(&str, &str)]) {
        let stream = self.answer.send_response(head(status, fields), false);
        self.stream = Some(stream.expect("the stream is open"));
    }

    /// A response without a body.
    pub fn respond_empty(&mut self, status: u16, fields: &[(&str, &str)]) {
        self.answer.send_response(head(status, fields), true).expect("the stream is open");
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.stream.as_mut().expect("the response has begun")
    }

    pub fn try_send(&mut self, piece: impl AsRef<[u8]>) -> Result<(), h2::Error> {
        send_piece(self.stream(), piece.as_ref(), false)
    }

    pub fn send(&mut self, piece: impl AsRef<[u8]>) {
        // The gateway may have gone: tests look at its other side.
        drop(self.try_send(piece));
    }

    pub fn finish(&mut self) {
        drop(send_piece(self.stream(), b"", true));
    }

    pub fn finish_with_trailers(&mut self, fields: &[(&str, &str)]) {
        drop(self.stream().send_trailers(map_of(fields)));
    }

    pub fn reset(&mut self, reason: h2::Reason) {
        match &mut self.stream {
            Some(stream) => stream.send_reset(reason),
            None => self.answer.send_reset(reason),
        }
    }

    /// Tells the gateway to open no more streams on this connection.
    pub fn say_goodbye(&self) {
        let _ = self.goodbyes.send(());
    }

    pub fn reply(&mut self, body: &str) {
        self.respond(200, &[("content-length", &body.len().to_string())]);
        self.send(body);
        self.finish();
    }
}

fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status).body(()).expect("a status");
    *response.headers_mut() = map_of(fields);
    response
}

/// A running origin.
pub struct Http2Origin {
    pub address: SocketAddr,
    state: Arc<State>,
    acceptor: AbortHandle,
}

impl Http2Origin {
    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.lock().heads.clone()
    }

    /// Connections ever made to it.
    pub fn connections(&self) -> usize {
        self.state.lock().connections.len()
    }

    pub fn wait_for_requests(&self, count: usize) {
        eventually("requests at the origin", || {
            (self.state.lock().heads.len() >= count).then_some(())
        });
    }

    /// Breaks all connections off, without a word.
    pub fn break_connections(&self) {
        self.state.lock().connections.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Http2Origin {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.break_connections();
    }
}
