//! What is too large, too many or too slow has an answer, and never takes much memory.

use std::thread;

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Origin, origin};
use crate::support::{MIB, wire::Broken};

fn pair(listener: &str) -> (Origin, Gateway) {
    let origin = origin().reply("hello").start();
    let gateway = gateway().listener(listener).route("/", &origin).start();
    (origin, gateway)
}

#[track_caller]
fn expect_refused(gateway: &Gateway, request: impl AsRef<[u8]>, status: u16, reason: &str) {
    let mut client = gateway.client();
    client.send(request);
    let reply = client.read();
    assert_eq!(reply.status, status, "{}", reply.text());
    let line = gateway.log_line(reply.get("x-request-id").expect("an id"));
    assert_eq!((&line["reason"], &line["status"]), (&reason.into(), &status.into()), "{line}");
    let series = format!("ringgate_refused_total{{reason=\"{reason}\"}}");
    assert_eq!(gateway.count(&series), 1);
}

#[test]
fn a_field_name_of_70_kb_is_431() {
    let (origin, gateway) = pair("");

    let name = "x".repeat(70_000);
    expect_refused(
        &gateway,
        format!("GET / HTTP/1.1\r\nHost: a\r\n{name}: b\r\n\r\n"),
        431,
        "head_too_large",
    );

    assert_eq!(origin.connections(), 0);
}

#[test]
fn limits_of_the_head_are_the_listener_s() {
    let (_origin, gateway) = pair("limits = { head = \"2KiB\", headers = 5 }");

    let fields =
        |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count));
    assert_eq!(gateway.talk(fields(4)).status, 200);
    expect_refused(&gateway, fields(5), 431, "too_many_fields");
    let long =
        |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length));
    assert_eq!(gateway.talk(long(1_900)).status, 200);
    expect_refused(&gateway, long(2_100), 431, "head_too_large");
}

#[test]
fn a_body_that_says_it_is_too_large_is_413_before_it_is_sent() {
    let (origin, gateway) = pair("limits = { body = \"1MiB\" }");

    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n";
    expect_refused(&gateway, head, 413, "body_too_large");

    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_chunked_body_that_grows_too_large_is_413() {
    let (origin, gateway) = pair("limits = { body = \"64KiB\" }");

    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        gateway.talk(format!("{head}{chunk}0\r\n\r\n")).status,
        200,
        "just as large as allowed"
    );
    expect_refused(&gateway, format!("{head}{chunk}1\r\nx\r\n0\r\n\r\n"), 413, "body_too_large");

    origin.wait_for_ends(1);
    assert_eq!(origin.requests_seen(), 1);
}

#[test]
fn a_head_that_stops_arriving_is_408() {
    let (_origin, gateway) = pair("timeouts = { request_head = \"200ms\" }");

    expect_refused(&gateway, "GET / HTTP/1.1\r\nHost: a\r\nX-", 408, "head_timeout");
}

#[test]
fn a_head_in_single_bytes_has_no_more_time_than_others() {
    let (_origin, gateway) = pair("timeouts = { request_head = \"300ms\" }");
    let mut client = gateway.client();

    // Each byte comes soon after the one before; only their sum is too slow.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    let sender = client.wire().stream().try_clone().expect("a descriptor is free");
    let trickle = thread::spawn(move || {
        for _ in 0..100 {
            if std::io::Write::write_all(&mut &sender, b"X-A: b\r\n").is_err() {
                return;
            }
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    });

    match client.try_read() {
        Ok(reply) => assert_eq!(reply.status, 408),
        Err(broken) => assert_eq!(broken, Broken::Reset),
    }
    trickle.join().expect("the sender only sends");
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"head_timeout\"}"), 1);
}

#[test]
fn a_body_that_stops_arriving_is_408_or_closed() {
    let (origin, gateway) = pair("timeouts = { request_body = \"200ms\" }");
    let mut client = gateway.client();

    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nX-Request-Id: slow\r\nContent-Length: 10\r\n\r\nhello",
    );

    assert_eq!(client.read().status, 408);
    assert_eq!(gateway.log_line("slow")["outcome"], "downstream_timeout");
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"body_timeout\"}"), 1);
    origin.wait_for_ends(1);
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let (_origin, gateway) = pair("limits = { connections = 3 }");
    let mut held: Vec<Client> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }

    gateway.client().expect_ended();

    assert_eq!(gateway.count("ringgate_worker_connections_refused_total"), 1);
    drop(held);
    gateway.wait_for_count("http_connections_active", 0);
    assert_eq!(gateway.get("/").status, 200);
}

/// Memory that one connection may take, whatever passes through it.
const RSS_GROWTH_MAX: u64 = 16 * MIB;

#[track_caller]
fn expect_bounded(gateway: &Gateway, before: u64) {
    let after = gateway.rss();
    println!("{} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(after < before + RSS_GROWTH_MAX, "from {before} to {after} bytes");
}

#[test]
fn a_large_upload_to_a_slow_upstream_stays_outside() {
    const UPLOAD: usize = 1 << 30;
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .serve(move |connection| {
            let Some(head) = connection.read_head() else { return };
            assert_eq!(head.get("transfer-encoding"), Some("chunked"));
            wait.pass();
            let mut received = 0;
            loop {
                match connection.wire().read_chunk() {
                    Ok(chunk) if chunk.is_empty() => break,
                    Ok(chunk) => received += chunk.len(),
                    Err(broken) => panic!("after {received} bytes: {broken:?}"),
                }
            }
            connection.reply(&received.to_string());
        })
        .start();
    let gateway = gateway().listener("limits = { body = \"2GiB\" }").route("/", &origin).start();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let before = gateway.rss();

    let sender = client.wire().stream().try_clone().expect("a descriptor is free");
    let upload = thread::spawn(move || {
        let chunk = [b"100000\r\n", &*vec![b'x'; 1 << 20], b"\r\n"].concat();
        for _ in 0..UPLOAD >> 20 {
            std::io::Write::write_all(&mut &sender, &chunk).expect("the gateway goes on reading");
        }
        std::io::Write::write_all(&mut &sender, b"0\r\n\r\n").expect("the gateway goes on reading");
    });
    // While the upstream takes nothing, what the gateway takes comes to an end by itself.
    let mut received = 0;
    crate::support::eventually("the upload to stand still", || {
        let now = gateway.count("ringgate_worker_syscalls_total")
            + gateway.count("ringgate_worker_cqes_total");
        let still = now == received;
        received = now;
        thread::park_timeout(std::time::Duration::from_millis(100));
        still.then_some(())
    });
    expect_bounded(&gateway, before);
    gate.open();

    assert_eq!(client.read().text(), UPLOAD.to_string());
    upload.join().expect("everything was sent");
    expect_bounded(&gateway, before);
}

#[test]
fn a_client_that_reads_slowly_slows_the_upstream() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..1024 {
                if connection.wire().send(&piece).is_err() {
                    break;
                }
            }
            connection.close();
        })
        .start();
    let timeouts = "timeouts = { idle = \"500ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let before = gateway.rss();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: slow\r\n\r\n");
    client.read_head().expect("a head");
    for _ in 0..10 {
        client.wire().read_exactly(1).expect("a byte");
        expect_bounded(&gateway, before);
    }

    // It takes no more, and that is not the upstream's fault.
    let line = gateway.log_line("slow");
    assert_eq!(line["outcome"], "downstream_timeout", "{line}");
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0);
    expect_bounded(&gateway, before);
    origin.wait_for_ends(1);
}

#[test]
fn a_large_answer_passes_whole_and_takes_no_memory() {
    const PIECES: usize = 256;
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [b"100000\r\n", &*vec![b'x'; 1 << 20], b"\r\n"].concat();
            (0..PIECES).for_each(|_| connection.send(&chunk));
            connection.send("0\r\n\r\n");
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let before = gateway.rss();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_head().expect("a head");
    let mut received = 0;
    loop {
        match client.wire().read_chunk().expect("a chunk") {
            chunk if chunk.is_empty() => break,
            chunk => received += chunk.len(),
        }
    }

    assert_eq!(received, PIECES << 20);
    expect_bounded(&gateway, before);
}

#[test]
fn what_stands_in_a_body_that_is_too_large_is_never_read_as_a_request() {
    let origin = origin().start();
    let gateway = gateway().listener("limits = { body = \"4B\" }").route("/", &origin).start();
    let inner = "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = gateway.client();

    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{inner}\r\n0\r\n\r\n",
        inner.len()
    ));

    assert_eq!(client.read().status, 413);
    client.expect_closed();
    assert_eq!(origin.requests_seen(), 0);
}
