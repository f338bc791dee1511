//! What streams, streams at once; who leaves is noticed at once.

use std::time::{Duration, Instant};

use crate::support::gate::Gate;
use crate::support::gateway::gateway;
use crate::support::origin::origin;

/// Far more than it takes, far less than any timeout that would hide a fault.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    for framing in ["Transfer-Encoding: chunked\r\n", ""] {
        let gate = Gate::default();
        let wait = gate.clone();
        let origin = origin()
            .on(move |_, connection| {
                let chunked = !framing.is_empty();
                connection.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n"
                ));
                for number in 0..100 {
                    let event = format!("data: {{\"n\":{number}}}\n\n");
                    let size = event.len();
                    connection.send(match chunked {
                        true => format!("{size:x}\r\n{event}\r\n"),
                        false => event,
                    });
                    wait.pass();
                }
                connection.send(if chunked { "0\r\n\r\n" } else { "" });
                connection.close();
            })
            .start();
        let gateway = gateway().route("/", &origin).start();
        let mut client = gateway.client();

        client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: events\r\n\r\n");
        client.read_head().expect("a head");
        for number in 0..100 {
            let event = client.wire().read_chunk().expect("an event");
            assert_eq!(event, format!("data: {{\"n\":{number}}}\n\n").into_bytes());
            gate.open();
        }
        assert_eq!(client.wire().read_chunk(), Ok(vec![]));
        assert_eq!(gateway.log_line("events")["streamed"], true);
    }
}

#[test]
fn a_head_leaves_before_its_body_comes() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            wait.pass();
            connection.send("ok");
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("a head");
    gate.open();

    assert_eq!(client.wire().read_exactly(2).as_deref(), Ok(&b"ok"[..]));
}

/// How long it takes until a client that goes away, in this way, ends the upstream's connection,
/// which has sent `said` and is silent since.
fn time_to_cancel(
    said: &'static str,
    leave: impl FnOnce(crate::support::client::Client),
) -> Duration {
    let heard = Gate::default();
    let tell = heard.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send(said);
            connection.wait_for_close();
            tell.open();
            connection.close();
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: left\r\n\r\n");
    origin.wait_for_requests(1);
    if !said.is_empty() {
        client.read_head().expect("a head");
    }
    let left = Instant::now();
    leave(client);
    heard.pass();
    let took = left.elapsed();
    assert_eq!(gateway.log_line("left")["outcome"], "downstream_gone");
    took
}

const SILENT_STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_client_that_leaves_ends_a_silent_upstream_before_its_answer() {
    let took = time_to_cancel("", drop);
    println!("closed: the upstream heard of it after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_client_that_leaves_ends_a_silent_upstream_in_mid_stream() {
    let took = time_to_cancel(SILENT_STREAM, drop);
    println!("closed in mid-stream: the upstream heard of it after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn an_empty_line_behind_the_request_does_not_hide_that_the_client_left() {
    let took = time_to_cancel(SILENT_STREAM, |mut client| {
        client.send("\r\n");
        drop(client);
    });
    println!("closed behind an empty line: the upstream heard of it after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_further_request_does_not_hide_that_the_client_left() {
    let took = time_to_cancel(SILENT_STREAM, |mut client| {
        client.send("GET /further HTTP/1.1\r\nHost: a\r\n\r\n");
        drop(client);
    });
    println!("closed behind a further request: the upstream heard of it after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_client_that_resets_ends_a_silent_upstream() {
    let took = time_to_cancel(SILENT_STREAM, crate::support::client::Client::reset);
    println!("reset: the upstream heard of it after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn a_client_that_leaves_after_an_upload_ends_a_silent_upstream() {
    let origin = origin()
        .on(|_, connection| {
            connection.wait_for_close();
            connection.close();
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    client.send(vec![b'x'; 300_000]);
    origin.wait_for_requests(1);

    let left = Instant::now();
    drop(client);
    origin.wait_for_ends(1);

    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
}

#[test]
fn a_client_that_leaves_within_its_upload_ends_the_upstream() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nX-Request-Id: left\r\n\r\nhell");
    crate::support::eventually("the origin's connection", || {
        (origin.connections() == 1).then_some(())
    });

    drop(client);

    origin.wait_for_ends(1);
    assert_eq!((origin.requests_seen(), origin.requests_cut()), (0, 1));
    assert_eq!(gateway.log_line("left")["outcome"], "downstream_gone");
}

#[test]
fn many_streams_at_a_time_do_not_wait_for_each_other() {
    const STREAMS: usize = 200;
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |request, connection| {
            connection.send(SILENT_STREAM);
            connection.send("6\r\ndata: \r\n");
            wait.pass();
            let target = request.target();
            connection.send(format!("{:x}\r\n{target}\r\n0\r\n\r\n", target.len()));
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut clients: Vec<_> = (0..STREAMS).map(|_| gateway.client()).collect();

    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for client in &mut clients {
        client.read_head().expect("a head");
        assert_eq!(client.wire().read_chunk().as_deref(), Ok(&b"data: "[..]));
    }
    assert_eq!(gateway.count("ringgate_endpoint_in_flight"), STREAMS as u64);
    (0..STREAMS).for_each(|_| gate.open());
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.wire().read_chunk(), Ok(format!("/{number}").into_bytes()));
    }

    gateway.wait_for_count("ringgate_endpoint_in_flight", 0);
}
