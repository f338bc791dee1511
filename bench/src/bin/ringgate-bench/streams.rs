//! Opens many event streams and measures how long each event was under way.
//!
//! Upstream, gateway and client see the same clock, so delay = time of reading - stamp.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::event;
use crate::poll::{Interest, Poll, monotonic_ns};

/// How long the streams may take until each of them has brought an event.
const WARM_UP: Duration = Duration::from_secs(20);

const REQUEST: &[u8] =
    b"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/event-stream\r\n\r\n";

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    /// Streams open at the same time.
    pub(crate) count: usize,
    /// Length of the measurement, after every stream has brought its first event.
    pub(crate) seconds: u64,
}

/// Delays in ns of the events that were sent and read within the measurement.
#[derive(Debug)]
pub(crate) struct Report {
    streams: usize,
    /// Streams that ended or brought no event in the measurement.
    failed: usize,
    /// Sorted.
    delays: Vec<u64>,
}

struct Stream {
    socket: TcpStream,
    reader: event::Reader,
    /// Events seen in the present phase.
    events: u64,
    ended: bool,
}

/// Prints `measuring` when the measurement begins, so that whoever started this can begin to
/// count CPU time at the same moment.
pub(crate) fn measure(plan: &Plan) -> io::Result<Report> {
    let poll = Poll::new()?;
    let mut streams = open(plan, &poll)?;
    read_until(&poll, &mut streams, Instant::now() + WARM_UP, Goal::EachHasBegun, |_| {})?;
    if streams.iter().any(|stream| stream.events == 0) {
        return Err(io::Error::new(ErrorKind::TimedOut, "not every stream has begun"));
    }
    streams.iter_mut().for_each(|stream| stream.events = 0);

    println!("measuring");
    let begin = monotonic_ns();
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    let mut delays = Vec::new();
    read_until(&poll, &mut streams, end, Goal::TimeIsOver, |stamp| {
        if stamp >= begin {
            delays.push(monotonic_ns().saturating_sub(stamp));
        }
    })?;
    delays.sort_unstable();
    let failed = streams.iter().filter(|stream| stream.ended || stream.events == 0).count();
    Ok(Report { streams: streams.len(), failed, delays })
}

fn open(plan: &Plan, poll: &Poll) -> io::Result<Vec<Stream>> {
    (0..plan.count)
        .map(|token| {
            let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, plan.port))?;
            socket.set_nodelay(true)?;
            socket.write_all(REQUEST)?;
            socket.set_nonblocking(true)?;
            poll.watch(&socket, token, Interest::Read)?;
            Ok(Stream { socket, reader: event::Reader::default(), events: 0, ended: false })
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    EachHasBegun,
    TimeIsOver,
}

/// Reads events until the goal is reached or the time is over.
fn read_until(
    poll: &Poll,
    streams: &mut [Stream],
    end: Instant,
    goal: Goal,
    mut seen: impl FnMut(u64),
) -> io::Result<()> {
    let mut ready = Vec::new();
    let mut silent = streams.len();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || (goal == Goal::EachHasBegun && silent == 0) {
            return Ok(());
        }
        poll.wait(&mut ready, Some(left))?;
        for &token in &ready {
            let stream = &mut streams[token];
            let was_silent = stream.events == 0;
            stream.read(&mut seen);
            silent -= usize::from(was_silent && stream.events > 0);
            if stream.ended {
                poll.forget(&stream.socket)?;
            }
        }
    }
}

impl Stream {
    fn read(&mut self, seen: &mut impl FnMut(u64)) {
        let mut piece = [0; 16 * 1024];
        match self.socket.read(&mut piece) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                let events = &mut self.events;
                self.reader.read(&piece[..count], |stamp| {
                    *events += 1;
                    seen(stamp);
                });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }
}

impl Report {
    /// In microseconds, by nearest rank; 0 without events.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.delays.len() * percent).div_ceil(100).max(1);
        self.delays.get(rank - 1).map_or(0.0, |&delay| delay as f64 / 1000.0)
    }
}

/// One line of JSON.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{\"streams\": {}, \"failed\": {}, \"events\": {}, \"p50_us\": {:.1}, \
             \"p99_us\": {:.1}, \"max_us\": {:.1}}}",
            self.streams,
            self.failed,
            self.delays.len(),
            self.percentile(50),
            self.percentile(99),
            self.percentile(100),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank_in_microseconds() {
        let delays = (1..=200).map(|n| n * 1000).collect();
        let report = Report { streams: 2, failed: 1, delays };
        assert_eq!(
            report.to_string(),
            "{\"streams\": 2, \"failed\": 1, \"events\": 200, \"p50_us\": 100.0, \
             \"p99_us\": 198.0, \"max_us\": 200.0}"
        );
    }

    #[test]
    fn a_report_without_events_is_still_json() {
        let report = Report { streams: 0, failed: 0, delays: Vec::new() };
        assert!(report.to_string().ends_with("\"max_us\": 0.0}"));
    }
}
