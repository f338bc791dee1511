//! Signals, and what they ask for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Reload,
    ReopenLogs,
    HandOver,
    Drain,
    Exit,
}

pub(super) struct Signals {
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
    term: Signal,
    quit: Signal,
    int: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr1.recv() => Asked::ReopenLogs,
            _ = self.usr2.recv() => Asked::HandOver,
            _ = self.term.recv() => Asked::Drain,
            _ = self.quit.recv() => Asked::Drain,
            _ = self.int.recv() => Asked::Exit,
        }
    }
}

/// Waits for a signal that ends a program.
pub fn until_signal() -> io::Result<()> {
    let control = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    control.block_on(async {
        let mut signals = Signals::new()?;
        while !matches!(signals.next().await, Asked::Drain | Asked::Exit) {}
        Ok(())
    })
}
