//! One check: a connection of its own, perhaps a handshake, perhaps a request.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::plan::{Ask, Plan};
use super::{http1, http2};
use crate::http::proxy_protocol::Ends;
use crate::net::socket::Peer;
use crate::policy::health::{HttpProbe, Outcome};

/// Why a check did not pass.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) outcome: Outcome,
    /// For the operator.
    pub(super) detail: String,
}

impl Failure {
    pub(super) fn new(outcome: Outcome, detail: impl ToString) -> Self {
        let failure = Self { outcome, detail: detail.to_string() };
        debug_assert!(failure.outcome != Outcome::Passed);
        failure
    }

    /// The connection broke before the answer was whole.
    pub(super) fn closed(error: impl ToString) -> Self {
        Self::new(Outcome::Closed, error)
    }
}

/// What an answer is read from.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Checks the endpoint at one of its addresses.
///
/// # Errors
///
/// What was found wrong.
pub(super) async fn check(plan: &Plan, peer: &Peer) -> Result<(), Failure> {
    let checked = tokio::time::timeout(plan.pace.timeout, ask(plan, peer)).await;
    checked.unwrap_or_else(|_| {
        Err(Failure::new(Outcome::Timeout, format!("not done within {:?}", plan.pace.timeout)))
    })
}

async fn ask(plan: &Plan, peer: &Peer) -> Result<(), Failure> {
    let stream = open(plan, peer).await?;
    let stream: Box<dyn Stream> = match &plan.tls {
        None => stream,
        Some((client, name)) => {
            let connector = TlsConnector::from(client.config());
            let private = connector.connect(name.clone(), stream).await;
            Box::new(private.map_err(|error| Failure::new(Outcome::TlsFailed, error))?)
        }
    };
    match &plan.ask {
        Ask::Nothing => Ok(()),
        Ask::Http1 { request, wanted } => http1::ask(stream, request, wanted).await,
        Ask::Http2 { authority, wanted } => {
            http2::ask(stream, authority, plan.tls.is_some(), wanted).await
        }
    }
}

async fn open(plan: &Plan, peer: &Peer) -> Result<Box<dyn Stream>, Failure> {
    let stream: Box<dyn Stream> = match peer {
        Peer::Tcp(address) => {
            let mut stream = TcpStream::connect(address).await.map_err(|e| not_connected(&e))?;
            // The answer is all that matters: no closing handshake, and no port that is kept for a
            // minute after each check.
            drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
            if plan.proxy_protocol.is_some() {
                announce(plan, &mut stream, *address).await.map_err(Failure::closed)?;
            }
            Box::new(stream)
        }
        Peer::Unix(path) => {
            Box::new(UnixStream::connect(path).await.map_err(|e| not_connected(&e))?)
        }
        Peer::Abstract(name) => {
            let stream = abstract_socket(name).map_err(|error| not_connected(&error))?;
            Box::new(stream)
        }
    };
    Ok(stream)
}

fn abstract_socket(name: &str) -> io::Result<UnixStream> {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// An endpoint that wants to know whose connection it gets is told that it is ours.
async fn announce(plan: &Plan, stream: &mut TcpStream, peer: SocketAddr) -> io::Result<()> {
    let Some(version) = plan.proxy_protocol else { return Ok(()) };
    let mut header = Vec::new();
    version.write(&Ends { source: stream.local_addr()?, destination: peer }, &mut header);
    stream.write_all(&header).await
}

fn not_connected(error: &io::Error) -> Failure {
    let is_ours = matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS | libc::EADDRNOTAVAIL)
    );
    Failure::new(if is_ours { Outcome::Skipped } else { Outcome::ConnectFailed }, error)
}

/// Whether an answer of this status is as it should be.
pub(super) fn expect_status(wanted: &HttpProbe, status: u16) -> Result<(), Failure> {
    match wanted.statuses.iter().any(|range| range.contains(&status)) {
        true => Ok(()),
        false => Err(Failure::new(Outcome::WrongStatus, format!("status {status}"))),
    }
}

/// How much of a body is looked through.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The body of an answer in which a text is looked for, as far as it has come.
pub(super) struct Body<'a> {
    wanted: &'a str,
    content: Vec<u8>,
}

impl<'a> Body<'a> {
    pub(super) fn new(wanted: &'a str) -> Self {
        Self { wanted, content: Vec::new() }
    }

    /// Takes in a piece, and says whether the text is there.
    ///
    /// # Errors
    ///
    /// It is not there within the bytes that are looked through.
    pub(super) fn add(&mut self, piece: &[u8]) -> Result<bool, Failure> {
        // The text may have begun in the piece before.
        let from = self.content.len().saturating_sub(self.wanted.len());
        let room = BODY_BYTES_MAX - self.content.len();
        self.content.extend_from_slice(&piece[..piece.len().min(room)]);
        let is_there =
            memchr::memmem::find(&self.content[from..], self.wanted.as_bytes()).is_some();
        match !is_there && self.content.len() >= BODY_BYTES_MAX {
            true => Err(self.lacks()),
            false => Ok(is_there),
        }
    }

    /// The body has ended without it.
    pub(super) fn lacks(&self) -> Failure {
        let read = self.content.len();
        Failure::new(Outcome::WrongBody, format!("the text is not in the {read} bytes of the body"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_wherever_the_pieces_are_cut() {
        let whole = b"all is well here";
        for cut in 0..whole.len() {
            let mut body = Body::new("is well");
            let found = body.add(&whole[..cut]).unwrap() | body.add(&whole[cut..]).unwrap();
            assert!(found, "cut at {cut}");
        }
    }

    #[test]
    fn a_text_beyond_the_bytes_that_are_looked_through_is_not_there() {
        let mut body = Body::new("well");
        assert!(!body.add(&[b' '; BODY_BYTES_MAX - 1]).unwrap());
        assert!(body.add(b"well").is_err());
        let mut body = Body::new("well");
        body.add(&[b' '; BODY_BYTES_MAX - 4]).unwrap();
        assert!(body.add(b"well").unwrap());
    }
}
