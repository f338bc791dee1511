//! What a client's frames cost, against what they are worth.
//!
//! The `h2` crate stops bursts: of resets before their requests were accepted, of CONTINUATION, of
//! empty DATA. Measured, it serves without end what comes at a pace: requests that are cancelled
//! as soon as they have reached an upstream (27 µs each, and a connection there), PING, SETTINGS,
//! PRIORITY and WINDOW_UPDATE (0.1 to 1.4 µs each).

use std::time::Duration;

use crate::http::h2::{FrameHead, FrameKind, Frames};
use crate::http::refusal::Refusal;
use crate::policy::allowance::{Allowance, Terms};
use crate::runtime::clock::Instant;

/// Requests that a client may cancel, besides one for each that it lets finish. A browser that
/// leaves a page cancels what is under way, some hundred at most.
const RESETS: Terms = Terms { most: 500, every: Duration::from_millis(10) };

/// Frames that only manage the connection, besides those that go with what is sent.
const CONTROL: Terms = Terms { most: 4096, every: Duration::from_millis(1) };

/// Bytes sent that allow for one frame more. gRPC clients measure their path by a PING for each
/// piece that comes, and the smallest message is about this long. Answering a PING takes 17
/// bytes, so a flood does not pay for itself.
const SENT_BYTES_PER_CREDIT: usize = 32;

/// Watches the frames of one client's connection.
pub(super) struct Meter {
    frames: Frames,
    resets: Allowance,
    control: Allowance,
    /// Bytes sent that have not made a whole credit.
    sent: usize,
    /// When the head began that has not ended.
    head_since: Option<Instant>,
    excess: Option<Refusal>,
    excess_is_told: bool,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        let nanos = nanos(now);
        Self {
            frames: Frames::new(),
            resets: Allowance::new(RESETS, nanos),
            control: Allowance::new(CONTROL, nanos),
            sent: 0,
            head_since: None,
            excess: None,
            excess_is_told: false,
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8], now: Instant) {
        let Self { frames, resets, control, excess, .. } = self;
        frames.follow(bytes, |head| {
            let (allowance, finding) = match kind_of_cost(head) {
                Cost::None => return,
                Cost::Reset => (&mut *resets, Refusal::Http2Resets),
                Cost::Control => (&mut *control, Refusal::Http2Control),
            };
            if !allowance.take(nanos(now)) {
                excess.get_or_insert(finding);
            }
        });
        match self.frames.is_in_head() {
            true => _ = self.head_since.get_or_insert(now),
            false => self.head_since = None,
        }
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        let credits = self.sent / SENT_BYTES_PER_CREDIT;
        self.sent %= SENT_BYTES_PER_CREDIT;
        self.control.earn(u32::try_from(credits).unwrap_or(u32::MAX));
    }

    /// A request has had its whole answer.
    pub(super) fn finished(&mut self) {
        self.resets.earn(1);
    }

    /// Of what there has been too much.
    pub(super) fn excess(&self) -> Option<Refusal> {
        self.excess
    }

    /// The same, once.
    pub(super) fn take_excess(&mut self) -> Option<Refusal> {
        let told = std::mem::replace(&mut self.excess_is_told, self.excess.is_some());
        self.excess.filter(|_| !told)
    }

    /// When the head began whose end has not come yet.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since
    }
}

enum Cost {
    None,
    Reset,
    Control,
}

/// Acknowledgements answer frames of ours. Of DATA and CONTINUATION the `h2` crate keeps count.
fn kind_of_cost(head: FrameHead) -> Cost {
    match head.kind {
        _ if head.is_ack() => Cost::None,
        FrameKind::Reset => Cost::Reset,
        FrameKind::Ping
        | FrameKind::Settings
        | FrameKind::Priority
        | FrameKind::WindowUpdate
        | FrameKind::Unknown => Cost::Control,
        FrameKind::Data
        | FrameKind::Headers
        | FrameKind::Continuation
        | FrameKind::PushPromise
        | FrameKind::GoAway => Cost::None,
    }
}

fn nanos(now: Instant) -> u64 {
    now.nanos_since(Instant::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::PREFACE;

    fn meter() -> Meter {
        let mut meter = Meter::new(Instant::default());
        meter.received(PREFACE, Instant::default());
        meter
    }

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(9 + usize::from(length), 0);
        frame
    }

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    const RESET: u8 = 3;
    const PING: u8 = 6;

    #[test]
    fn a_burst_of_resets_is_too_much() {
        let mut meter = meter();
        meter.received(&frame(RESET, 0, 4).repeat(500), at(0));
        assert_eq!(meter.excess(), None);
        meter.received(&frame(RESET, 0, 4), at(0));
        assert_eq!(meter.excess(), Some(Refusal::Http2Resets));
    }

    #[test]
    fn resets_at_a_pace_are_too_much() {
        // 100 requests, 20 ms, 100 resets.
        let mut meter = meter();
        let stopped = (1..).find(|round| {
            meter.received(&frame(RESET, 0, 4).repeat(100), at(20 * round));
            meter.excess().is_some()
        });
        assert_eq!(stopped, Some(6));
    }

    #[test]
    fn who_lets_most_requests_finish_may_cancel_some() {
        let mut meter = meter();
        for _ in 0..10_000 {
            meter.received(&frame(RESET, 0, 4), at(0));
            meter.finished();
        }
        assert_eq!(meter.excess(), None);
    }

    #[test]
    fn control_frames_are_too_much_unless_they_go_with_what_is_sent() {
        let mut idle = meter();
        let pongs_too = (1..).find(|_| {
            idle.received(&frame(PING, 0, 8).repeat(1000), at(0));
            idle.sent(17 * 1000);
            idle.excess().is_some()
        });
        assert_eq!(pongs_too, Some(8));
        assert_eq!(idle.excess(), Some(Refusal::Http2Control));

        let mut busy = meter();
        for _ in 0..100_000 {
            busy.received(&frame(PING, 0, 8), at(0));
            busy.sent(38);
        }
        assert_eq!(busy.excess(), None);
    }

    #[test]
    fn answers_to_our_own_frames_cost_nothing() {
        let mut meter = meter();
        meter.received(&frame(PING, 1, 8).repeat(10_000), at(0));
        assert_eq!(meter.excess(), None);
    }

    #[test]
    fn an_open_head_is_dated_by_its_beginning() {
        let mut meter = meter();
        let headers = frame(1, 0, 4);
        meter.received(&headers[..10], at(1));
        meter.received(&headers[10..], at(2));
        assert_eq!(meter.head_since(), Some(at(1)));
        meter.received(&frame(9, 4, 0), at(3));
        assert_eq!(meter.head_since(), None);
    }
}
