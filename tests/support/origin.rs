//! An upstream that does what a test tells it to, and remembers what it was sent.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustls::{ServerConfig, ServerConnection};

use super::eventually;
use super::tls::Tls;
use super::wire::{Broken, Head, Wire};

/// An origin that answers `200` with a short body until it is told otherwise.
pub fn origin() -> OriginBuilder {
    OriginBuilder { script: Arc::new(|_| {}), tls: None }.reply("hello")
}

/// A whole request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Head,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// Its place among all requests, from 0.
    pub number: usize,
}

impl Request {
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }
}

type Script = Arc<dyn Fn(&mut Connection) + Send + Sync>;

pub struct OriginBuilder {
    script: Script,
    tls: Option<Arc<ServerConfig>>,
}

impl OriginBuilder {
    /// Speaks TLS.
    pub fn private(self, tls: ServerConfig) -> Self {
        Self { tls: Some(Arc::new(tls)), ..self }
    }

    /// Answers each request with this body.
    pub fn reply(self, body: &str) -> Self {
        let length = body.len();
        self.reply_raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// Answers each request with these bytes.
    pub fn reply_raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.on(move |_, connection| connection.send(&bytes))
    }

    /// Calls this for each whole request.
    pub fn on(self, each: impl Fn(&Request, &mut Connection) + Send + Sync + 'static) -> Self {
        self.serve(move |connection| {
            while let Some(request) = connection.read_request() {
                each(&request, connection);
                if connection.is_closed {
                    return;
                }
            }
        })
    }

    /// Leaves each connection to this, reading included. It is closed when that returns.
    pub fn serve(self, script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        Self { script: Arc::new(script), ..self }
    }

    pub fn start(self) -> Origin {
        self.start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// For an origin that comes back where one has been.
    pub fn start_at(self, address: SocketAddr) -> Origin {
        let listener = TcpListener::bind(address).expect("a free port");
        // std asks for a queue of 128: more streams than that at once would wait for a second SYN.
        socket2::SockRef::from(&listener).listen(4096).expect("a longer queue");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let listener = listener.try_clone().expect("a descriptor is free");
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, &self))
        };
        Origin { address, listener, shared, acceptor: Some(acceptor) }
    }
}

impl OriginBuilder {
    fn wire(&self, stream: TcpStream) -> Wire {
        match &self.tls {
            None => Wire::new(stream),
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(tls)).expect("a server");
                Wire::private(stream, Tls::Server(Box::new(connection)))
            }
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, is: &OriginBuilder) {
    while let Ok((stream, _)) = listener.accept() {
        let mut seen = shared.lock();
        let index = seen.streams.len();
        seen.streams.push(Some(stream.try_clone().expect("a descriptor is free")));
        let mut connection = Connection {
            wire: is.wire(stream),
            index,
            is_closed: false,
            shared: Arc::clone(shared),
        };
        let script = Arc::clone(&is.script);
        seen.join_finished();
        seen.threads.push(thread::spawn(move || {
            script(&mut connection);
        }));
    }
}

#[derive(Default)]
struct Shared(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    /// Connections that ended or broke within a request.
    cut: usize,
    /// Connections that the script is done with.
    ended: usize,
    /// One for each connection ever accepted; gone when the script is done with it.
    streams: Vec<Option<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
    has_panicked: bool,
}

impl Seen {
    /// A thread that has ended keeps its stack until it is joined.
    fn join_finished(&mut self) {
        let threads = std::mem::take(&mut self.threads);
        let (finished, running) = threads.into_iter().partition(JoinHandle::is_finished);
        self.threads = running;
        self.has_panicked |= join_all(finished);
    }
}

/// Waits for all of them, and says whether one panicked.
fn join_all(threads: Vec<JoinHandle<()>>) -> bool {
    let ends: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    ends.iter().any(Result::is_err)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The origin's end of a connection.
pub struct Connection {
    wire: Wire,
    pub index: usize,
    is_closed: bool,
    shared: Arc<Shared>,
}

impl Connection {
    /// The next request with its whole body; `None` when there will be none.
    pub fn read_request(&mut self) -> Option<Request> {
        let head = self.read_head()?;
        self.read_rest_of(head)
    }

    /// The next head, with the body still to be read.
    pub fn read_head(&mut self) -> Option<Head> {
        let head = self.wire.read_head();
        self.whole(head)
    }

    /// The body that belongs to a head; the request counts as seen with that.
    pub fn read_rest_of(&mut self, head: Head) -> Option<Request> {
        let body = self.wire.read_request_body(&head);
        let body = self.whole(body)?;
        let mut seen = self.shared.lock();
        let number = seen.requests.len();
        let request = Request { head, body: body.content, trailers: body.trailers, number };
        seen.requests.push(request.clone());
        Some(request)
    }

    fn whole<T>(&self, read: Result<T, Broken>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(Broken::Closed) => None,
            Err(Broken::Cut | Broken::Reset) => {
                self.shared.lock().cut += 1;
                None
            }
            Err(Broken::TimedOut) => panic!("the gateway left its request unfinished"),
            Err(Broken::Malformed(what)) => panic!("the gateway sent a malformed {what}"),
        }
    }

    /// Sends it, if the gateway is still there.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.wire.send(bytes.as_ref()));
    }

    /// `200` with this body.
    pub fn reply(&mut self, body: &str) {
        let length = body.len();
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"));
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Ends the connection in an orderly way.
    pub fn close(&mut self) {
        self.wire.finish_sending();
        self.is_closed = true;
    }

    /// Ends the stream below TLS, which says nothing of it.
    pub fn cut(&mut self) {
        drop(self.wire.stream().shutdown(Shutdown::Both));
        self.is_closed = true;
    }

    /// Ends the connection by a reset.
    pub fn reset(&mut self) {
        self.wire.reset_on_close();
        self.is_closed = true;
    }

    /// Waits until the gateway says something or closes, and ends the connection.
    pub fn wait_for_anything_and_close(&mut self) {
        drop(self.wire.peek());
        self.close();
    }

    /// Waits until the gateway has closed its end.
    pub fn wait_for_close(&mut self) {
        let (rest, end) = self.wire.read_to_end();
        assert_ne!(end, Broken::TimedOut, "the gateway keeps its connection open");
        assert!(rest.is_empty(), "the gateway sent {:?}", String::from_utf8_lossy(&rest));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut seen = self.shared.lock();
        seen.streams[self.index] = None;
        seen.ended += 1;
    }
}

/// A running origin.
pub struct Origin {
    pub address: SocketAddr,
    listener: TcpListener,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Every whole request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    pub fn requests_seen(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// The only request there was.
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Connections ever made to it.
    pub fn connections(&self) -> usize {
        self.shared.lock().streams.len()
    }

    /// Connections that the gateway left within a request.
    pub fn requests_cut(&self) -> usize {
        self.shared.lock().cut
    }

    pub fn wait_for_requests(&self, count: usize) {
        eventually("requests at the origin", || (self.requests_seen() >= count).then_some(()));
    }

    /// Waits until that many connections have ended.
    pub fn wait_for_ends(&self, count: usize) {
        eventually("the end of connections", || (self.shared.lock().ended >= count).then_some(()));
    }

    /// Closes the idle connections, as a server does that has had enough of them, and goes on
    /// listening.
    pub fn close_connections(&self) {
        let seen = self.shared.lock();
        for stream in seen.streams.iter().flatten() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn stop_listening(&self) {
        // SAFETY: the descriptor is open for as long as `self.listener`.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

/// Ends the origin; a panic in its script fails the test.
impl Drop for Origin {
    fn drop(&mut self) {
        self.stop_listening();
        let mut failed = join_all(self.acceptor.take().into_iter().collect());
        self.close_connections();
        let threads = std::mem::take(&mut self.shared.lock().threads);
        failed |= join_all(threads) | self.shared.lock().has_panicked;
        assert!(!failed || thread::panicking(), "an origin panicked");
    }
}
