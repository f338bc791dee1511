//! Waking a task of another thread's loop.
//!
//! Every loop registers here under a number. A wake from outside puts the task's key into the
//! loop's inbox and rings its eventfd; a task of that loop reads the eventfd and schedules.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use super::core::Core;
use super::io::Source;
use super::task::TaskKey;

/// Loops by number. A number is used again only after 65,536 loops.
static LOOPS: RwLock<Vec<(u16, Weak<Remote>)>> = RwLock::new(Vec::new());

/// The side of a loop that other threads see.
pub(super) struct Remote {
    id: u16,
    /// Keys to schedule. Bounded by the number of tasks times their wakers' owners: a key is
    /// pushed once per event of another thread.
    inbox: Mutex<Vec<TaskKey>>,
    bell: OwnedFd,
}

impl Remote {
    pub(super) fn register() -> io::Result<Arc<Self>> {
        // SAFETY: takes no pointers; the result is checked.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else knows.
        let bell = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut loops = LOOPS.write().unwrap_or_else(PoisonError::into_inner);
        loops.retain(|(_, remote)| remote.strong_count() > 0);
        let mut id = loops.last().map_or(0, |(id, _)| id.wrapping_add(1));
        while loops.iter().any(|(taken, _)| *taken == id) {
            id = id.wrapping_add(1);
        }
        let remote = Arc::new(Self { id, inbox: Mutex::new(Vec::new()), bell });
        loops.push((id, Arc::downgrade(&remote)));
        Ok(remote)
    }

    pub(super) fn id(&self) -> u16 {
        self.id
    }

    fn take_inbox(&self) -> Vec<TaskKey> {
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ring(&self) {
        let one = 1u64;
        // SAFETY: eight readable bytes, as an eventfd wants. It fails only when the counter is
        // full, and then the bell has rung already.
        unsafe { libc::write(self.bell.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    fn silence(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable bytes. EAGAIN means that the bell is silent, as wanted.
        unsafe { libc::read(self.bell.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

/// Schedules a task on the loop numbered `id`; nothing happens when that loop has ended.
pub(super) fn wake(id: u16, key: TaskKey) {
    let remote = {
        let loops = LOOPS.read().unwrap_or_else(PoisonError::into_inner);
        loops.iter().find(|(found, _)| *found == id).and_then(|(_, remote)| remote.upgrade())
    };
    if let Some(remote) = remote {
        remote.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        remote.ring();
    }
}

/// The task that answers the bell.
pub(super) async fn answer(core: Rc<Core>, remote: Arc<Remote>) {
    let Ok(bell) = remote.bell.try_clone().and_then(|bell| Source::new(&core, bell)) else {
        // Without its bell a loop would miss reloads and drains: end it, so that it is replaced.
        core.stop();
        return;
    };
    loop {
        for key in remote.take_inbox() {
            core.schedule(key);
        }
        if poll_fn(|cx| bell.poll_readable(cx)).await.is_err() {
            core.stop();
            return;
        }
        remote.silence();
    }
}
