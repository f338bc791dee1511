//! Readiness and time from the kernel: epoll, timerfd and CLOCK_MONOTONIC behind safe functions.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Readiness events taken from the kernel at one time.
const BATCH: usize = 256;

/// What a socket is watched for. Errors and hang-ups are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
}

impl Interest {
    fn bits(self) -> u32 {
        match self {
            Self::Read => libc::EPOLLIN as u32,
            Self::Write => libc::EPOLLOUT as u32,
        }
    }
}

/// A level-triggered epoll set; what becomes ready is told by the token it was watched with.
///
/// A descriptor leaves the set when it is closed.
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the call above made this descriptor, and nobody else has it.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(crate) fn watch(&self, fd: &impl AsFd, token: usize, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Replaces the interest of a descriptor that is being watched.
    pub(crate) fn rewatch(
        &self,
        fd: &impl AsFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Takes a descriptor out of the set that stays open: at its end it would be ready for ever.
    pub(crate) fn forget(&self, fd: &impl AsFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Read)
    }

    fn control(
        &self,
        operation: i32,
        fd: &impl AsFd,
        token: usize,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token as u64 };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `event` lives through the call, which only reads it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) })?;
        Ok(())
    }

    /// Waits until something is ready or the time is over, and puts the tokens into `ready`.
    pub(crate) fn wait(&self, ready: &mut Vec<usize>, timeout: Option<Duration>) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; BATCH];
        let timeout = timeout.map_or(-1, whole_milliseconds);
        // SAFETY: `events` has room for the BATCH entries that the kernel may write.
        let count = check(unsafe {
            let room = events.as_mut_ptr();
            libc::epoll_wait(self.epoll.as_raw_fd(), room, BATCH as i32, timeout)
        });
        ready.clear();
        match count {
            Ok(count) => ready.extend(events.iter().take(count as usize).map(|e| e.u64 as usize)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Rounded up, so that a wait never ends before its time and then spins.
fn whole_milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

/// A timer that becomes readable at a point of CLOCK_MONOTONIC, exact to some microseconds where
/// the timeout of epoll_wait is exact to a millisecond.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
}

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the call above made this descriptor, and nobody else has it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Sets the timer to `at` (ns, see [`monotonic_ns`]) and clears an expiry not yet seen.
    pub(crate) fn set(&self, at: u64) -> io::Result<()> {
        // Zero would disarm the timer.
        let at = at.max(1);
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let expiry = libc::timespec {
            tv_sec: (at / 1_000_000_000) as libc::time_t,
            tv_nsec: (at % 1_000_000_000) as libc::c_long,
        };
        let value = libc::itimerspec { it_interval: none, it_value: expiry };
        let fd = self.fd.as_raw_fd();
        // SAFETY: `value` lives through the call, which only reads it; the old value is not asked.
        check(unsafe {
            libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &value, std::ptr::null_mut())
        })?;
        Ok(())
    }

    /// Disarms the timer and clears an expiry not yet seen.
    pub(crate) fn stop(&self) -> io::Result<()> {
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::itimerspec { it_interval: none, it_value: none };
        // SAFETY: `value` lives through the call, which only reads it; the old value is not asked.
        check(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &value, std::ptr::null_mut())
        })?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// CLOCK_MONOTONIC in ns: the same clock in every process of the machine, so stamps of one can
/// be compared in another. The standard library's `Instant` does not give the number away.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the write. The call cannot fail for this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_ready_at_its_time_and_not_before() {
        let poll = Poll::new().unwrap();
        let timer = Timer::new().unwrap();
        poll.watch(&timer, 7, Interest::Read).unwrap();
        let mut ready = Vec::new();

        let due = monotonic_ns() + 20_000_000;
        timer.set(due).unwrap();
        poll.wait(&mut ready, Some(Duration::from_millis(5))).unwrap();
        assert!(ready.is_empty() || monotonic_ns() >= due);

        poll.wait(&mut ready, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(ready, [7]);
        assert!(monotonic_ns() >= due);
    }

    #[test]
    fn a_stopped_timer_is_not_ready() {
        let poll = Poll::new().unwrap();
        let timer = Timer::new().unwrap();
        poll.watch(&timer, 7, Interest::Read).unwrap();
        timer.set(1).unwrap();
        timer.stop().unwrap();
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(Duration::from_millis(1))).unwrap();
        assert!(ready.is_empty());
    }
}
