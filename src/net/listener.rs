//! Listening sockets: one for each worker on each address.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::socket::accept_now;
use crate::runtime::core::Core;
use crate::runtime::io::{Sleep, Source, yield_now};

/// Connections that may wait to be accepted. The kernel takes the smaller of this and
/// net.core.somaxconn.
const BACKLOG: i32 = 65_535;

/// Connections taken in one go before other tasks have their turn.
const ACCEPT_BURST: usize = 64;

/// How long to leave the queue alone when descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// How long an address may be held by nobody: the kernel takes the ring of a killed process apart
/// in the background, and with it the listening sockets that it polls. Measured: up to 13 ms on
/// an idle machine. Who starts a new process at once must not be turned away for that.
const RELEASE_TIME: Duration = Duration::from_millis(500);

/// Makes `count` listening sockets on one address; the kernel spreads connections over them.
///
/// Port 0 takes one free port for all of them.
pub fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // `[::]` and `0.0.0.0` are two listeners, as the configuration says.
            socket.set_only_v6(true)?;
        }
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        let socket = OwnedFd::from(socket);
        if address.port() == 0 {
            address = local_address(&socket)?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Whether someone else listens on this address already. SO_REUSEPORT would let us share the
/// port with another process of the same user, each getting a part of the connections.
///
/// Takes up to [`RELEASE_TIME`] to say yes.
pub fn is_taken(address: SocketAddr) -> bool {
    if address.port() == 0 {
        return false;
    }
    let since = Instant::now();
    while is_taken_now(address) {
        if since.elapsed() >= RELEASE_TIME {
            return true;
        }
        // Waking early does no harm.
        std::thread::park_timeout(RELEASE_TIME / 100);
    }
    false
}

fn is_taken_now(address: SocketAddr) -> bool {
    let attempt =
        socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            socket.bind(&SockAddr::from(address))?;
            socket.listen(1)
        });
    attempt.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// The address that a listening socket has got.
pub fn local_address(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address = SockRef::from(socket).local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("a TCP socket has an internet address"))
}

/// A listening socket as its worker uses it.
pub struct Listener {
    source: Source,
}

impl Listener {
    pub fn new(core: &Rc<Core>, fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { source: Source::new(core, fd)? })
    }

    /// Accepts connections for as long as `goes_on` says so. Only readiness is waited for, never an accept itself, so
    /// that nothing can be accepted after this future is dropped.
    ///
    /// # Errors
    ///
    /// The listening socket is broken.
    pub async fn accept_each(
        &self,
        goes_on: impl Fn() -> bool,
        mut each: impl FnMut(OwnedFd, SocketAddr),
    ) -> io::Result<()> {
        while goes_on() {
            yield_now().await;
            for _ in 0..ACCEPT_BURST {
                match accept_now(&self.source) {
                    Ok((fd, peer)) => each(fd, peer),
                    Err(error) => match pause_after(&error) {
                        Pause::Wait => {
                            if !self.wait_for_connection(&goes_on).await? {
                                return Ok(());
                            }
                        }
                        Pause::Next => {}
                        Pause::Exhausted => {
                            tracing::warn!(%error, "cannot accept; raise LimitNOFILE or memory");
                            Sleep::for_time(self.source.core(), EXHAUSTED_PAUSE).await;
                        }
                        Pause::Broken => return Err(error),
                    },
                }
            }
        }
        Ok(())
    }

    /// `false` when accepting is over; whoever ends it wakes every task.
    async fn wait_for_connection(&self, goes_on: &impl Fn() -> bool) -> io::Result<bool> {
        poll_fn(|cx| match goes_on() {
            true => self.source.poll_readable(cx).map_ok(|()| true),
            false => Poll::Ready(Ok(false)),
        })
        .await
    }

    /// Takes what is queued now, without waiting.
    pub fn accept_queued(&self, mut each: impl FnMut(OwnedFd, SocketAddr)) {
        while let Ok((fd, peer)) = accept_now(&self.source) {
            each(fd, peer);
        }
    }
}

enum Pause {
    Wait,
    Next,
    Exhausted,
    Broken,
}

/// accept(2) reports errors of the connection, of the process, and of the socket alike.
fn pause_after(error: &io::Error) -> Pause {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Pause::Wait,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Pause::Exhausted,
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) | None => {
            Pause::Broken
        }
        // The connection was reset in the queue, or the network had news about it.
        Some(_) => Pause::Next,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_address_that_another_socket_listens_on_is_taken() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_taken(other.local_addr().unwrap()));
    }

    #[test]
    fn an_address_that_is_about_to_be_released_is_waited_for() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let release = std::thread::spawn(move || {
            std::thread::park_timeout(RELEASE_TIME / 10);
            drop(other);
        });
        assert!(!is_taken(address));
        release.join().unwrap();
    }
}
