//! The end of a gateway: exchanges under way finish, within a limit.

use std::time::{Duration, Instant};

use super::running::{Running, TICK};
use super::signals::{Asked, Signals};
use super::systemd;
use crate::proxy::worker::Message;

/// How often a drain looks whether it is over.
const DRAIN_TICK: Duration = Duration::from_millis(10);

/// How long workers and log may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client may take to get in that has begun to connect: a round trip.
const HANDSHAKE_TIME: Duration = Duration::from_millis(100);

/// What comes after this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: who connects from now on is refused.
    Last,
    /// Another process, which accepts on the same sockets.
    HandedOver(u32),
}

impl Running {
    /// Lets exchanges end, for as long as the configuration gives them; takes no new connection.
    pub(super) async fn drain(mut self, signals: &mut Signals, end: End) -> Result<(), String> {
        let timeout = self.shared.snapshot().settings.server.drain_timeout;
        tracing::info!(?timeout, connections = self.shared.connections(), "draining");
        match end {
            End::Last => self.notifier.stopping(timeout + 2 * STOP_TIMEOUT),
            End::HandedOver(pid) => {
                self.notifier.main_process_is(pid);
                self.admin.close();
            }
        }
        // Who has given an order is told to ask again: another process may answer then.
        self.ordered.close();
        while self.ordered.try_recv().is_ok() {}
        self.shared.start_draining();
        if end == End::Last && !systemd::may_hold_sockets() {
            // Whoever got in behind the last accept would be reset with the socket.
            self.fleet.tell_all(|| Message::Wane);
            self.sockets.turn_away();
            tokio::time::sleep(HANDSHAKE_TIME).await;
        }
        self.fleet.tell_all(|| Message::Drain);
        let until = Instant::now() + timeout;
        // Their queues are empty when the last worker has looked.
        self.wait_while(signals, until, |running| running.shared.accepting() > 0).await;
        self.sockets.close();
        self.wait_while(signals, until, |running| running.shared.connections() > 0).await;
        let left = self.shared.connections();
        if left > 0 {
            tracing::warn!(left, "the drain time is over; closing connections");
        }
        self.stop()
    }

    /// Waits for the end of something, for its limit, or for a signal to exit at once; workers are
    /// looked after meanwhile.
    async fn wait_while(
        &mut self,
        signals: &mut Signals,
        until: Instant,
        is_so: impl Fn(&Self) -> bool,
    ) {
        let mut tick = tokio::time::interval(TICK);
        while is_so(self) && Instant::now() < until {
            tokio::select! {
                asked = signals.next() => if asked == Asked::Exit { return },
                () = tokio::time::sleep(DRAIN_TICK) => {}
                _ = tick.tick() => self.look_after(),
            }
        }
    }

    pub(super) fn stop(self) -> Result<(), String> {
        self.fleet.stop(STOP_TIMEOUT);
        if !self.log.stop(STOP_TIMEOUT) {
            tracing::warn!("the access log could not be written to its end");
        }
        Ok(())
    }
}
