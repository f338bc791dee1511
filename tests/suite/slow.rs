//! A hundred clients that send or read as slowly as they can get away with: each is closed at its
//! deadline, others are served meanwhile, and memory stays where it was. `make slow` does the same
//! with slowhttptest.

use std::thread;
use std::time::Duration;

use crate::ai::{ai_gateway, model};
use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::origin;
use crate::support::{MIB, eventually, wire::Broken};

const CLIENTS: usize = 100;

/// Between two signs of life of each client: well below the time limits of these tests.
const BEAT: Duration = Duration::from_millis(50);

/// What a hundred connections in trouble may take beside what any traffic takes.
const RSS_GROWTH_MAX: u64 = 8 * MIB;

fn clients(gateway: &Gateway, first: &str) -> Vec<Client> {
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(first);
    }
    clients
}

/// Lets every client give a sign of life again and again until all of them have met their end;
/// the gateway goes on serving others, and takes no more memory.
fn keep_alive(
    gateway: &Gateway,
    clients: &mut [Client],
    sign: impl Fn(&mut Client),
    ended: impl Fn(&Gateway) -> usize,
) {
    let before = gateway.rss();
    let mut most = before;
    eventually("the end of all slow clients", || {
        clients.iter_mut().for_each(&sign);
        thread::park_timeout(BEAT);
        assert_eq!(gateway.get("/quick").status, 200, "others are served");
        most = most.max(gateway.rss());
        (ended(gateway) == CLIENTS).then_some(())
    });
    println!("{} KiB before, at most {} KiB", before / 1024, most / 1024);
    assert!(most < before + RSS_GROWTH_MAX, "from {before} to {most} bytes");
}

fn refused(reason: &str) -> impl Fn(&Gateway) -> usize {
    let series = format!("ringgate_refused_total{{reason=\"{reason}\"}}");
    move |gateway| gateway.count(&series) as usize
}

/// Each was told, unless the bytes that it went on sending reset its connection first.
fn expect_told(clients: Vec<Client>) {
    for mut client in clients {
        match client.try_read() {
            Ok(reply) => assert_eq!(reply.status, 408),
            Err(broken) => assert_eq!(broken, Broken::Reset),
        }
    }
}

#[test]
fn heads_that_trickle_in_are_closed_at_their_deadline() {
    let origin = origin().start();
    let gateway =
        gateway().listener("timeouts = { request_head = \"500ms\" }").route("/", &origin).start();
    let mut clients = clients(&gateway, "GET / HTTP/1.1\r\nHost: a\r\nX-A: ");

    let sign = |client: &mut Client| {
        client.send("a");
    };
    keep_alive(&gateway, &mut clients, sign, refused("head_timeout"));

    expect_told(clients);
    assert!(origin.requests().iter().all(|request| request.target() == "/quick"));
}

#[test]
fn calls_that_trickle_in_are_closed_and_give_back_what_they_held() {
    let origin = origin().reply("{}").start();
    let listener = "timeouts = { request_body = \"500ms\" }\nlimits = { body_rate = \"1KiB/s\" }";
    let quick = "[[route]]\npath = \"/quick\"\nrespond = {}\n";
    let gateway = ai_gateway(listener, &[model("m", &origin, "openai", ""), quick.to_owned()])
        .server("buffered = \"8MiB\"")
        .start();
    let mut clients = clients(
        &gateway,
        "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n{\"a\":\"",
    );

    // No pause is ever as long as a pause may be.
    let sign = |client: &mut Client| {
        client.send("a");
    };
    keep_alive(&gateway, &mut clients, sign, refused("body_too_slow"));

    expect_told(clients);
    let large = format!("{{\"model\":\"m\",\"a\":\"{}\"}}", "x".repeat(7 << 20));
    assert_eq!(gateway.client().post("/v1/completions", "", large).status, 200);
    assert_eq!(origin.requests_seen(), 1);
}

#[test]
fn uploads_that_trickle_in_are_closed_and_their_endpoints_set_free() {
    let origin = origin().start();
    let listener = "timeouts = { request_body = \"500ms\" }\nlimits = { body_rate = \"1KiB/s\" }";
    let gateway = gateway().listener(listener).route("/", &origin).start();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    let mut clients = clients(&gateway, head);

    let sign = |client: &mut Client| {
        client.send("a");
    };
    keep_alive(&gateway, &mut clients, sign, refused("body_too_slow"));

    expect_told(clients);
    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
    assert!(origin.requests().iter().all(|request| request.target() == "/quick"));
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
}

#[test]
fn a_slow_upstream_is_not_held_against_the_client() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .serve(move |connection| {
            let Some(head) = connection.read_head() else { return };
            wait.pass();
            if connection.read_rest_of(head).is_some() {
                connection.reply("taken");
            }
        })
        .start();
    let listener = "timeouts = { request_body = \"200ms\" }\nlimits = { body_rate = \"1GiB/s\" }";
    let gateway = gateway().listener(listener).route("/", &origin).start();
    let mut client = gateway.client();

    let sender = client.wire().stream().try_clone().expect("a descriptor is free");
    let upload = thread::spawn(move || {
        let length = 32 << 20;
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let message = [head.into_bytes(), vec![b'x'; length]].concat();
        std::io::Write::write_all(&mut &sender, &message).expect("the gateway goes on reading");
    });
    // Several times as long as the client may pause, it is the upstream that takes nothing.
    thread::park_timeout(Duration::from_secs(1));
    gate.open();

    assert_eq!(client.read().text(), "taken");
    upload.join().expect("everything was sent");
}

#[test]
fn answers_that_are_read_byte_by_byte_are_cut_at_their_deadline() {
    // More than the sockets on the way take.
    const PIECES: usize = 32;
    let piece = vec![b'x'; 1 << 20];
    let length = PIECES * piece.len();
    let origin = origin()
        .on(move |request, connection| match request.target() {
            "/quick" => connection.reply("quick"),
            _ => {
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
                (0..PIECES).for_each(|_| connection.send(&piece));
            }
        })
        .start();
    let timeouts = "timeouts = { idle = \"500ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let mut clients = clients(&gateway, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for client in &mut clients {
        client.read_head().expect("a head");
    }

    let sign = |client: &mut Client| drop(client.wire().read_exactly(1));
    keep_alive(&gateway, &mut clients, sign, |gateway| {
        let lines = gateway.log_lines();
        lines.iter().filter(|line| line["outcome"] == "downstream_timeout").count()
    });

    gateway.wait_for_count("http_connections_active", 0);
    // What was on its way is dropped: the kernel would keep it for as long as somebody reads.
    for client in &mut clients {
        assert_eq!(client.wire().read_to_end().1, Broken::Reset);
    }
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
}
