//! What an upstream can do wrong: the client is told, the log has a line, a counter moves, and
//! the gateway goes on.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::support::client::{Client, Reply};
use crate::support::free_port;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Connection, Origin, origin};
use crate::support::wire::Broken;

/// An address on which nobody listens.
fn nobody() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}

/// An origin that treats each request like this, and a gateway with one worker in front of it.
fn faulty(each: impl Fn(&mut Connection) + Send + Sync + 'static) -> (Origin, Gateway) {
    let origin = origin().on(move |_, connection| each(connection)).start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    (origin, gateway)
}

/// The answer to a GET, and the line that the log has of it.
fn ask(gateway: &Gateway) -> (Reply, Value) {
    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: the-one\r\n\r\n");
    (reply, gateway.log_line("the-one"))
}

#[track_caller]
fn expect_told(gateway: &Gateway, status: u16, outcome: &str, reason: &str) {
    let (reply, line) = ask(gateway);
    assert_eq!(reply.status, status);
    assert_eq!(reply.get("x-request-id"), Some("the-one"));
    assert!(reply.keeps_alive(), "the client did nothing wrong");
    assert_eq!((&line["outcome"], &line["reason"]), (&outcome.into(), &reason.into()), "{line}");
    assert_eq!(line["status"], status);
}

#[track_caller]
fn expect_count(gateway: &Gateway, series: &str, count: u64) {
    assert_eq!(gateway.count(series), count, "{series}");
}

#[test]
fn garbage_is_a_bad_gateway() {
    let garbage: [(&[u8], &str); 8] = [
        (b"\x15\x03\x01\x00\x02\x02\x46 garbage\r\n\r\n", "invalid_status_line"),
        (b"HTTP/1.1 abc Fine\r\n\r\n", "invalid_status_line"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            "repeated_length",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello", "invalid_length"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "length_with_coding",
        ),
        (b"HTTP/1.1 200 OK\r\nX-A : b\r\n\r\n", "space_in_field_name"),
        (b"HTTP/1.1 200 OK\r\nX-A: b\n\r\n", "bare_line_feed"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "unasked_switch",
        ),
    ];
    for (bytes, reason) in garbage {
        let (_origin, gateway) = faulty(move |connection| connection.send(bytes));
        let (reply, line) = ask(&gateway);
        assert_eq!(reply.status, 502, "{reason}");
        assert!(!reply.text().contains(reason), "the inside stays inside");
        assert_eq!(line["reason"], reason);
        expect_count(
            &gateway,
            &format!("ringgate_upstream_faults_total{{reason=\"{reason}\"}}"),
            1,
        );
        expect_count(&gateway, "ringgate_upstream_failures_total", 1);
        expect_count(&gateway, "ringgate_refused_total", 0);
    }
}

#[test]
fn a_head_without_an_end_is_a_bad_gateway() {
    let (_origin, gateway) = faulty(|connection| {
        connection.send("HTTP/1.1 200 OK\r\nX-A: ");
        connection.send(vec![b'a'; 200_000]);
    });

    expect_told(&gateway, 502, "upstream_cut", "head_too_large");
}

#[test]
fn a_close_instead_of_an_answer_is_a_bad_gateway_and_not_tried_again() {
    let (origin, gateway) = faulty(Connection::close);

    expect_told(&gateway, 502, "upstream_failed", "upstream_closed");
    assert_eq!(origin.requests_seen(), 1, "the origin may have acted on it");
    expect_count(&gateway, "ringgate_upstream_retries_total", 0);
}

#[test]
fn a_reset_instead_of_an_answer_is_a_bad_gateway() {
    let (_origin, gateway) = faulty(Connection::reset);

    expect_told(&gateway, 502, "upstream_failed", "upstream_closed");
}

#[test]
fn a_reset_within_a_body_reaches_the_client() {
    let gate = Gate::default();
    let wait = gate.clone();
    let (_origin, gateway) = faulty(move |connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe beginning");
        wait.pass();
        connection.reset();
    });
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: cut\r\n\r\n");
    client.read_head().expect("a head");
    assert_eq!(client.wire().read_exactly(13).as_deref(), Ok(&b"the beginning"[..]));
    gate.open();
    assert!(
        matches!(client.wire().read_to_end(), (rest, Broken::Closed | Broken::Reset) if rest.is_empty())
    );

    let line = gateway.log_line("cut");
    assert_eq!((&line["status"], &line["outcome"]), (&200.into(), &"upstream_cut".into()));
    expect_count(&gateway, "ringgate_upstream_failures_total", 1);
}

#[test]
fn a_malformed_chunk_ends_the_answer() {
    let (_origin, gateway) = faulty(|connection| {
        connection
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    });
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: bad\r\n\r\n");

    match client.try_read() {
        Ok(reply) => assert_eq!(reply.status, 502),
        Err(broken) => assert!(matches!(broken, Broken::Cut | Broken::Reset), "{broken:?}"),
    }
    assert_eq!(gateway.log_line("bad")["reason"], "invalid_chunk_size");
    expect_count(&gateway, "ringgate_upstream_faults_total{reason=\"invalid_chunk_size\"}", 1);
}

#[test]
fn more_than_the_stated_length_is_not_passed_on_and_ends_the_connection() {
    let (origin, gateway) = faulty(|connection| {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n");
    });
    let mut client = gateway.client();

    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "hello");
    }

    assert_eq!(origin.connections(), 2, "what follows on the first one belongs to nobody");
}

#[test]
fn an_answer_nobody_asked_for_spoils_an_idle_connection() {
    let gate = Gate::default();
    let said = Gate::default();
    let (wait, tell) = (gate.clone(), said.clone());
    let origin = origin()
        .on(move |request, connection| {
            connection.reply(&format!("to {}", request.target()));
            if request.number == 0 {
                wait.pass();
                connection.reply("poison");
                tell.open();
            }
        })
        .start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let mut client = gateway.client();

    assert_eq!(client.get("/1").text(), "to /1");
    gate.open();
    said.pass();

    assert_eq!(client.get("/2").text(), "to /2");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_slow_head_is_a_gateway_timeout() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.close();
        })
        .start();
    let timeouts = "timeouts = { first_byte = \"100ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();

    expect_told(&gateway, 504, "first_byte_timeout", "first_byte_timeout");
    expect_count(&gateway, "ringgate_upstream_failures_total", 1);
    gate.open();
}

#[test]
fn a_body_that_stops_arriving_is_cut() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            wait.pass();
            connection.close();
        })
        .start();
    let timeouts = "timeouts = { idle = \"100ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: stuck\r\n\r\n");
    assert!(client.try_read().is_err());

    assert_eq!(gateway.log_line("stuck")["outcome"], "idle_timeout");
    gate.open();
}

#[test]
fn an_exchange_has_a_time_limit_of_its_own() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while connection.wire().send(b"1\r\nx\r\n").is_ok() {}
            connection.close();
        })
        .start();
    let timeouts = "timeouts = { total = \"200ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: long\r\n\r\n");
    assert!(client.try_read().is_err());

    assert_eq!(gateway.log_line("long")["outcome"], "total_timeout");
    origin.wait_for_ends(1);
}

#[test]
fn a_refused_connection_goes_to_the_next_endpoint() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().workers(1).route_with("/", &[nobody(), origin.address], "", "").start();
    let mut client = gateway.client();

    for number in 0..4 {
        let reply = client.post("/", &format!("X-Request-Id: {number}\r\n"), "body");
        assert_eq!((reply.status, reply.text()), (200, "hello"), "nothing was sent yet");
    }

    assert_eq!(origin.requests_seen(), 4);
    assert!(origin.requests().iter().all(|request| request.body == b"body"));
    let attempts: Vec<_> =
        (0..4).map(|id| gateway.log_line(&id.to_string())["attempts"].clone()).collect();
    assert!(attempts.contains(&2.into()), "{attempts:?}");
    let failures = gateway.count("ringgate_upstream_connect_failures_total");
    assert_eq!(failures, gateway.count("ringgate_upstream_retries_total"));
    assert!(failures >= 1);
}

#[test]
fn no_reachable_endpoint_is_a_bad_gateway() {
    let gateway = gateway().route_with("/", &[nobody(), nobody()], "", "").start();

    expect_told(&gateway, 502, "upstream_failed", "connect_failed");
    expect_count(&gateway, "ringgate_upstream_connect_failures_total", 2);
    expect_count(&gateway, "ringgate_upstream_failures_total", 2);
}

/// A gateway with an idle connection that its origin closes unread when the next request comes.
/// From the second connection on the origin answers.
fn with_dying_connection() -> (Origin, Gateway, Client) {
    let origin = origin()
        .serve(|connection| {
            let first = connection.index == 0;
            while let Some(head) = connection.read_head() {
                let Some(request) = connection.read_rest_of(head) else { return };
                connection.reply(request.target());
                if first {
                    // Dies at the next byte without having read it.
                    drop(connection.wire().peek());
                    return connection.reset();
                }
            }
        })
        .start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/first").text(), "/first");
    (origin, gateway, client)
}

#[test]
fn a_reused_connection_that_dies_unread_is_retried_once() {
    let (origin, gateway, mut client) = with_dying_connection();

    client.send("GET /second HTTP/1.1\r\nHost: a\r\nX-Request-Id: two\r\n\r\n");
    assert_eq!(client.read().text(), "/second");

    assert_eq!(origin.connections(), 2);
    assert_eq!(gateway.log_line("two")["attempts"], 2);
    expect_count(&gateway, "ringgate_upstream_retries_total", 1);
}

#[test]
fn a_post_on_a_reused_connection_that_dies_is_not_sent_again() {
    let (origin, gateway, mut client) = with_dying_connection();

    let reply = client.post("/second", "X-Request-Id: two\r\n", "pay");

    assert_eq!(reply.status, 502);
    assert_eq!(origin.connections(), 1);
    let line = gateway.log_line("two");
    assert_eq!((&line["attempts"], &line["reused"]), (&1.into(), &true.into()));
    expect_count(&gateway, "ringgate_upstream_retries_total", 0);
}

#[test]
fn an_idle_connection_that_was_closed_is_not_used() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let mut client = gateway.client();

    client.get("/");
    origin.close_connections();
    origin.wait_for_ends(1);

    // A POST would fail on the old connection, and could not be tried again.
    assert_eq!(client.post("/", "", "body").status, 200);
    expect_count(&gateway, "ringgate_upstream_failures_total", 0);
}

#[test]
fn an_origin_that_comes_back_is_used_again() {
    let first = origin().reply("first").start();
    let address = first.address;
    let gateway = gateway().route("/", &first).start();
    let mut client = gateway.client();

    assert_eq!(client.get("/").text(), "first");
    drop(first);
    assert_eq!(client.get("/").status, 502);
    let _second = origin().reply("second").start_at(address);

    assert_eq!(client.get("/").text(), "second");
}

#[test]
fn endpoints_take_turns_by_their_weight() {
    let origins: Vec<_> = (0..3).map(|_| origin().start()).collect();
    let weighted = |index: usize, weight: u32| {
        let address = origins[index].address;
        format!("[[cluster.c.endpoint]]\naddress = \"{address}\"\nweight = {weight}\n")
    };
    let config = crate::support::gateway::listener("")
        + "[[route]]\ncluster = \"c\"\n[cluster.c]\n"
        + &weighted(0, 3)
        + &weighted(1, 1)
        + &weighted(2, 0);
    let gateway = gateway().workers(1).config(config).start();
    let mut client = gateway.client();

    for _ in 0..40 {
        client.get("/");
    }

    let seen: Vec<_> = origins.iter().map(Origin::requests_seen).collect();
    assert_eq!(seen, [30, 10, 0]);
}

#[test]
fn a_client_that_leaves_is_no_fault_of_the_upstream() {
    let (origin, gateway) = faulty(Connection::wait_for_close);
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: gone\r\n\r\n");
    origin.wait_for_requests(1);
    drop(client);

    let line = gateway.log_line("gone");
    assert_eq!(line["outcome"], "downstream_gone");
    expect_count(&gateway, "ringgate_upstream_failures_total", 0);
    expect_count(&gateway, "ringgate_endpoint_in_flight", 0);
}
