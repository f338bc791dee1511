//! When each event stream is due, with the phases of the streams spread over the interval.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Time between two events of a stream, ns: two a second.
pub(crate) const INTERVAL: u64 = 500_000_000;

/// The golden ratio as a 64-bit fraction. Its multiples fall evenly into the interval, however
/// many streams there are and in whichever order they come.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// An event to be sent. Ordered by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    /// CLOCK_MONOTONIC, ns.
    at: u64,
    /// Number of the stream, never used twice.
    pub(crate) stream: u64,
    /// Where its connection is kept.
    pub(crate) slot: usize,
}

/// One entry for each stream; that of a closed one goes when it is not repeated.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: BinaryHeap<Reverse<Due>>,
    begun: u64,
}

impl Schedule {
    /// Enters a new stream and gives it a number. Its first event is due within one interval.
    pub(crate) fn add(&mut self, slot: usize, now: u64) -> u64 {
        let stream = self.begun;
        self.begun += 1;
        self.due.push(Reverse(Due { at: now + phase(stream), stream, slot }));
        stream
    }

    /// Takes out the earliest entry if its time has come.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.due.pop().map(|Reverse(due)| due)
    }

    /// Enters the next event of the same stream. Late sending does not move its phase.
    pub(crate) fn repeat(&mut self, sent: Due) {
        self.due.push(Reverse(Due { at: sent.at + INTERVAL, ..sent }));
    }

    /// When the earliest event is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.peek().map(|Reverse(due)| due.at)
    }
}

fn phase(stream: u64) -> u64 {
    let fraction = stream.wrapping_mul(GOLDEN) >> 32;
    (fraction * INTERVAL) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phases_of_a_thousand_streams_leave_no_gap_and_no_crowd() {
        let mut phases: Vec<u64> = (0..1000).map(phase).collect();
        phases.sort_unstable();
        assert!(phases.iter().all(|&at| at < INTERVAL));
        let even = INTERVAL / 1000;
        for pair in phases.windows(2) {
            let gap = pair[1] - pair[0];
            assert!(even / 4 < gap && gap < even * 4, "gap of {gap} ns, even would be {even}");
        }
    }

    #[test]
    fn a_stream_keeps_its_phase_when_it_is_served_late() {
        let mut schedule = Schedule::default();
        schedule.add(3, 1000);
        let late = 1000 + INTERVAL / 3;
        let first = schedule.pop_due(late).unwrap();
        schedule.repeat(first);
        assert_eq!(schedule.next(), Some(1000 + INTERVAL));
    }

    #[test]
    fn nothing_is_due_before_its_time_and_the_earliest_comes_first() {
        let mut schedule = Schedule::default();
        let numbers = [schedule.add(0, 5000), schedule.add(1, 0)];
        assert_eq!(schedule.pop_due(0), None);
        let order: Vec<u64> =
            std::iter::from_fn(|| schedule.pop_due(u64::MAX)).map(|due| due.stream).collect();
        assert_eq!(order, [numbers[0], numbers[1]]);
    }
}
