//! Descriptors as a resource: as many as the system allows, some of them kept back.
//!
//! A gateway that has run out of descriptors must still answer its operator. The kernel gives out
//! the lowest number that is free, so a new descriptor's number says how many are in use at
//! least: nothing has to be counted. Connections whose number lies in the reserve are put off.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Numbers kept for the admin server, files and look-ups of names: an eighth of what there is, at
/// most this.
const RESERVE_MAX: RawFd = 64;

/// How many descriptors may be open. Nothing is kept back before it is known.
static LIMIT: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// What is left, as a new descriptor's number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// The reserve is touched. A connection may wait here until there is room again.
    Reserved,
    /// Half of the reserve is used up: the rest is for the operator alone.
    Last,
}

/// Raises this process's soft limit to its hard one, and keeps a reserve from now on.
pub fn raise_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a `rlimit` that is writable for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a `rlimit` that is only read.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    LIMIT.store(RawFd::try_from(limit.rlim_cur).unwrap_or(RawFd::MAX), Ordering::Relaxed);
    Ok(())
}

/// What is left behind this new descriptor.
pub(super) fn room_at(descriptor: &impl AsRawFd) -> Room {
    room(descriptor.as_raw_fd(), LIMIT.load(Ordering::Relaxed))
}

fn room(number: RawFd, limit: RawFd) -> Room {
    let reserve = (limit / 8).min(RESERVE_MAX);
    match limit - number {
        left if left > reserve => Room::Enough,
        left if left > reserve / 2 => Room::Reserved,
        _ => Room::Last,
    }
}

/// The error of a system call that finds no descriptor left.
pub(super) fn exhausted() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eighth_is_kept_back_and_half_of_it_for_the_operator_alone() {
        let cases = [
            (69, Room::Enough),
            (70, Room::Reserved),
            (74, Room::Reserved),
            (75, Room::Last),
            (79, Room::Last),
        ];
        for (number, expected) in cases {
            assert_eq!(room(number, 80), expected, "{number} of 80");
        }
    }

    #[test]
    fn of_many_no_more_is_kept_back_than_is_of_use() {
        assert_eq!(room((1 << 20) - 65, 1 << 20), Room::Enough);
        assert_eq!(room((1 << 20) - 64, 1 << 20), Room::Reserved);
    }
}
