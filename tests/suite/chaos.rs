//! Endpoints are killed, frozen, slowed down, restarted and garbled at random under load, and
//! clients notice only what nobody could have spared them.
//!
//! A seed decides what happens when. A failed test prints it; `RINGGATE_TEST_CHAOS_SEED` repeats
//! it, as far as threads can be made to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, cluster_of, gateway, listener};
use crate::support::origin::{Connection, Origin, OriginBuilder, Request, origin};
use crate::support::tls::Authority;

/// How long it goes on. A release is tested with 60.
fn seconds() -> u64 {
    let seconds = std::env::var("RINGGATE_TEST_CHAOS_SECONDS").ok();
    seconds.map_or(3, |seconds| seconds.parse().expect("a number of seconds"))
}

fn seed() -> u64 {
    let seed = std::env::var("RINGGATE_TEST_CHAOS_SEED").ok();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    seed.map_or(now.expect("it is after 1970").as_nanos() as u64, |seed| {
        seed.parse().expect("a number")
    })
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }
}

/// What an endpoint does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Takes requests and does not answer.
    Frozen,
    Slow,
    /// Answers with what is no HTTP.
    Garbling,
    /// Closes in place of an answer.
    Closing,
    /// Says 503.
    Refusing,
}

const MOODS: [Mood; 6] =
    [Mood::Well, Mood::Frozen, Mood::Slow, Mood::Garbling, Mood::Closing, Mood::Refusing];

/// An endpoint that can be put into a mood, or away.
struct Victim {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
    origin: Mutex<Option<Origin>>,
    make: Box<dyn Fn() -> OriginBuilder + Send + Sync>,
}

impl Victim {
    fn new(make: impl Fn() -> OriginBuilder + Send + Sync + 'static) -> Self {
        let mood = Arc::<AtomicU8>::default();
        let make = {
            let mood = Arc::clone(&mood);
            move || {
                let mood = Arc::clone(&mood);
                make().on(move |request, connection| answer(&mood, request, connection))
            }
        };
        let origin = make().start();
        let address = origin.address;
        Self { address, mood, origin: Mutex::new(Some(origin)), make: Box::new(make) }
    }

    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Whoever is connected is cut off, and nobody listens any more.
    fn kill(&self) {
        // Those that are frozen would be waited for.
        self.set(Mood::Well);
        drop(self.origin().take());
    }

    fn revive(&self) {
        let mut origin = self.origin();
        if origin.is_none() {
            *origin = Some((self.make)().start_at(self.address));
        }
        drop(origin);
        self.set(Mood::Well);
    }

    fn origin(&self) -> std::sync::MutexGuard<'_, Option<Origin>> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a frozen endpoint looks whether it still is.
const THAW_TICK: Duration = Duration::from_millis(5);

fn answer(mood: &AtomicU8, _: &Request, connection: &mut Connection) {
    let is = |wanted: Mood| mood.load(Ordering::SeqCst) == wanted as u8;
    match MOODS[usize::from(mood.load(Ordering::SeqCst))] {
        Mood::Well => connection.reply("well"),
        Mood::Frozen => {
            while is(Mood::Frozen) {
                thread::park_timeout(THAW_TICK);
            }
            connection.close();
        }
        Mood::Slow => {
            thread::park_timeout(THAW_TICK * 4);
            connection.reply("well");
        }
        Mood::Garbling => {
            connection.send("\u{16}\u{3}garbage\r\n\r\n");
            connection.close();
        }
        Mood::Closing => connection.close(),
        Mood::Refusing => connection.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// What clients have seen.
#[derive(Default)]
struct Tally {
    asked: AtomicU64,
    /// With what the first wrong answer said.
    wrong: Mutex<Vec<String>>,
}

/// Asks until it is told to stop.
fn ask(address: SocketAddr, stop: &AtomicBool, tally: &Tally) {
    let mut client = Client::connect(address);
    while !stop.load(Ordering::Relaxed) {
        let reply = client.get("/");
        tally.asked.fetch_add(1, Ordering::Relaxed);
        if (reply.status, reply.text()) != (200, "well") {
            let mut wrong = tally.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.push(format!("{} {}", reply.status, reply.text()));
        }
        if !reply.keeps_alive() {
            client = Client::connect(address);
        }
    }
}

/// Of four endpoints one at a time is tormented: the others could always have answered, so no
/// client may notice.
fn torment(victims: &[Victim], dice: &mut Dice, story: &mut Vec<String>) {
    let victim = &victims[dice.roll(victims.len() as u64) as usize];
    let deed = dice.roll(MOODS.len() as u64) as usize;
    let time = Duration::from_millis(50 + dice.roll(200));
    story.push(match deed {
        0 => format!("kill {} for {time:?}", victim.address),
        deed => format!("{:?} {} for {time:?}", MOODS[deed], victim.address),
    });
    match deed {
        0 => victim.kill(),
        deed => victim.set(MOODS[deed]),
    }
    thread::park_timeout(time);
    victim.revive();
}

const CLUSTER: &str = "retry = { attempts = 4, on = [\"connect\", \"reset\", \"timeout\", \"503\"] }\n\
     timeouts = { connect = \"1s\", first_byte = \"150ms\" }\n\
     outlier = { consecutive_failures = 3, ejection = \"100ms\", max_ejection = \"200ms\" }\n\
     health_check = { interval = \"50ms\", fast_interval = \"20ms\", timeout = \"100ms\", \
     fall = 2, rise = 1 }";

/// How many of four are out of service at one time, as metrics see it.
fn most_away(gateway: &Gateway) -> usize {
    let metrics = gateway.metrics();
    metrics.series("ringgate_endpoint_up").filter(|(_, up)| *up == 0.0).count()
}

fn survive(victims: Vec<Victim>, cluster: &str) {
    let seed = seed();
    println!("RINGGATE_TEST_CHAOS_SEED={seed}");
    let mut dice = Dice(seed);
    let addresses: Vec<SocketAddr> = victims.iter().map(|victim| victim.address).collect();
    let cluster = cluster_of("c", &addresses, &format!("{CLUSTER}\n{cluster}"));
    let gateway =
        gateway().config(listener("") + "[[route]]\ncluster = \"c\"\n" + &cluster).start();
    let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
    let clients: Vec<JoinHandle<()>> = (0..4)
        .map(|_| {
            let (stop, tally, address) = (Arc::clone(&stop), Arc::clone(&tally), gateway.address());
            thread::spawn(move || ask(address, &stop, &tally))
        })
        .collect();

    let mut story = Vec::new();
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut away = 0;
    while Instant::now() < until {
        torment(&victims, &mut dice, &mut story);
        away = away.max(most_away(&gateway));
    }
    stop.store(true, Ordering::Relaxed);
    let ended = clients.into_iter().map(JoinHandle::join).all(|client| client.is_ok());

    let asked = tally.asked.load(Ordering::Relaxed);
    let attempts = gateway.count("ringgate_upstream_requests_total");
    let wrong = tally.wrong.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{asked} requests, {attempts} attempts, {} deeds, {away} away", story.len());
    assert!(ended && wrong.is_empty(), "seed {seed}: {wrong:?} after {story:#?}");
    assert!(away < victims.len(), "seed {seed}: all were away after {story:#?}");
    assert!(attempts as f64 <= 1.2 * asked as f64, "seed {seed}: {attempts} for {asked}");
    eventually("the return of all", || (most_away(&gateway) == 0).then_some(()));
}

#[test]
fn endpoints_in_trouble_cost_clients_nothing() {
    survive((0..4).map(|_| Victim::new(origin)).collect(), "");
}

#[test]
fn private_endpoints_in_trouble_cost_clients_nothing() {
    let authority = Authority::new();
    let issued = authority.issue("docs", &["docs.internal"]);
    let server = authority.server(&issued);
    let victim = |_| {
        let server = server.clone();
        Victim::new(move || origin().private(server.clone()))
    };
    let tls = format!("tls = {{ ca = {:?}, server_name = \"docs.internal\" }}", authority.file());
    survive((0..4).map(victim).collect(), &tls);
}
