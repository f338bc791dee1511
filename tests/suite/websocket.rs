//! Connections that go on in another protocol.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use crate::support::client::Client;
use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, cluster_of, example, gateway, listener};
use crate::support::origin::{Connection, Origin, origin};
use crate::support::tls::{Authority, tls_of};
use crate::support::wire::Broken;
use crate::support::{MIB, eventually};
use crate::wire;

/// The example of RFC 6455, 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Close frames with 1001, to a client and to a server.
const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];
const GOING_AWAY_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE9];

fn handshake() -> Vec<u8> {
    wire![
        "GET /chat?room=1 HTTP/1.1" "Host: a" "Connection: keep-alive, Upgrade" "Upgrade: websocket"
        "Sec-WebSocket-Version: 13" format!("Sec-WebSocket-Key: {KEY}") "X-Request-Id: ws" ""
    ]
}

fn accepted() -> Vec<u8> {
    wire![
        "HTTP/1.1 101 Switching Protocols" "Connection: Upgrade" "Upgrade: websocket"
        format!("Sec-WebSocket-Accept: {ACCEPT}") "Sec-WebSocket-Protocol: chat" ""
    ]
}

fn asks_for(protocol: &str) -> Vec<u8> {
    wire!["POST /raw HTTP/1.1" "Host: a" "Connection: upgrade" format!("Upgrade: {protocol}") "X-Request-Id: raw" ""]
}

fn switched_to(protocol: &str) -> Vec<u8> {
    wire!["HTTP/1.1 101 Yes" format!("Upgrade: {protocol}") "Connection: upgrade" ""]
}

/// An origin that accepts, and then does this.
fn tunnelling(then: impl Fn(&mut Connection) + Send + Sync + 'static) -> Origin {
    origin()
        .serve(move |connection| {
            let Some(request) = connection.read_request() else { return };
            let protocol = request.get("upgrade").expect("an upgrade").to_owned();
            connection.send(match protocol.as_str() {
                "websocket" => accepted(),
                other => switched_to(other),
            });
            then(connection);
        })
        .start()
}

/// Sends back what comes, to its end.
fn echo(connection: &mut Connection) {
    while let Ok(byte) = connection.wire().read_exactly(1) {
        connection.send(byte);
    }
}

fn gateway_for(origin: &Origin) -> Gateway {
    gateway().route("/", origin).start()
}

/// A client that has been switched.
fn switched(gateway: &Gateway, request: &[u8]) -> Client {
    let mut client = gateway.client();
    client.send(request);
    assert_eq!(client.read_head().expect("a head").word(1), "101");
    client
}

fn assert_reads(client: &mut Client, expected: &[u8]) {
    let read = client.wire().read_exactly(expected.len()).expect("as many bytes");
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(expected));
}

#[test]
fn a_websocket_is_asked_for_and_then_goes_both_ways() {
    let origin = tunnelling(echo);
    let gateway = gateway_for(&origin);
    let mut client = gateway.client();

    client.send(handshake());

    let head = client.read_head().expect("a head");
    assert_eq!(head.start_line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.get("connection"), Some("upgrade"));
    assert_eq!(head.get("upgrade"), Some("websocket"));
    assert_eq!(head.get("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.get("sec-websocket-protocol"), Some("chat"));
    let request = origin.request();
    assert_eq!(request.target(), "/chat?room=1");
    assert_eq!(request.get("connection"), Some("upgrade"));
    assert_eq!(request.get("upgrade"), Some("websocket"));
    assert_eq!(request.get("sec-websocket-key"), Some(KEY));
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));

    for text in ["one", "two", "three"] {
        client.send(text);
        assert_reads(&mut client, text.as_bytes());
    }
    assert_eq!(gateway.count("ringgate_upgrades_active"), 1);
    client.finish_sending();
    client.expect_closed();

    let line = gateway.log_line("ws");
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"completed".into()), "{line}");
    let [bytes_in, bytes_out] = ["bytes_in", "bytes_out"].map(|key| line[key].as_u64().unwrap());
    assert_eq!(bytes_in, handshake().len() as u64 + 11);
    assert_eq!(bytes_out, head.raw.len() as u64 + 11);
    assert_eq!(gateway.count("ringgate_upgrades_total{protocol=\"websocket\"}"), 1);
    assert_eq!(gateway.count("ringgate_upgrades_active"), 0);
    assert_eq!(gateway.count("ringgate_endpoint_in_flight"), 0);
}

#[test]
fn any_protocol_but_http_may_be_asked_for() {
    let origin = tunnelling(echo);
    let gateway = gateway_for(&origin);

    let mut client = switched(&gateway, &asks_for("tcp/1.0"));
    client.send(b"\0\r\n\r\n\xff");
    assert_reads(&mut client, b"\0\r\n\r\n\xff");

    assert_eq!(gateway.count("ringgate_upgrades_total{protocol=\"other\"}"), 1);
}

#[test]
fn nothing_is_lost_where_the_protocol_changes() {
    let origin = origin()
        .serve(|connection| {
            connection.read_request().expect("a request");
            connection.send([&accepted()[..], b"early bird"].concat());
            echo(connection);
        })
        .start();
    let gateway = gateway_for(&origin);
    let mut client = gateway.client();

    client.send([&handshake()[..], b"earlier still"].concat());

    client.read_head().expect("a head");
    assert_reads(&mut client, b"early birdearlier still");
}

#[test]
fn what_stands_behind_a_request_that_is_not_switched_is_the_next_request() {
    let origin = origin().on(|request, connection| connection.reply(request.target())).start();
    let gateway = gateway_for(&origin);
    let mut client = gateway.client();

    client.send([&handshake()[..], &wire!["GET /next HTTP/1.1" "Host: a" ""]].concat());

    assert_eq!(client.read().text(), "/chat?room=1");
    assert_eq!(client.read().text(), "/next");
    assert_eq!(client.get("/and").text(), "/and");
    assert_eq!(origin.connections(), 1, "nobody has switched, so the connection is as it was");
    let next = &origin.requests()[1];
    assert!(next.get("upgrade").is_none() && next.get("connection").is_none(), "{next:?}");
    assert_eq!(gateway.count("ringgate_upgrades_total"), 0);
}

#[test]
fn nothing_goes_on_before_the_endpoint_has_switched() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .serve(move |connection| {
            connection.read_request().expect("a request");
            wait.pass();
            connection.wire().stream().set_nonblocking(true).expect("a socket");
            let peeked = connection.wire().peek();
            assert!(peeked.is_err(), "something came before the switch");
            connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        })
        .start();
    let gateway = gateway_for(&origin);
    let mut client = gateway.client();

    client.send([&handshake()[..], b"GET /smuggled HTTP/1.1\r\n"].concat());
    gateway.wait_for_count("ringgate_endpoint_in_flight", 1);
    origin.wait_for_requests(1);
    gate.open();

    assert_eq!(client.read().status, 403);
}

#[test]
fn an_end_of_either_side_is_passed_on_while_the_other_goes_on() {
    let origin = tunnelling(|connection| {
        let (all, end) = connection.wire().read_to_end();
        assert_eq!((&all[..], end), (&b"question"[..], Broken::Cut));
        connection.send("answer");
    });
    let gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &asks_for("raw"));
    client.send("question").finish_sending();
    assert_reads(&mut client, b"answer");
    client.expect_closed();

    let said = Gate::default();
    let pass = said.clone();
    let origin = tunnelling(move |connection| {
        connection.send("bye");
        connection.close();
        assert_eq!(connection.wire().read_exactly(4).as_deref(), Ok(&b"last"[..]));
        pass.open();
    });
    let gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &asks_for("raw"));
    assert_reads(&mut client, b"bye");
    client.expect_closed();
    client.send("last");
    said.pass();
}

#[test]
fn much_goes_both_ways_at_once_and_arrives_as_it_was_sent() {
    const LEN: usize = 16 * MIB as usize;
    let content = |seed: usize| (0..LEN).map(move |at| (at * 31 / 7 + seed) as u8);
    let arrived = Gate::default();
    let pass = arrived.clone();
    let origin = tunnelling(move |connection| {
        let mut stream = connection.wire().stream().try_clone().expect("a descriptor is free");
        let sender = thread::spawn(move || {
            let all: Vec<u8> = content(1).collect();
            std::io::Write::write_all(&mut stream, &all).expect("all of it is taken");
        });
        let came = connection.wire().read_exactly(LEN).expect("all of it");
        assert!(came.into_iter().eq(content(2)));
        sender.join().expect("the sender is well");
        pass.open();
    });
    let gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &asks_for("raw"));

    let mut stream = client.wire().stream().try_clone().expect("a descriptor is free");
    let sender = thread::spawn(move || {
        let all: Vec<u8> = content(2).collect();
        std::io::Write::write_all(&mut stream, &all).expect("all of it is taken");
    });
    let came = client.wire().read_exactly(LEN).expect("all of it");

    assert!(came.into_iter().eq(content(1)));
    sender.join().expect("the sender is well");
    arrived.pass();
}

#[test]
fn who_reads_nothing_stops_who_sends() {
    const LEN: u64 = 256 * MIB;
    let origin = tunnelling(|connection| {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..LEN / MIB {
            connection.send(&piece);
        }
    });
    let timeouts = "timeouts = { upgrade_idle = \"300ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let before = gateway.rss();

    let _client = switched(&gateway, &asks_for("raw"));

    // It came to a standstill long before the end, with no more than sockets hold.
    let line = gateway.log_line("raw");
    assert_eq!(line["outcome"], "idle_timeout");
    let passed = line["bytes_out"].as_u64().expect("a number");
    assert!(passed < LEN / 4, "{passed} bytes to a client that reads nothing");
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown} bytes for a client that reads nothing");
}

#[test]
fn a_silent_connection_is_closed_after_its_own_timeout() {
    let origin = tunnelling(|connection| connection.wait_for_close());
    let timeouts = "timeouts = { idle = \"50ms\", total = \"50ms\", upgrade_idle = \"400ms\" }";
    let gateway = gateway().route_with("/", &[origin.address], "", timeouts).start();
    let began = Instant::now();

    let mut client = switched(&gateway, &asks_for("raw"));

    client.expect_closed();
    assert!(began.elapsed().as_millis() >= 400, "after {:?}", began.elapsed());
    let line = gateway.log_line("raw");
    assert_eq!(line["outcome"], "idle_timeout");
    assert_eq!(line["reason"], "upgrade_idle");
    assert_eq!(gateway.count("ringgate_upstream_failures_total"), 0, "no fault of the endpoint");
}

#[test]
fn a_connection_that_breaks_breaks_on_the_other_side_too() {
    let origin = tunnelling(|connection| {
        connection.wire().read_exactly(4).expect("a beginning");
        connection.reset();
    });
    let gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &asks_for("raw"));
    client.send("over");
    assert_eq!(client.wire().read_to_end(), (Vec::new(), Broken::Reset));
    assert_eq!(gateway.log_line("raw")["outcome"], "upstream_cut");

    let origin = tunnelling(|connection| {
        assert_eq!(connection.wire().read_to_end().1, Broken::Reset);
    });
    let gateway = gateway_for(&origin);
    switched(&gateway, &asks_for("raw")).reset();
    assert_eq!(gateway.log_line("raw")["outcome"], "downstream_gone");
}

/// An answer of 101 to this request is a fault of the endpoint.
#[track_caller]
fn is_refused(request: &[u8], answer: Vec<u8>, reason: &str) {
    let origin = origin().reply_raw(answer).start();
    let gateway = gateway_for(&origin);

    let reply = gateway.talk(request);

    assert_eq!(reply.status, 502);
    assert_eq!(gateway.count(&format!("ringgate_upstream_faults_total{{reason={reason:?}}}")), 1);
    assert_eq!(gateway.count("ringgate_upgrades_total"), 0);
}

#[test]
fn an_answer_to_another_question_is_a_fault() {
    is_refused(&wire!["GET / HTTP/1.1" "Host: a" ""], accepted(), "unasked_switch");
    is_refused(&asks_for("raw"), accepted(), "unasked_switch");
    is_refused(&asks_for("raw"), switched_to("h2c"), "unasked_switch");
    is_refused(&asks_for("raw"), switched_to("raw/2"), "unasked_switch");
    is_refused(&handshake(), switched_to("websocket"), "wrong_websocket_accept");
    let wrong = String::from_utf8(accepted()).unwrap().replace(ACCEPT, KEY);
    is_refused(&handshake(), wrong.into_bytes(), "wrong_websocket_accept");
}

#[test]
fn what_is_no_proper_question_is_not_asked() {
    let origin = origin().reply("hello").start();
    let gateway = gateway_for(&origin);
    let text = String::from_utf8(handshake()).expect("it is text");
    for request in [
        text.replace("keep-alive, Upgrade", "keep-alive"),
        text.replace("Upgrade: websocket", "Upgrade: h2c"),
        text.replace("Upgrade: websocket", "Upgrade: websocket, h2c"),
        text.replace("Upgrade: websocket", "Upgrade: websocket\r\nUpgrade: raw"),
        text.replace(KEY, "short"),
        text.replace("GET", "POST"),
        text.replace("HTTP/1.1", "HTTP/1.0"),
        text.replace("Host: a", "Host: a\r\nContent-Length: 0"),
    ] {
        assert_eq!(gateway.talk(&request).text(), "hello", "{request}");
        let seen = origin.requests().pop().expect("a request");
        assert!(seen.get("upgrade").is_none() && seen.get("connection").is_none(), "{request}");
    }
}

#[test]
fn fixed_answers_know_no_other_protocol() {
    let route = "[[route]]\nrespond = { body = \"here\" }\n";
    let gateway = gateway().config(format!("{}{route}", listener(""))).start();

    assert_eq!(gateway.talk(handshake()).text(), "here");
}

fn frame(opcode: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let len = u8::try_from(payload.len()).expect("it is short");
    let key: &[u8] = if masked { &[0; 4] } else { &[] };
    [&[opcode, mask | len], key, payload].concat()
}

#[test]
fn a_drain_closes_websockets_between_two_frames() {
    let text = frame(0x01, false, b"halves of a message");
    let (begin, rest) = text.split_at(7);
    let (begin, rest) = (begin.to_vec(), rest.to_vec());
    let (begun, told, go_on) = (Gate::default(), Gate::default(), Gate::default());
    let (has_begun, is_told, may_go_on) = (begun.clone(), told.clone(), go_on.clone());
    let origin = tunnelling(move |connection| {
        connection.send(&begin);
        has_begun.open();
        let close = connection.wire().read_exactly(GOING_AWAY_MASKED.len());
        assert_eq!(close.as_deref(), Ok(&GOING_AWAY_MASKED[..]));
        is_told.open();
        may_go_on.pass();
        connection.send([&rest[..], &frame(0x80, false, b"the other half")].concat());
        connection.send(frame(0x88, false, &[0x03, 0xE9]));
        // Nothing of the client's message has come behind the Close.
        connection.wait_for_close();
    });
    let mut gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &handshake());
    begun.pass();
    assert_reads(&mut client, &text[..7]);

    gateway.signal(libc::SIGTERM);
    told.pass();
    client.send(frame(0x81, true, b"too late"));
    go_on.open();

    // The frame under way ends, and Close follows in place of the next one.
    let expected = [&text[7..], &GOING_AWAY[..]].concat();
    assert_eq!(client.wire().read_exactly(expected.len()).as_deref(), Ok(&expected[..]));
    client.send(frame(0x88, true, &[0x03, 0xE9]));
    client.expect_closed();
    assert!(gateway.wait_for_exit().success());
    let line = gateway.log_line("ws");
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"completed".into()), "{line}");
}

#[test]
fn who_does_not_answer_a_close_is_not_waited_for_long() {
    let origin = tunnelling(|connection| {
        drop(connection.wire().read_to_end());
    });
    let mut gateway = gateway().server("drain_timeout = \"60s\"").route("/", &origin).start();
    let mut client = switched(&gateway, &handshake());

    gateway.signal(libc::SIGTERM);

    assert_eq!(client.wire().read_exactly(4).as_deref(), Ok(&GOING_AWAY[..]));
    // Long before the end of the drain, or this waits in vain.
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn a_websocket_that_closes_by_itself_during_a_drain_is_left_alone() {
    let close = frame(0x88, false, &[0x03, 0xE8]);
    let sent = close.clone();
    let origin = tunnelling(move |connection| {
        connection.send(&sent);
        // The client's own, and nothing of ours.
        let answer = frame(0x88, true, &[0x03, 0xE8]);
        assert_eq!(connection.wire().read_to_end(), (answer, Broken::Cut));
    });
    let mut gateway = gateway_for(&origin);
    let mut client = switched(&gateway, &handshake());
    assert_reads(&mut client, &close);
    client.send(frame(0x88, true, &[0x03, 0xE8])).finish_sending();

    gateway.signal(libc::SIGTERM);

    client.expect_closed();
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn other_protocols_go_on_to_the_end_of_a_drain() {
    let origin = tunnelling(echo);
    let mut gateway = gateway().server("drain_timeout = \"500ms\"").route("/", &origin).start();
    let mut client = switched(&gateway, &asks_for("raw"));
    gateway.signal(libc::SIGTERM);
    eventually("a drain", || {
        (gateway.admin("/actuator/health/readiness").status == 503).then_some(())
    });

    client.send("still here");
    assert_reads(&mut client, b"still here");

    gateway.wait_for_exit();
    client.expect_ended();
    let line = gateway.log_line("raw");
    assert_eq!(line["outcome"], "shutdown");
    let request = asks_for("raw").len() as u64;
    assert_eq!(line["bytes_in"], request + 10, "what went through is in the log all the same");
}

#[test]
fn an_endpoint_that_does_not_answer_gives_way_before_the_switch() {
    let dead = SocketAddr::from(([127, 0, 0, 1], crate::support::free_port()));
    let origin = tunnelling(echo);
    let route = "[[route]]\ncluster = \"c\"\n";
    let cluster = cluster_of("c", &[dead, origin.address], "");
    let gateway = gateway().workers(1).config(format!("{}{route}{cluster}", listener(""))).start();

    for _ in 0..2 {
        let mut client = switched(&gateway, &handshake());
        client.send("x");
        assert_reads(&mut client, b"x");
    }
}

#[test]
fn a_websocket_may_come_over_tls() {
    const LEN: usize = MIB as usize;
    let authority = Authority::new();
    let origin = tunnelling(|connection| {
        let came = connection.wire().read_exactly(LEN).expect("all of it");
        connection.send(came);
        let (rest, end) = connection.wire().read_to_end();
        assert_eq!((&rest[..], end), (&b"bye"[..], Broken::Cut));
    });
    let tls = tls_of(&[&authority.issue("a", &["a.example"])]);
    let gateway = gateway().listener(&tls).route("/", &origin).start();
    let mut client = authority.client().connect(gateway.address(), "a.example");

    client.send(handshake());
    assert_eq!(client.read_head().expect("a head").word(1), "101");
    assert_eq!(origin.request().get("x-forwarded-proto"), Some("https"));
    let content: Vec<u8> = (0..LEN).map(|at| (at / 3) as u8).collect();
    client.send(&content);

    assert_eq!(client.wire().read_exactly(LEN), Ok(content));
    client.send("bye").finish_sending();
    client.expect_closed();
    assert_eq!(gateway.log_line("ws")["outcome"], "completed");
}

#[test]
fn the_example_does_what_it_says() {
    let chat = tunnelling(echo);
    let other = tunnelling(echo);
    let web = origin().reply("web").start();
    let config = example(
        "websocket",
        &[
            ("0.0.0.0:8080", "127.0.0.1:0".to_owned()),
            ("10.0.1.10:9000", chat.address.to_string()),
            ("10.0.1.11:9000", other.address.to_string()),
            ("10.0.1.20:8080", web.address.to_string()),
        ],
    );
    let gateway = gateway().workers(1).config(config).start();

    let mut clients = [switched(&gateway, &handshake()), switched(&gateway, &handshake())];
    for client in &mut clients {
        client.send("hello");
        assert_reads(client, b"hello");
    }
    assert_eq!((chat.requests_seen(), other.requests_seen()), (1, 1));
    assert_eq!(gateway.get("/").text(), "web");
    assert_eq!(gateway.client().post("/chat", "", "no handshake").text(), "web");
}
