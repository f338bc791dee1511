//! Worker threads: pinned, named, each with a loop of its own.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::core::Core;
use super::probe::Chosen;
use crate::telemetry::event_loop::LoopStats;

/// The CPUs this process may run on, in order.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and size describe `set`, writable for the call.
    let outcome = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if outcome < 0 {
        return Vec::new();
    }
    let cpus = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every index is below CPU_SETSIZE.
    cpus.filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// Starts a thread on `cpu` whose loop begins with what `prepare` spawns.
///
/// The thread ends when its loop is stopped; with an error when the loop cannot go on.
pub fn start(
    index: usize,
    cpu: Option<usize>,
    chosen: Chosen,
    stats: Arc<LoopStats>,
    prepare: impl FnOnce(&Rc<Core>) + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        if let Some(cpu) = cpu {
            pin_to(cpu);
        }
        let core = chosen.start(stats)?;
        prepare(&core);
        core.run()
    })
}

/// A worker that cannot be pinned still works, only less evenly.
fn pin_to(cpu: usize) {
    // SAFETY: all zeroes is an empty set; the index came from `allowed_cpus`.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the pointer and size describe `set`.
    let outcome = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if outcome < 0 {
        tracing::warn!(cpu, error = %io::Error::last_os_error(), "cannot pin a worker to its CPU");
    }
}
