//! A connected stream socket: TCP, or a Unix socket.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::descriptors::{self, Room};
use crate::runtime::buffers::Chunk;
use crate::runtime::core::Core;
use crate::runtime::io::{Deadline, Source};

/// Pieces that one send gathers. A head and a chunk of body with its framing are five.
const GATHER_MAX: usize = 16;

/// A stream socket of this worker. Receiving polls the ring; sending is tried at once.
pub struct Socket {
    source: Source,
}

/// When bytes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    AtOnce,
    /// With those of others when this turn of the loop ends, if they are few and the driver can
    /// gather sends. For a connection that stays: one that is closed in the same turn gives up
    /// what the kernel does not take of them.
    WithTurn,
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// A name in the abstract namespace.
    Abstract(String),
}

impl Peer {
    fn to_sockaddr(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(address) => Ok(SockAddr::from(*address)),
            Self::Unix(path) => SockAddr::unix(path),
            Self::Abstract(name) => SockAddr::unix(format!("\0{name}")),
        }
    }
}

impl Socket {
    /// Takes over a connection that a [`super::listener::Listener`] has accepted.
    pub fn accepted(core: &Rc<Core>, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { source: Source::new(core, fd)? })
    }

    /// Connects, within the deadline; fails with EMFILE when hardly any descriptors are left.
    pub async fn connect(core: &Rc<Core>, peer: &Peer, deadline: &Deadline) -> io::Result<Self> {
        let address = peer.to_sockaddr()?;
        let is_tcp = matches!(peer, Peer::Tcp(_));
        let protocol = is_tcp.then_some(Protocol::TCP);
        let socket = socket2::Socket::new(
            Domain::from(i32::from(address.family())),
            Type::STREAM.nonblocking().cloexec(),
            protocol,
        )?;
        if descriptors::room_at(&socket) != Room::Enough {
            return Err(descriptors::exhausted());
        }
        if is_tcp {
            socket.set_tcp_nodelay(true)?;
        }
        core.stats().syscalls.add(3);
        let connecting = match socket.connect(&address) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
            Err(error) => return Err(error),
        };
        let socket = Self { source: Source::new(core, socket.into())? };
        if connecting {
            deadline.limit(|cx| socket.source.poll_writable(cx)).await?;
            core.stats().syscalls.add(1);
            if let Some(error) = SockRef::from(&socket.source).take_error()? {
                return Err(error);
            }
        }
        Ok(socket)
    }

    pub fn core(&self) -> &Rc<Core> {
        self.source.core()
    }

    /// The next received bytes; `None` at the end of the stream. Nothing is lost when the caller
    /// stops waiting: the next call finds it.
    pub fn poll_recv(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.source.poll_recv(cx)
    }

    /// The same for an answer that cannot be there yet.
    pub fn poll_recv_later(&self, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        self.source.poll_recv_later(cx)
    }

    /// Ready with the number of bytes that have arrived, 0 at the end of the stream. As many as
    /// fit are copied to `bytes`; all of them stay to be received.
    ///
    /// For what comes before the first receive: one that is under way takes bytes as they come.
    pub fn poll_peek(&self, cx: &Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.recv_now(bytes, libc::MSG_PEEK) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.source.poll_readable(cx) {
                        // Readiness from before this look: look again.
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Takes bytes that were peeked at off the stream.
    ///
    /// # Errors
    ///
    /// The connection broke meanwhile.
    pub fn skip_peeked(&self, bytes: &mut [u8]) -> io::Result<()> {
        match self.recv_now(bytes, 0)? {
            count if count == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn recv_now(&self, bytes: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        self.core().stats().syscalls.add(1);
        let flags = flags | libc::MSG_DONTWAIT;
        // SAFETY: the pointer and length describe `bytes`, which is writable for the call.
        let count = unsafe {
            libc::recv(self.source.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags)
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// The address that the peer has connected to.
    ///
    /// # Errors
    ///
    /// It is a Unix socket.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.core().stats().syscalls.add(1);
        let address = SockRef::from(&self.source).local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Whether neither data nor an end nor an error has come. For a connection that lies idle
    /// this is the proof that it can be used.
    pub fn is_quiet(&self) -> bool {
        self.source.is_quiet()
    }

    /// Ready once the peer has ended or broken the connection, whatever lies unread before that.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        self.source.poll_ended(cx)
    }

    /// Sends what the socket takes now; `WouldBlock` if it takes nothing.
    fn send_now(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.core().stats().syscalls.add(1);
        if let [only] = pieces {
            return self.send_one(only);
        }
        let pieces = &pieces[..pieces.len().min(GATHER_MAX)];
        // SAFETY: all zeroes is a valid msghdr: no name, no pieces, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = pieces.as_ptr().cast::<libc::iovec>().cast_mut();
        message.msg_iovlen = pieces.len();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `IoSlice` has the layout of iovec by its documentation; the pieces borrow
        // their bytes for the call, and sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(self.source.as_raw_fd(), &raw const message, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// send(2) spares the kernel reading a list of pieces: some 0.15 µs of 5.
    fn send_one(&self, bytes: &[u8]) -> io::Result<usize> {
        self.source.send_now(bytes)
    }

    /// Sends one piece whole, within the deadline.
    pub async fn send_bytes(&self, bytes: &[u8], deadline: &Deadline) -> io::Result<()> {
        self.send_all(&mut [IoSlice::new(bytes)], Leave::AtOnce, deadline).await
    }

    /// Sends as much as the socket takes, waiting until that is more than nothing.
    pub fn poll_send(
        &self,
        cx: &Context<'_>,
        pieces: &[IoSlice<'_>],
        leave: Leave,
    ) -> Poll<io::Result<usize>> {
        if leave == Leave::WithTurn && self.source.send_later(pieces) {
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        ready!(self.source.poll_sendable(cx))?;
        loop {
            match self.send_now(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.source.poll_writable(cx) {
                        // Readiness from before this send: look again.
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Sends all pieces, within the deadline.
    pub async fn send_all(
        &self,
        pieces: &mut [IoSlice<'_>],
        leave: Leave,
        deadline: &Deadline,
    ) -> io::Result<()> {
        let mut pieces = pieces;
        // Empty pieces in front go; of nothing at all nothing is sent.
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            let sent = deadline.limit(|cx| self.poll_send(cx, pieces, leave)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut pieces, sent);
        }
        Ok(())
    }

    /// Says that nothing more will be sent; what was sent still arrives.
    pub fn finish_sending(&self) {
        // What waits for the end of the turn has to leave before.
        let _ = self.source.poll_sendable(&Context::from_waker(Waker::noop()));
        self.core().stats().syscalls.add(1);
        // The peer may be gone already, which is as good.
        let _ = SockRef::from(&self.source).shutdown(std::net::Shutdown::Write);
    }

    /// Drops what was not delivered and answers with a reset when this socket closes: the only
    /// way to tell an HTTP/1 peer that a body which ends with the connection is not whole.
    pub fn reset_on_close(&self) {
        self.core().stats().syscalls.add(1);
        let _ = SockRef::from(&self.source).set_linger(Some(std::time::Duration::ZERO));
    }

    /// A pair of connected sockets, for tests.
    pub fn pair(core: &Rc<Core>) -> io::Result<(Self, Self)> {
        let (near, far) =
            socket2::Socket::pair(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        Ok((
            Self { source: Source::new(core, near.into())? },
            Self { source: Source::new(core, far.into())? },
        ))
    }
}

/// Accepts one waiting connection; `WouldBlock` if there is none.
pub(super) fn accept_now(listener: &Source) -> io::Result<(OwnedFd, SocketAddr)> {
    listener.core().stats().syscalls.add(1);
    // SAFETY: socket2 passes a storage of the right size, which accept4 fills.
    let (fd, address) = unsafe {
        SockAddr::try_init(|storage, len| {
            let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            let fd = libc::accept4(listener.as_raw_fd(), storage.cast(), len, flags);
            if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
        })?
    };
    // Listening sockets are internet sockets (`bind`).
    let peer = address.as_socket().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
    Ok((fd, peer))
}
