//! Listening sockets: one for each worker on each address.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Type};

use super::descriptors::{self, Room};
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

/// Lets nobody begin to connect any more, while those who have begun get in. Who tries later hears
/// nothing, asks again after a second, and finds the socket closed.
///
/// Holds for everybody who has this socket, and for as long as it lives.
pub fn turn_away(socket: &OwnedFd) -> io::Result<()> {
    /// Where the flags stand in a TCP header, and the one of the first segment (RFC 9293, 3.1).
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(IF_ANY_BIT, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
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
        // Accepted connections inherit it, which spares a call for each. Every write is a whole
        // message or event: waiting for more would only delay it.
        SockRef::from(&fd).set_tcp_nodelay(true)?;
        Ok(Self { source: Source::new(core, fd)? })
    }

    /// Accepts connections for as long as `goes_on` says so; who ends that wakes every task. Only
    /// readiness is waited for, never an accept itself, so that nothing can be accepted after
    /// this future is dropped.
    ///
    /// # Errors
    ///
    /// The listening socket is broken.
    pub async fn accept_each(
        &self,
        goes_on: impl Fn() -> bool,
        mut each: impl FnMut(OwnedFd, SocketAddr),
    ) -> io::Result<()> {
        let may_leave_some = self.source.reports_again();
        let mut pace = Pace::default();
        while goes_on() {
            let most = if may_leave_some { pace.most } else { ACCEPT_BURST };
            match self.accept_up_to(most, &mut each) {
                Taken::Most if may_leave_some => {
                    pace.found_most();
                    self.wait_for_connection(&goes_on).await?;
                }
                Taken::Most => yield_now().await,
                Taken::All(count) => {
                    pace.found_all(count);
                    self.wait_for_connection(&goes_on).await?;
                }
                Taken::Reserved(fd, peer) => {
                    tracing::warn!("descriptors run out: accepting pauses; raise LimitNOFILE");
                    each(self.wait_for_room(fd, &goes_on).await, peer);
                }
                Taken::Failed(error) if is_exhaustion(&error) => {
                    tracing::warn!(%error, "cannot accept; raise LimitNOFILE or memory");
                    Sleep::for_time(self.source.core(), EXHAUSTED_PAUSE).await;
                }
                Taken::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn accept_up_to(&self, most: usize, each: &mut impl FnMut(OwnedFd, SocketAddr)) -> Taken {
        for count in 0..most {
            match accept_now(&self.source) {
                Ok((fd, peer)) => match descriptors::room_at(&fd) {
                    Room::Enough => each(fd, peer),
                    Room::Reserved => return Taken::Reserved(fd, peer),
                    // Not even to wait in: it is closed.
                    Room::Last => return Taken::Failed(descriptors::exhausted()),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Taken::All(count);
                }
                Err(error) if is_exhaustion(&error) || is_broken(&error) => {
                    return Taken::Failed(error);
                }
                // The connection was reset in the queue, or the network had news about it.
                Err(_) => {}
            }
        }
        Taken::Most
    }

    /// Keeps a connection waiting, and with it those behind it in the queue, until there is room
    /// outside of the reserve. Also ends when accepting is over.
    async fn wait_for_room(&self, fd: OwnedFd, goes_on: &impl Fn() -> bool) -> OwnedFd {
        while goes_on() {
            Sleep::for_time(self.source.core(), EXHAUSTED_PAUSE).await;
            // A duplicate gets the lowest number that is free.
            match fd.try_clone() {
                Ok(lower) if descriptors::room_at(&lower) == Room::Enough => return lower,
                _ => {}
            }
        }
        fd
    }

    /// Also ends when accepting is over.
    async fn wait_for_connection(&self, goes_on: &impl Fn() -> bool) -> io::Result<()> {
        poll_fn(|cx| match goes_on() {
            true => self.source.poll_readable(cx),
            false => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Takes what is queued now, without waiting. No more than a queue can hold: connections
    /// that come faster than they are taken must not make this go on for ever.
    pub fn accept_queued(&self, mut each: impl FnMut(OwnedFd, SocketAddr)) {
        // Whatever ended it: there is nobody left whom it could be told.
        let _ = self.accept_up_to(BACKLOG as usize, &mut each);
    }
}

/// How many connections to accept before readiness is asked for again.
///
/// An accept that finds nobody costs nearly as much as one that does, since the kernel makes a
/// socket for it first. So no more are tried than are likely to be there: where connections come
/// one by one, one.
struct Pace {
    most: usize,
    /// Goes in a row that did not empty the queue.
    full: u32,
}

/// Full goes after which more are tried: a burst takes some fifty turns to be taken at full pace.
const FULL_GOES: u32 = 8;

impl Default for Pace {
    fn default() -> Self {
        Self { most: 1, full: 0 }
    }
}

impl Pace {
    fn found_most(&mut self) {
        self.full += 1;
        if self.full == FULL_GOES {
            *self = Self { most: (2 * self.most).min(ACCEPT_BURST), full: 0 };
        }
    }

    fn found_all(&mut self, count: usize) {
        *self = Self { most: count.max(1), full: 0 };
    }
}

/// What came of accepting.
enum Taken {
    /// As many as wanted; there may be more.
    Most,
    /// As many as there were.
    All(usize),
    /// This one, with a descriptor of the reserve.
    Reserved(OwnedFd, SocketAddr),
    Failed(io::Error),
}

/// Descriptors or memory have run out.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// The listening socket is of no use any more. accept(2) reports errors of the connection, of the
/// process, and of the socket alike.
fn is_broken(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) | None
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_queue_that_never_empties_is_taken_in_larger_goes() {
        let mut pace = Pace::default();
        let mut goes = 0;
        while pace.most < ACCEPT_BURST {
            pace.found_most();
            goes += 1;
        }
        assert_eq!(goes, 6 * FULL_GOES);
        pace.found_all(3);
        assert_eq!(pace.most, 3);
        pace.found_all(0);
        assert_eq!(pace.most, 1);
    }

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
