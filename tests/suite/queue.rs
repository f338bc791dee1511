//! Limits on what is in flight hold exactly, and who cannot be served at once waits in a fair and
//! bounded queue.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway, listener};
use crate::support::origin::{Origin, origin};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// How many requests an origin works on, and the most there ever were.
#[derive(Default)]
struct InFlight {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl InFlight {
    fn during(&self, work: impl FnOnce()) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        work();
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// An origin that answers each request when its gate is opened once more.
fn gated() -> (Origin, Gate, Arc<InFlight>) {
    let (gate, in_flight) = (Gate::default(), Arc::<InFlight>::default());
    let origin = {
        let (gate, in_flight) = (gate.clone(), Arc::clone(&in_flight));
        origin().on(move |request, connection| {
            let mut passed = false;
            in_flight.during(|| passed = gate.try_pass());
            if passed {
                connection.reply(request.target());
            }
        })
    };
    (origin.start(), gate, in_flight)
}

/// In front of one endpoint, with lines for it and for its cluster.
fn limited(origin: &Origin, cluster: &str, endpoint: &str) -> Gateway {
    let address = origin.address;
    gateway()
        .config(format!(
            "{}[[route]]\ncluster = \"c\"\n[cluster.c]\n{cluster}\n\
             [[cluster.c.endpoint]]\naddress = \"{address}\"\n{endpoint}\n",
            listener("")
        ))
        .start()
}

fn from(source: Ipv4Addr, gateway: &Gateway) -> Client {
    Client::connect_from((source, 0).into(), gateway.address())
}

fn waiting_clients(gateway: &Gateway, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = gateway.client();
        client.send(GET);
        client
    });
    clients.collect()
}

fn expect_exact(cluster: &str, endpoint: &str) {
    let (origin, gate, in_flight) = gated();
    let gateway = limited(&origin, cluster, endpoint);

    let mut clients = waiting_clients(&gateway, 12);
    origin.wait_for_requests(3);
    gateway.wait_for_count("ringgate_queue_length", 9);
    (0..12).for_each(|_| gate.open());

    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    assert_eq!(in_flight.most.load(Ordering::SeqCst), 3);
    gateway.wait_for_count("ringgate_queue_length", 0);
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
    assert_eq!(gateway.count("ringgate_queue_wait_seconds_count"), 9);
}

#[test]
fn the_limit_of_an_endpoint_holds_exactly_over_all_workers() {
    expect_exact("", "max_in_flight = 3");
}

#[test]
fn the_limit_of_a_cluster_holds_exactly_over_all_workers() {
    expect_exact("max_in_flight = 3", "");
}

#[test]
fn both_limits_hold_together() {
    expect_exact("max_in_flight = 3", "max_in_flight = 4");
    expect_exact("max_in_flight = 4", "max_in_flight = 3");
}

#[test]
fn a_full_endpoint_leaves_its_requests_to_the_others() {
    let (full, gate, _) = gated();
    let free = origin().reply("free").start();
    let config = format!(
        "{}[[route]]\ncluster = \"c\"\n\
         [[cluster.c.endpoint]]\naddress = \"{}\"\nmax_in_flight = 1\n\
         [[cluster.c.endpoint]]\naddress = \"{}\"\n",
        listener(""),
        full.address,
        free.address
    );
    let gateway = gateway().config(config).start();
    let mut first = gateway.client();
    first.send(GET);
    full.wait_for_requests(1);

    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "free");
    }
    gate.open();
    assert_eq!(first.read().status, 200);
}

#[test]
fn who_has_waited_as_long_as_it_may_is_told_to_come_back() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "timeouts = { queue = \"50ms\" }", "max_in_flight = 1");
    let mut first = gateway.client();
    first.send(GET);
    origin.wait_for_requests(1);

    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: late\r\n\r\n");

    assert_eq!(reply.status, 503);
    assert_eq!(reply.get("retry-after"), Some("1"));
    assert!(reply.keeps_alive());
    let line = gateway.log_line("late");
    assert_eq!((&line["outcome"], &line["reason"]), (&"refused".into(), &"queue_timeout".into()));
    assert!(line["queued_us"].as_u64() >= Some(50_000), "{line}");
    let counted = "ringgate_queue_rejected_total{cluster=\"c\",reason=\"queue_timeout\"}";
    assert_eq!(gateway.count(counted), 1);
    gate.open();
    assert_eq!(first.read().status, 200);
    assert_eq!(origin.requests_seen(), 1);
}

#[test]
fn beyond_the_places_of_the_queue_requests_are_refused_at_once() {
    for places in [0, 2] {
        let (origin, gate, _) = gated();
        let gateway = limited(&origin, &format!("queue = {places}"), "max_in_flight = 1");
        let mut clients = waiting_clients(&gateway, 1);
        origin.wait_for_requests(1);
        clients.extend(waiting_clients(&gateway, places));
        gateway.wait_for_count("ringgate_queue_length", places as u64);

        assert_eq!(gateway.get("/").status, 503);

        let counted = "ringgate_queue_rejected_total{reason=\"queue_full\"}";
        assert_eq!(gateway.count(counted), 1);
        (0..=places).for_each(|_| gate.open());
        assert!(clients.iter_mut().all(|client| client.read().status == 200));
    }
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "queue = 1", "max_in_flight = 1");
    let mut first = gateway.client();
    first.send(GET);
    origin.wait_for_requests(1);
    for body in ["", "Content-Length: 3\r\n"] {
        let mut leaving = gateway.client();
        leaving.send(format!("POST /left HTTP/1.1\r\nHost: a\r\n{body}\r\n"));
        if !body.is_empty() {
            leaving.send("abc");
        }
        gateway.wait_for_count("ringgate_queue_length", 1);
        drop(leaving);
        gateway.wait_for_count("ringgate_queue_length", 0);
    }

    let mut next = gateway.client();
    next.send(GET);
    gateway.wait_for_count("ringgate_queue_length", 1);
    gate.open();
    gate.open();

    assert_eq!((first.read().status, next.read().status), (200, 200));
    assert!(origin.requests().iter().all(|request| request.target() == "/"));
}

#[test]
fn a_body_that_comes_while_its_request_waits_arrives_whole() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "", "max_in_flight = 1");
    let mut first = gateway.client();
    first.send(GET);
    origin.wait_for_requests(1);
    let body = vec![b'x'; 200_000];

    let mut second = gateway.client();
    second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    second.send(&body[..10]);
    gateway.wait_for_count("ringgate_queue_length", 1);
    second.send(&body[10..]);
    gate.open();
    gate.open();

    assert_eq!((first.read().status, second.read().status), (200, 200));
    assert_eq!(origin.requests()[1].body, body);
}

/// As many requests as `order` has letters, each waiting before the next comes; the letter is the
/// client.
fn line_up(gateway: &Gateway, order: &str) -> Vec<Client> {
    let mut clients = Vec::new();
    for (place, letter) in order.chars().enumerate() {
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(letter).expect("an ASCII letter"));
        let mut client = from(source, gateway);
        client.send(format!("GET /{letter} HTTP/1.1\r\nHost: a\r\n\r\n"));
        gateway.wait_for_count("ringgate_queue_length", place as u64 + 1);
        clients.push(client);
    }
    clients
}

#[test]
fn clients_take_turns_however_many_requests_each_has() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "", "max_in_flight = 1");
    let mut first = gateway.client();
    first.send(GET);
    origin.wait_for_requests(1);

    let mut clients = line_up(&gateway, "aaaabbc");
    (0..8).for_each(|_| gate.open());

    assert_eq!(first.read().status, 200);
    assert!(clients.iter_mut().all(|client| client.read().status == 200));
    let served: String =
        origin.requests()[1..].iter().map(|r| r.target().replace('/', "")).collect();
    assert_eq!(served, "abcabaa");
}

#[test]
fn a_greedy_client_gives_its_last_place_to_another_when_the_queue_is_full() {
    let (origin, gate, _) = gated();
    let gateway = limited(&origin, "queue = 3", "max_in_flight = 1");
    let mut first = gateway.client();
    first.send(GET);
    origin.wait_for_requests(1);

    let mut greedy = line_up(&gateway, "aaa");
    let source = Ipv4Addr::new(127, 0, 1, b'b');
    let mut other = from(source, &gateway);
    other.send(GET);

    assert_eq!(greedy[2].read().status, 503);
    let counted = "ringgate_queue_rejected_total{reason=\"queue_displaced\"}";
    assert_eq!(gateway.count(counted), 1);
    (0..4).for_each(|_| gate.open());
    assert_eq!((first.read().status, other.read().status), (200, 200));
    assert!(greedy[..2].iter_mut().all(|client| client.read().status == 200));
}

/// What one client saw.
#[derive(Default)]
struct Tally {
    served: usize,
    refused: usize,
    longest: Duration,
}

fn ask_until(end: Instant, mut client: Client) -> Tally {
    let mut tally = Tally::default();
    while Instant::now() < end {
        let began = Instant::now();
        match client.get("/").status {
            200 => tally.served += 1,
            503 => tally.refused += 1,
            other => panic!("status {other}"),
        }
        tally.longest = tally.longest.max(began.elapsed());
    }
    tally
}

/// An origin that takes that long for each request.
fn slow(time: Duration) -> (Origin, Arc<InFlight>) {
    let in_flight = Arc::<InFlight>::default();
    let origin = {
        let in_flight = Arc::clone(&in_flight);
        origin().on(move |_, connection| {
            in_flight.during(|| thread::park_timeout(time));
            connection.reply("done");
        })
    };
    (origin.start(), in_flight)
}

/// Connections that ask one request after the other for that long, by the last byte of their
/// client's address.
fn overload(gateway: &Gateway, clients: &[u8], time: Duration) -> Vec<(u8, Tally)> {
    let end = Instant::now() + time;
    thread::scope(|scope| {
        let ask = |last: u8| {
            let source = Ipv4Addr::new(127, 0, 2, last);
            let client = from(source, gateway);
            (last, scope.spawn(move || ask_until(end, client)))
        };
        let threads: Vec<_> = clients.iter().map(|last| ask(*last)).collect();
        threads
            .into_iter()
            .map(|(last, thread)| (last, thread.join().expect("a client ends by itself")))
            .collect()
    })
}

#[test]
fn ten_times_more_than_fits_is_shared_fairly_and_nobody_waits_long() {
    let (origin, in_flight) = slow(Duration::from_millis(20));
    let gateway = limited(&origin, "queue = 20", "max_in_flight = 2");

    // Three times as many connections of one client as of the other.
    let clients: Vec<u8> = (0..40).map(|n| if n % 4 == 0 { 1 } else { 2 }).collect();
    let tallies = overload(&gateway, &clients, Duration::from_millis(2500));

    assert_eq!(in_flight.most.load(Ordering::SeqCst), 2);
    let served = |last| -> usize {
        tallies.iter().filter(|(of, _)| *of == last).map(|(_, tally)| tally.served).sum()
    };
    let (few, many) = (served(1) as f64, served(2) as f64);
    assert!(few > 30.0 && many > 30.0, "{few} and {many} served");
    assert!((few - many).abs() <= 0.1 * few.max(many), "{few} against {many}");
    let refused: usize = tallies.iter().map(|(_, tally)| tally.refused).sum();
    assert!(refused > 0, "more than fits was asked for");
    let longest = tallies.iter().map(|(_, tally)| tally.longest).max().unwrap();
    // Twenty places are 0.2 s of work; the machine does other things as well.
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    gateway.wait_for_count("ringgate_queue_length", 0);
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn who_would_wait_too_long_is_refused_at_once() {
    let (origin, _) = slow(Duration::from_millis(50));
    let gateway = limited(&origin, "timeouts = { queue = \"200ms\" }", "max_in_flight = 1");

    let tallies = overload(&gateway, &[1; 16], Duration::from_millis(1200));

    let refused: usize = tallies.iter().map(|(_, tally)| tally.refused).sum();
    let at_once = gateway.count("ringgate_queue_rejected_total{reason=\"queue_too_long\"}");
    assert!(at_once as usize > refused / 2, "{at_once} of {refused}");
    assert!(tallies.iter().any(|(_, tally)| tally.served > 0));
}
