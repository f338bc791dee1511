//! How the program ends.

use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Origin, origin};
use crate::support::wire::Wire;

/// An origin that sends a beginning, waits for the gate, and then sends the rest.
fn slow(gate: &Gate) -> Origin {
    let wait = gate.clone();
    origin()
        .on(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            wait.pass();
            connection.send("world");
        })
        .start()
}

fn wait_until_draining(gateway: &Gateway) {
    crate::support::eventually("readiness to fail", || {
        (gateway.admin("/actuator/health/readiness").status == 503).then_some(())
    });
}

#[test]
fn term_finishes_what_is_under_way_and_ends_well() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().route("/", &origin).start();
    let mut idle = gateway.client();
    let mut busy = gateway.client();
    let mut other = gateway.client();
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gate.open();
    assert_eq!(other.read().text(), "helloworld");
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.read_head().expect("a head");

    gateway.signal(libc::SIGTERM);
    other.expect_closed();
    wait_until_draining(&gateway);
    assert_eq!(gateway.admin("/actuator/health/liveness").status, 200);
    gate.open();

    assert_eq!(busy.wire().read_exactly(10).as_deref(), Ok(&b"helloworld"[..]));
    busy.expect_closed();
    // One that has never been used may still send its first request, or is closed at the end.
    idle.finish_sending();
    idle.expect_closed();
    assert!(gateway.wait_for_exit().success());
    assert_eq!(gateway.log_lines().len(), 2, "the last lines are written");
}

#[test]
fn a_request_that_comes_while_draining_is_answered_with_close() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().route("/", &origin).start();
    let mut busy = gateway.client();
    let mut fresh = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.read_head().expect("a head");
    gateway.wait_for_count("http_connections_active", 2);

    gateway.signal(libc::SIGTERM);
    wait_until_draining(&gateway);
    fresh.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = fresh.read_head().expect("an answer");
    assert_eq!(head.get("connection"), Some("close"));

    gate.open();
    gate.open();
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn a_request_that_comes_on_an_idle_connection_just_after_the_drain_began_is_answered() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().route("/", &origin).start();
    let mut clients: Vec<_> = (0..8).map(|_| gateway.client()).collect();
    for client in &mut clients {
        gate.open();
        assert_eq!(client.get("/").text(), "helloworld");
    }

    gateway.signal(libc::SIGTERM);
    wait_until_draining(&gateway);
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        gate.open();
    }

    for client in &mut clients {
        let reply = client.read();
        assert_eq!((reply.text(), reply.keeps_alive()), ("helloworld", false));
        client.expect_closed();
    }
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn requests_that_were_sent_ahead_make_no_reset_of_a_close() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2));
    client.read_head().expect("a head");

    // The second one was sent in the belief that the connection stays.
    gateway.signal(libc::SIGTERM);
    wait_until_draining(&gateway);
    gate.open();
    assert_eq!(client.wire().read_exactly(10).as_deref(), Ok(&b"helloworld"[..]));
    gate.open();
    let reply = client.read();
    assert_eq!((reply.text(), reply.keeps_alive()), ("helloworld", false));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.expect_closed();
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn a_drain_has_an_end() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().server("drain_timeout = \"300ms\"").route("/", &origin).start();
    let mut stuck = gateway.client();
    stuck.send("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: stuck\r\n\r\n");
    stuck.read_head().expect("a head");

    let began = Instant::now();
    let status = gateway.terminate();

    assert!(began.elapsed().as_millis() >= 300);
    println!("ended with {status} after {:?}", began.elapsed());
    let line = gateway.log_line("stuck");
    assert_eq!(line["outcome"], "shutdown", "{line}");
    gate.open();
}

#[test]
fn int_ends_at_once() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let mut gateway = gateway().route("/", &origin).start();
    let mut busy = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.read_head().expect("a head");

    gateway.signal(libc::SIGINT);

    gateway.wait_for_exit();
    gate.open();
}

#[test]
fn an_idle_gateway_ends_at_once() {
    let mut gateway = gateway().start();

    let status = gateway.terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn who_connects_while_it_ends_is_answered_or_refused() {
    let origin = origin().reply("hello").start();
    let mut gateway = gateway().route("/", &origin).start();
    let address = gateway.address();
    let ask = move || {
        let mut answered = 0;
        while let Ok(stream) = TcpStream::connect(address) {
            let mut client = Client::over(Wire::new(stream));
            client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let reply = client.try_read().expect("who was let in is answered");
            assert_eq!(reply.text(), "hello");
            answered += 1;
        }
        answered
    };

    let clients: Vec<_> = (0..8).map(|_| thread::spawn(ask)).collect();
    gateway.wait_for_log(500);
    assert!(gateway.terminate().success());

    let answered: usize = clients.into_iter().map(|client| client.join().expect("no reset")).sum();
    assert_eq!(gateway.log_lines().len(), answered);
}
