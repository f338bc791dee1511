//! How long three limits take for a request that they let through: the total, a route's, and that of
//! its client. With one thread, and with two that share them.
//!
//! `ringgate-limits [MILLIONS]` asks that many million times for each row, 5 unless told.

use std::hint::black_box;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use ringgate::policy::limit::{Bucket, KeyedBuckets, Rate, Rejected, Terms};

/// EX_USAGE of sysexits.h.
const EXIT_USAGE: u8 = 64;

const MILLIONS: u64 = 5;

/// The program reads its clock once for each turn of its loop.
const REQUESTS_PER_TURN: u64 = 32;

/// The numbers of clients that take turns: in the fastest cache, in a table that is nearly full, and
/// many times more than it holds.
const CLIENTS: [u64; 4] = [1, 1000, 40_000, 10_000_000];

struct Limits {
    total: Bucket,
    route: Bucket,
    clients: KeyedBuckets,
}

impl Limits {
    /// High enough to let everybody through.
    fn new() -> Self {
        let rate = Rate { credits: 10_000_000, period: Duration::from_secs(1) };
        let terms = Terms::new(rate, 1_000_000_000);
        let per_client = Terms::new(rate, 1_000_000_000);
        Self {
            total: Bucket::new(terms),
            route: Bucket::new(terms),
            clients: KeyedBuckets::new(per_client, 50_000),
        }
    }

    /// As an exchange asks them.
    fn admit(&self, client: u128, now: u64) -> Result<(), Rejected> {
        self.total.check(1, now)?;
        self.route.check(1, now)?;
        self.clients.take(client, 1, now)?;
        self.route.take(1, now)?;
        self.total.take(1, now)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let millions = match words.as_slice() {
        [] => Some(MILLIONS),
        [millions] => millions.parse().ok(),
        _ => None,
    };
    let Some(millions) = millions else {
        eprintln!("usage: ringgate-limits [MILLIONS]");
        return ExitCode::from(EXIT_USAGE);
    };
    println!("{:>10} {:>14} {:>14}", "clients", "1 thread, ns", "2 threads, ns");
    for clients in CLIENTS {
        let [one, two] = [1, 2].map(|threads| time_of(threads, clients, millions * 1_000_000));
        println!("{clients:>10} {one:>14.1} {two:>14.1}");
    }
    ExitCode::SUCCESS
}

/// Nanoseconds that one request takes its thread.
fn time_of(threads: u64, clients: u64, times: u64) -> f64 {
    let limits = Limits::new();
    let began = Instant::now();
    thread::scope(|scope| {
        for first in 0..threads {
            let limits = &limits;
            // The threads meet every client, at different times.
            scope.spawn(move || ask(limits, first * clients / threads, clients, times, began));
        }
    });
    began.elapsed().as_nanos() as f64 / times as f64
}

fn ask(limits: &Limits, first: u64, clients: u64, times: u64, began: Instant) {
    let mut now = 0;
    for turn in 0..times {
        if turn % REQUESTS_PER_TURN == 0 {
            now = began.elapsed().as_nanos() as u64;
        }
        let client = u128::from((first + turn) % clients);
        assert!(black_box(limits.admit(black_box(client), now)).is_ok(), "the limits are high");
    }
}
