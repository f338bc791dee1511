//! Which driver works on this machine: found out by doing, not by asking for versions.
//!
//! A kernel may have io_uring and a container's seccomp filter refuse it; a version says nothing
//! about either.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::driver::Driver;
use super::epoll::Epoll;
use super::io::{Deadline, Source};
use super::uring::{Flags, Uring};
use crate::telemetry::event_loop::LoopStats;

/// A way to wait that has proved to work here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uring(Flags),
    Epoll,
}

/// What is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Any,
    IoUring,
    Epoll,
}

/// A choice, and why nothing better was chosen.
#[derive(Debug)]
pub struct Choice {
    pub chosen: Chosen,
    /// One sentence for each better way that failed.
    pub passed_over: Vec<String>,
}

/// Tries the ways in order of speed and takes the first that receives a byte.
///
/// # Errors
///
/// Why each of the wanted ways failed.
pub fn choose(wanted: Wanted) -> io::Result<Choice> {
    const URING: [Kind; 2] = [Kind::Uring(Flags::DeferTaskrun), Kind::Uring(Flags::CoopTaskrun)];
    let candidates: &[Kind] = match wanted {
        Wanted::Any => &[URING[0], URING[1], Kind::Epoll],
        Wanted::IoUring => &URING,
        Wanted::Epoll => &[Kind::Epoll],
    };
    let mut passed_over = Vec::new();
    for kind in candidates {
        let chosen = Chosen(*kind);
        match chosen.try_out() {
            Ok(()) => return Ok(Choice { chosen, passed_over }),
            Err(error) => passed_over.push(format!("{}: {}", chosen.name(), explain(&error))),
        }
    }
    Err(io::Error::other(passed_over.join("; ")))
}

impl Chosen {
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Uring(Flags::DeferTaskrun) => "io_uring with deferred task work",
            Kind::Uring(Flags::CoopTaskrun) => "io_uring with cooperative task work",
            Kind::Epoll => "epoll",
        }
    }

    /// `io_uring` or `epoll`.
    pub fn short_name(self) -> &'static str {
        match self.0 {
            Kind::Uring(_) => "io_uring",
            Kind::Epoll => "epoll",
        }
    }

    /// The ring's flags, as io_uring_setup(2) names them.
    pub fn flags(self) -> &'static str {
        match self.0 {
            Kind::Uring(Flags::DeferTaskrun) => "single_issuer,defer_taskrun",
            Kind::Uring(Flags::CoopTaskrun) => "coop_taskrun",
            Kind::Epoll => "",
        }
    }

    /// A loop of this kind for the calling thread. The ring must be made where it is used.
    pub fn start(self, stats: Arc<LoopStats>) -> io::Result<Rc<Core>> {
        let driver = match self.0 {
            Kind::Uring(flags) => Driver::Uring(Box::new(Uring::new(flags)?)),
            Kind::Epoll => Driver::Epoll(Box::new(Epoll::new()?)),
        };
        Core::new(driver, stats)
    }

    /// Receives one byte over a pair of sockets, in a thread of its own: a ring with a single
    /// issuer belongs to the thread that made it.
    fn try_out(self) -> io::Result<()> {
        std::thread::spawn(move || self.receive_one_byte())
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the trial run panicked")))
    }

    fn receive_one_byte(self) -> io::Result<()> {
        let core = self.start(Arc::default())?;
        let (mut near, far) = UnixStream::pair()?;
        let outcome = Rc::new(std::cell::RefCell::new(None));
        let task = {
            let (core, outcome) = (Rc::clone(&core), Rc::clone(&outcome));
            async move {
                let received = receive(&core, far.into()).await;
                *outcome.borrow_mut() = Some(received);
                core.stop();
            }
        };
        core.spawn(task);
        io::Write::write_all(&mut near, b"x")?;
        core.run()?;
        let received = outcome.borrow_mut().take();
        match received {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(error),
            _ => Err(io::Error::other("a byte was sent and another thing received")),
        }
    }
}

async fn receive(core: &Rc<Core>, fd: OwnedFd) -> io::Result<bool> {
    let source = Source::new(core, fd)?;
    let deadline = Deadline::new(core);
    deadline.set(Some(Duration::from_secs(2)));
    deadline.limit(|cx| source.poll_writable(cx)).await?;
    let chunk = deadline.limit(|cx| source.poll_recv_later(cx)).await?;
    Ok(chunk.is_some_and(|chunk| &chunk[..] == b"x"))
}

/// The likely cause in words, with the way out.
fn explain(error: &io::Error) -> String {
    let cause = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "refused by the kernel.io_uring_disabled sysctl or a container's seccomp profile; \
             set the sysctl to 0, or allow the io_uring_* calls in the profile"
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring; 6.1 or newer is needed",
        Some(libc::EINVAL) => "this kernel lacks the flags or buffer rings; 6.1 or newer has them",
        Some(libc::ENOMEM) => "not enough locked memory; raise LimitMEMLOCK",
        _ => return error.to_string(),
    };
    format!("{error} ({cause})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_works_wherever_this_program_does() {
        let choice = choose(Wanted::Epoll).unwrap();
        assert_eq!((choice.chosen.short_name(), choice.passed_over.len()), ("epoll", 0));
    }
}
