//! Endpoints that speak HTTP/2.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::support::eventually;
use crate::support::http2::origin::{Http2Origin, Served, http2_origin, http2_origin_with};
use crate::support::websocket;

fn to(origin: &Http2Origin, cluster: &str) -> GatewayBuilder {
    gateway_for_http2().workers(1).route_http2("/", origin.address, cluster)
}

#[test]
fn clients_of_either_version_reach_an_endpoint_of_http_2() {
    let origin = http2_origin(|served| served.reply("hello"));
    let gateway = to(&origin, "").start();

    assert_eq!(client(&gateway).get("/a?b").text(), "hello");
    assert_eq!(gateway.get("/c").text(), "hello");

    let requests = origin.requests();
    let line = |request: &crate::support::http2::origin::Seen| {
        format!("{} {}", request.method, request.uri)
    };
    let lines: Vec<_> = requests.iter().map(line).collect();
    assert_eq!(lines, ["GET http://a/a?b", "GET http://a/c"]);
    assert_eq!(requests[1].get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(requests[1].get("connection"), None);
    assert_eq!(origin.connections(), 1);
    assert_eq!(gateway.count("ringgate_http2_upstream_connections_total"), 1);
}

#[test]
fn a_burst_of_requests_shares_one_connection() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = http2_origin(move |served| {
        wait.pass();
        let target = served.path().to_owned();
        served.reply(&target);
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    let calls: Vec<_> = (0..50)
        .map(|n| format!("/{n}"))
        .map(|target| (client.request("GET", &target, &[]).end(), target))
        .collect();
    origin.wait_for_requests(50);
    (0..50).for_each(|_| gate.open());

    for (call, target) in calls {
        assert_eq!(call.read().text(), target);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_full_connection_is_joined_by_another() {
    let gate = Gate::default();
    let wait = gate.clone();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(4);
    let origin = http2_origin_with(builder, move |served| {
        if served.path() != "/first" {
            wait.pass();
        }
        served.reply("ok");
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);
    // The settings of the endpoint are known with its first answer.
    client.get("/first");

    let calls: Vec<_> = (0..8).map(|_| client.request("GET", "/", &[]).end()).collect();
    origin.wait_for_requests(9);
    (0..8).for_each(|_| gate.open());

    calls.into_iter().for_each(|call| assert_eq!(call.read().text(), "ok"));
    assert_eq!(origin.connections(), 2);
}

#[test]
fn bodies_and_trailers_pass_both_ways() {
    let origin = http2_origin(|served| {
        let (body, trailers) = served.read_rest();
        served.respond(200, &[("x-got", &body.len().to_string()), ("x-trailer", &trailers[0].1)]);
        served.send(&body);
        served.finish_with_trailers(&[("x-sum", "7"), ("content-length", "1")]);
    });
    let gateway = to(&origin, "").start();
    let body = vec![b'x'; 1 << 20];

    let mut client = client(&gateway);
    let mut call = client.request("POST", "/", &[]).open();
    call.send(&body);
    call.finish_with_trailers(&[("x-check", "1")]);
    let reply = call.read();
    assert_eq!((reply.get("x-got"), reply.get("x-trailer")), (Some("1048576"), Some("1")));
    assert_eq!(
        (reply.body.len(), &reply.trailers[..]),
        (1 << 20, &[("x-sum".into(), "7".into())][..])
    );

    let old = gateway.talk(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-check: 2\r\n\r\n",
    );
    assert_eq!((old.get("x-trailer"), old.text()), (Some("2"), "ab"));
    assert_eq!(old.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn both_directions_flow_at_once_end_to_end() {
    let origin = http2_origin(|served| {
        served.respond(200, &[]);
        while let Some(piece) = served.read_piece() {
            served.send(piece);
        }
        served.finish_with_trailers(&[("grpc-status", "0")]);
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[("te", "trailers")]).open();
    call.read_head();
    for number in 0..100 {
        call.send(number.to_string());
        assert_eq!(call.read_piece(), number.to_string());
    }
    call.finish();
    assert_eq!(call.try_read_piece().expect("an end"), None);
    assert_eq!(origin.requests()[0].get("te"), Some("trailers"));
}

#[test]
fn a_response_that_is_only_a_head_stays_one() {
    // As gRPC tells of an error at once.
    let origin = http2_origin(|served| {
        served.respond_empty(200, &[("content-type", "application/grpc"), ("grpc-status", "5")]);
    });
    let gateway = to(&origin, "").start();
    let mut client = FrameClient::connect(gateway.address());

    let stream = client.headers(END_STREAM, get("/"));
    let head = loop {
        let frame = client.read_frame().expect("a frame");
        if frame.stream == stream {
            break frame;
        }
    };

    assert_eq!(head.kind, crate::support::http2::frames::HEADERS);
    assert_ne!(head.flags & END_STREAM, 0, "it ends the stream");
}

#[test]
fn interim_responses_pass_end_to_end() {
    let origin = http2_origin(|served| {
        served.interim(103, &[("link", "</a>")]);
        served.reply("done");
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    let mut call = client.request("GET", "/", &[]).end();
    assert_eq!(call.read_interim().status(), 103);
    assert_eq!(call.read().text(), "done");
}

#[test]
fn a_request_that_is_cancelled_is_reset_at_the_endpoint() {
    let heard = Gate::default();
    let tell = heard.clone();
    let origin = http2_origin(move |served| {
        if served.path() == "/fine" {
            return served.reply("fine");
        }
        assert_eq!(served.wait_for_reset(), h2::Reason::CANCEL);
        tell.open();
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    let mut call = client.request("GET", "/", &[]).end();
    origin.wait_for_requests(1);
    let left = Instant::now();
    call.reset(h2::Reason::CANCEL);
    heard.pass();
    let took = left.elapsed();

    println!("the endpoint heard of it after {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(client.get("/fine").text(), "fine");
    assert_eq!(origin.connections(), 1, "the connection lives on");
}

#[test]
fn a_request_that_was_not_begun_with_is_sent_again() {
    let turns = AtomicUsize::new(0);
    let origin = http2_origin(move |served| match turns.fetch_add(1, Ordering::Relaxed) {
        0 => served.reset(h2::Reason::REFUSED_STREAM),
        _ => served.reply("hello"),
    });
    let gateway = to(&origin, "").start();

    // Not idempotent; but nothing was done with it.
    let reply = client(&gateway).request("POST", "/", &[]).end().read();

    assert_eq!((reply.status, reply.text()), (200, "hello"));
    assert_eq!(gateway.count("ringgate_upstream_retries_total"), 1);
}

#[test]
fn a_reset_by_the_endpoint_is_not_hidden() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = http2_origin(move |served| {
        if served.path() != "/before" {
            served.respond(200, &[]);
            served.send("hello");
            wait.pass();
        }
        served.reset(h2::Reason::INTERNAL_ERROR);
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    assert_eq!(client.request("POST", "/before", &[]).end().read().status, 502);

    let mut call = client.request("GET", "/within", &[]).end();
    call.read_head();
    assert_eq!(call.read_piece(), "hello");
    gate.open();
    let error = call.try_read_piece().expect_err("the response is not whole");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));

    let mut old = gateway.client();
    old.send("GET /within HTTP/1.1\r\nHost: a\r\n\r\n");
    old.read_head().expect("a head");
    assert_eq!(old.wire().read_chunk().as_deref(), Ok(&b"hello"[..]));
    gate.open();
    assert!(old.wire().read_chunk().is_err(), "a client of HTTP/1 notices too");
}

#[test]
fn after_a_goodbye_of_the_endpoint_another_connection_is_used() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = http2_origin(move |served| {
        if served.path() == "/last" {
            served.say_goodbye();
            wait.pass();
        }
        served.reply("hello");
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);
    let last = client.request("GET", "/last", &[]).end();
    origin.wait_for_requests(1);

    crate::support::eventually("a second connection", || {
        assert_eq!(client.get("/next").text(), "hello");
        (origin.connections() == 2).then_some(())
    });
    gate.open();

    assert_eq!(last.read().text(), "hello");
}

#[test]
fn a_broken_connection_is_replaced() {
    let origin = http2_origin(|served| served.reply("hello"));
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);
    assert_eq!(client.get("/").text(), "hello");

    origin.break_connections();

    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_endpoint_that_cannot_be_reached_or_speaks_http_1_is_502() {
    let closed = crate::support::free_port();
    let old = origin().serve(|connection| drop(connection.read_head())).start();
    let gateway = gateway_for_http2()
        .route_http2("/closed", ([127, 0, 0, 1], closed).into(), "")
        .route_http2("/old", old.address, "timeouts = { first_byte = \"5s\" }")
        .start();
    let mut client = client(&gateway);

    assert_eq!(client.get("/closed").status, 502);
    assert_eq!(client.get("/old").status, 502);
}

#[test]
fn a_silent_endpoint_is_504() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = http2_origin(move |_| {
        wait.try_pass();
    });
    let gateway = to(&origin, "timeouts = { first_byte = \"100ms\" }").start();

    assert_eq!(client(&gateway).get("/").status, 504);
    gate.open();
}

#[test]
fn a_slow_client_slows_the_endpoint_down() {
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&sent);
    let origin = http2_origin(move |served| {
        served.respond(200, &[]);
        for _ in 0..300 {
            if served.try_send(vec![b'x'; 1 << 20]).is_err() {
                return;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let gateway = to(&origin, "").start();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(stream), Fate::Answered(200));
    let mut received = 0;
    while received < 65_535 {
        let frame = client.read_frame().expect("a frame");
        received += if frame.kind == 0 { frame.payload.len() } else { 0 };
    }

    // Another request goes round: what could be moved has been moved.
    let other = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(other), Fate::Answered(200));

    assert_eq!(sent.load(Ordering::Relaxed), 0, "not even a MiB has been taken");
}

/// All that a stream may hold, in pieces of this size, and then nothing more.
fn until_full(served: &mut Served, size: usize, sent: &AtomicUsize) {
    served.respond(200, &[]);
    for _ in 0..STREAM_WINDOW / size {
        served.send(vec![b'x'; size]);
        sent.fetch_add(size, Ordering::Relaxed);
    }
    served.wait_for_reset();
}

const STREAM_WINDOW: usize = 64 * 1024;

#[test]
fn readers_that_stall_hold_up_nobody_else_on_their_connection() {
    // Large pieces fill windows. Small ones, such as events, have to be kept each for itself.
    for (count, size) in [(20, 16 * 1024), (4, 16)] {
        let sent = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&sent);
        let origin = http2_origin(move |served| match served.path() {
            "/stalled" => until_full(served, size, &counter),
            _ => served.reply("fine"),
        });
        let gateway = to(&origin, "").start();

        let mut stalled = FrameClient::connect(gateway.address());
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        stalled.send(&Frame::new(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]));
        for _ in 0..count {
            stalled.headers(END_STREAM, get("/stalled"));
        }
        eventually("full streams", || {
            (sent.load(Ordering::Relaxed) == count * STREAM_WINDOW).then_some(())
        });

        assert_eq!(client(&gateway).get("/").text(), "fine", "in pieces of {size}");
        assert_eq!(origin.connections(), 1);
        assert_eq!(gateway.count("ringgate_endpoint_in_flight"), count as u64);
    }
}

#[test]
fn a_request_of_small_messages_that_stalls_holds_up_none_beside_it() {
    let origin = http2_origin(|served| match served.path() {
        // Takes its window, and no more.
        "/stalled" => _ = served.wait_for_reset(),
        _ => served.reply("fine"),
    });
    let gateway = to(&origin, "").start();
    let mut client = client(&gateway);

    let mut stalled = client.request("POST", "/stalled", &[]).open();
    // The windows of both connections, but for what rounding takes.
    for _ in 0..2 * STREAM_WINDOW / 16 - 100 {
        stalled.send([b'x'; 16]);
    }

    assert_eq!(client.get("/").text(), "fine");
    stalled.reset(h2::Reason::CANCEL);
}

const WEBSOCKET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn a_websocket_is_refused_where_all_endpoints_speak_http_2() {
    let origin = http2_origin(|served| served.reply("taken for an ordinary request"));
    let gateway = to(&origin, "").start();

    assert_eq!(gateway.talk(WEBSOCKET).status, 501);
    assert_eq!(client(&gateway).websocket("/", &[]).read().status, 501);

    assert_eq!(gateway.count(&counter("websocket_unserved")), 2);
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_websocket_goes_to_the_endpoint_that_can_serve_it() {
    let http2 = http2_origin(|served| served.reply("taken for an ordinary request"));
    let other = origin()
        .on(|request, connection| connection.send(websocket::agreement(&request.head)))
        .start();
    let endpoints = [other.address, http2.address];
    let gateway = gateway().route_with("/", &endpoints, "", "").http2_endpoint().start();

    for _ in 0..4 {
        let mut client = gateway.client();
        client.send(WEBSOCKET);
        assert_eq!(client.read_head().expect("a head").word(1), "101");
    }
    assert_eq!(http2.requests().len(), 0);
}
