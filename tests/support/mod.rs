//! The cast: a gateway as its own process, origins that say what a test tells them to, and
//! clients that see every byte.

pub mod client;
pub mod dns;
pub mod gate;
pub mod gateway;
pub mod http2;
pub mod metrics;
pub mod origin;
pub mod sha1;
pub mod systemd;
pub mod tls;
pub mod websocket;
pub mod wire;

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is expected to happen at once. Only a test that fails waits
/// that long; it leaves room for a machine that runs many tests at a time.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const MIB: u64 = 1 << 20;

/// Asks again and again until there is an answer, for as long as [`PATIENCE`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A port that nobody listens on, as far as the kernel has just said.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// Lets this process and those it starts from now on open as many files as it is allowed to.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a `rlimit` that lives during the call.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}
