//! How long connections live, on either side.

use crate::support::gate::Gate;
use crate::support::gateway::gateway;
use crate::support::origin::origin;
use crate::support::raise_open_files;
use crate::wire;

#[test]
fn a_request_goes_to_the_origin_and_its_answer_comes_back() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();

    let reply = gateway.get("/a?b=c");

    assert_eq!(reply.status, 200);
    assert_eq!(reply.text(), "hello");
    assert_eq!(origin.request().target(), "/a?b=c");
}

#[test]
fn a_connection_carries_many_requests_and_uses_one_to_the_origin() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let mut client = gateway.client();

    for number in 0..20 {
        assert_eq!(client.get(&format!("/{number}")).text(), "hello");
    }

    assert_eq!(origin.requests_seen(), 20);
    assert_eq!(origin.connections(), 1);
    assert_eq!(gateway.count("ringgate_upstream_connects_total"), 1);
    assert_eq!(gateway.count("ringgate_upstream_reused_total"), 19);
}

#[test]
fn clients_share_the_idle_connections_to_an_origin() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().workers(1).route("/", &origin).start();

    for _ in 0..5 {
        gateway.get("/");
    }

    assert_eq!(origin.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = origin().on(|request, connection| connection.reply(request.target())).start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    let requests: Vec<u8> =
        (0..50).flat_map(|number| wire![format!("GET /{number} HTTP/1.1") "Host: a" ""]).collect();
    client.send(requests);

    for number in 0..50 {
        assert_eq!(client.read().text(), format!("/{number}"));
    }
}

#[test]
fn a_pipelined_request_behind_a_body_is_found() {
    let origin = origin().on(|request, connection| connection.reply(request.target())).start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send(wire!["POST /1 HTTP/1.1" "Host: a" "Content-Length: 5" "" "helloGET /2 HTTP/1.1" "Host: a" ""]);

    assert_eq!(client.read().text(), "/1");
    assert_eq!(client.read().text(), "/2");
    assert_eq!(origin.requests()[0].body, b"hello");
}

#[test]
fn connection_close_is_obeyed_after_the_answer() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send(wire!["GET / HTTP/1.1" "Host: a" "Connection: close" ""]);

    let reply = client.read();
    assert_eq!(reply.get("connection"), Some("close"));
    client.expect_closed();
    // It is a matter between client and gateway.
    assert_eq!(origin.request().get("connection"), None);
}

#[test]
fn http_1_0_closes_unless_it_asks_to_be_kept() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();

    let mut client = gateway.client();
    client.send(wire!["GET / HTTP/1.0" ""]);
    assert_eq!(client.read().text(), "hello");
    client.expect_closed();

    let mut client = gateway.client();
    for _ in 0..2 {
        client.send(wire!["GET / HTTP/1.0" "Connection: keep-alive" ""]);
        let reply = client.read();
        assert_eq!(reply.get("connection"), Some("keep-alive"));
        assert_eq!(reply.text(), "hello");
    }
}

#[test]
fn an_idle_connection_is_closed_after_its_timeout() {
    let origin = origin().reply("hello").start();
    let timeouts = "timeouts = { keep_alive = \"200ms\" }";
    let gateway = gateway().listener(timeouts).route("/", &origin).start();
    let mut client = gateway.client();

    client.get("/");

    client.expect_closed();
    gateway.wait_for_count("ringgate_requests_total", 1);
}

#[test]
fn a_connection_that_says_nothing_is_closed_without_an_answer() {
    let origin = origin().reply("hello").start();
    let timeouts = "timeouts = { request_head = \"200ms\" }";
    let gateway = gateway().listener(timeouts).route("/", &origin).start();

    gateway.client().expect_closed();

    assert_eq!(gateway.count("ringgate_requests_total"), 0);
}

#[test]
fn an_answer_with_connection_close_from_the_origin_keeps_the_client() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            connection.close();
        })
        .start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let mut client = gateway.client();

    for _ in 0..3 {
        let reply = client.get("/");
        assert_eq!((reply.text(), reply.get("connection")), ("ok", None));
    }

    assert_eq!(origin.connections(), 3);
    assert_eq!(gateway.count("ringgate_upstream_reused_total"), 0);
}

#[test]
fn a_body_in_several_pieces_keeps_the_connection() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
        client.send(vec![b'x'; 300_000]);
        let reply = client.read();
        assert!(reply.keeps_alive(), "{:?}", reply.head);
    }
}

#[test]
fn fixed_answers_keep_the_connection() {
    let route = "[[route]]\nrespond = { status = 200, body = \"here\\n\" }\n";
    let config = format!("{}{route}", crate::support::gateway::listener(""));
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();

    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "here\n");
    }
    let reply = client.post("/", "", "a body that nobody wants");
    assert_eq!(reply.text(), "here\n");
    assert_eq!(client.get("/").text(), "here\n");
}

#[test]
fn the_connections_that_a_crowd_has_needed_serve_the_next() {
    raise_open_files();
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            wait.pass();
            connection.reply("hello");
        })
        .start();
    let gateway = gateway().workers(1).route("/", &origin).start();
    let crowd = 600;
    let mut clients: Vec<_> = (0..crowd).map(|_| gateway.client()).collect();

    for round in 1..=2 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        origin.wait_for_requests(round * crowd);
        (0..crowd).for_each(|_| gate.open());
        clients.iter_mut().for_each(|client| assert_eq!(client.read().text(), "hello"));
    }

    assert_eq!(origin.connections(), crowd);
}
