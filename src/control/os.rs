//! What std has no safe call for: descriptors that cross from one process to another, and the
//! clock that systemd reads.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use socket2::SockAddr;

/// The first number behind the standard streams.
const FIRST: RawFd = 3;

/// Descriptors that one message may carry: SCM_MAX_FD of the kernel.
pub(super) const DESCRIPTORS_MAX: usize = 253;

/// Takes over a descriptor that this process was started with. It does not cross the next exec.
///
/// # Errors
///
/// No such descriptor is open, or it was not inherited.
pub(super) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST {
        return Err(io::Error::other("the standard streams are not passed on"));
    }
    // SAFETY: takes no pointers; any number may be asked about.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other("this process has opened it itself"));
    }
    // SAFETY: takes no pointers; the descriptor is open.
    if unsafe { libc::fcntl(number, libc::F_SETFD, flags | libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and nobody here owns it: whatever this process opens is closed on exec
    // from the beginning, which this one was not, and one that was taken over is so by now.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a datagram with descriptors (unix(7), SCM_RIGHTS); at most [`DESCRIPTORS_MAX`].
pub(super) fn send_descriptors(
    socket: &UnixDatagram,
    target: &SockAddr,
    text: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let bytes =
        u32::try_from(size_of_val(&numbers[..])).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: arithmetic on a number.
    let (space, length) = unsafe { (libc::CMSG_SPACE(bytes), libc::CMSG_LEN(bytes)) };
    // Of u64, since a header has to be aligned.
    let mut control = vec![0u64; (space as usize).div_ceil(size_of::<u64>())];
    let mut piece = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = target.as_ptr().cast_mut().cast();
    message.msg_namelen = target.len();
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    if !numbers.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = space as _;
        // SAFETY: `control` has room for one header and `bytes` behind it, by CMSG_SPACE, so the
        // first header exists and its data too.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = length as _;
            let data = libc::CMSG_DATA(header);
            std::ptr::copy_nonoverlapping(numbers.as_ptr().cast(), data, bytes as usize);
        }
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: name, piece and control data live during the call, which only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CLOCK_MONOTONIC in microseconds, which `std::time::Instant` does not tell.
pub(super) fn monotonic_micros() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that is writable for the call. The clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_this_process_has_opened_is_not_inherited() {
        let file = File::open("/dev/null").unwrap();
        assert!(inherited(file.as_raw_fd()).is_err());
        assert!(inherited(1).is_err());
        assert!(inherited(1 << 20).is_err());
    }

    #[test]
    fn what_crosses_an_exec_can_be_taken_once() {
        let socket = socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let (near, _far) = socket.unwrap();
        near.set_cloexec(false).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(near);
        let taken = inherited(number).unwrap();
        assert!(inherited(number).is_err());
        drop(taken);
    }

    #[test]
    fn descriptors_cross_with_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let target = SockAddr::unix(&path).unwrap();
        let fds = [std::os::fd::AsFd::as_fd(&near), std::os::fd::AsFd::as_fd(&far)];
        send_descriptors(&sender, &target, b"FDSTORE=1", &fds).unwrap();
        let mut text = [0; 64];
        let length = receiver.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"FDSTORE=1");
    }
}
