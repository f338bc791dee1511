//! How requests and connections end, by whomever.

use std::time::{Duration, Instant};

use super::*;
use crate::support::gateway::{Reload, cluster_of, listener};
use crate::support::http2::frames::{
    DATA, END_HEADERS, GOAWAY, HEADERS, PING, RST_STREAM, WINDOW_UPDATE,
};

/// Far more than it takes, far less than any timeout that would hide a fault.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long it takes until a client that leaves a request in this way ends the upstream's
/// connection, which has sent `said` and is silent since.
fn time_to_cancel(
    said: &'static str,
    leave: impl FnOnce(crate::support::http2::client::Call, Http2Client),
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
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);
    let mut call = client.request("GET", "/", &[("x-request-id", "left")]).end();
    origin.wait_for_requests(1);
    if !said.is_empty() {
        call.read_head();
    }
    let left = Instant::now();
    leave(call, client);
    heard.pass();
    let took = left.elapsed();
    assert_eq!(gateway.log_line("left")["outcome"], "downstream_gone");
    assert_eq!(gateway.count("ringgate_http2_unfinished_total"), 1);
    took
}

const SILENT_STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_request_that_is_cancelled_ends_a_silent_upstream() {
    for said in ["", SILENT_STREAM] {
        let mut kept = None;
        let took = time_to_cancel(said, |mut call, client| {
            call.reset(h2::Reason::CANCEL);
            // The rest of the connection lives on.
            kept = Some((call, client));
        });
        println!("cancelled after {} bytes: the upstream heard of it after {took:?}", said.len());
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn a_connection_that_breaks_ends_a_silent_upstream() {
    for said in ["", SILENT_STREAM] {
        let took = time_to_cancel(said, |_, client| client.abort());
        println!("broken after {} bytes: the upstream heard of it after {took:?}", said.len());
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn an_upload_that_is_cancelled_ends_its_upstream() {
    let origin = origin()
        .serve(|connection| {
            let head = connection.read_head().expect("a head");
            assert!(connection.read_rest_of(head).is_none(), "the body is not whole");
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[("x-request-id", "left")]).open();
    call.send("a beginning");
    crate::support::eventually("a connection", || (origin.connections() > 0).then_some(()));
    call.reset(h2::Reason::CANCEL);

    origin.wait_for_ends(1);
    assert_eq!(origin.requests_cut(), 1);
    assert_eq!(gateway.log_line("left")["outcome"], "downstream_gone");
}

#[test]
fn a_response_that_breaks_off_is_reset() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            connection.close();
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("GET", "/", &[]).end();
    assert_eq!(call.read_head().0, 200);
    assert_eq!(call.read_piece(), "hello");
    let error = call.try_read_piece().expect_err("the response is not whole");
    assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
}

#[test]
fn a_client_that_takes_no_more_is_given_up() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            connection.send(vec![b'x'; 1_000_000]);
        })
        .start();
    let gateway = gateway_for_http2()
        .route_with("/", &[origin.address], "", "timeouts = { idle = \"100ms\" }")
        .start();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get_as("stalled"));

    // The window of 64 KiB is used up, and never opened again.
    let mut received = 0;
    let end = loop {
        let frame = client.read_frame().expect("a frame");
        match frame.kind {
            DATA => received += frame.payload.len(),
            RST_STREAM => break frame,
            _ => {}
        }
    };
    assert_eq!((end.stream, received), (stream, 65_535));
    assert_eq!(gateway.log_line("stalled")["outcome"], "downstream_timeout");
}

/// A GET with this `x-request-id`.
fn get_as(id: &str) -> Vec<u8> {
    block(&[
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", b"/"),
        (b"x-request-id", id.as_bytes()),
    ])
}

#[test]
fn term_lets_requests_finish_and_says_goodbye() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            wait.pass();
            connection.send("world");
        })
        .start();
    let mut gateway = gateway_for_http2().route("/", &origin).start();
    let mut busy = FrameClient::connect(gateway.address());
    let stream = busy.headers(END_STREAM, get("/"));
    assert_eq!(busy.fate(stream), Fate::Answered(200));
    let idle = client(&gateway);

    gateway.signal(libc::SIGTERM);
    assert!(idle.wait_for_end().is_ok());
    assert_eq!(busy.goaway(), Some(0));
    gate.open();

    let content: Vec<u8> = busy
        .read_to_end()
        .into_iter()
        .filter(|frame| frame.kind == DATA)
        .flat_map(|f| f.payload)
        .collect();
    assert!(content.ends_with(b"world"), "{content:?}");
    assert!(gateway.wait_for_exit().success());
}

#[test]
fn connections_of_a_listener_that_is_gone_end() {
    let origin = origin().start();
    let route = "[[route]]\ncluster = \"c\"\n".to_owned() + &cluster_of("c", &[origin.address], "");
    let both =
        listener("http2 = true") + "[[listener]]\nname = \"other\"\nbind = \"127.0.0.1:0\"\n";
    let gateway = gateway().config(both.clone() + &route).start();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(stream), Fate::Answered(200));

    let other = "[[listener]]\nname = \"other\"\nbind = \"127.0.0.1:0\"\n".to_owned();
    assert_eq!(gateway.reload(&(other + &route)), Reload::InForce);

    assert_eq!(client.goaway(), Some(0));
}

#[test]
fn an_idle_connection_is_closed_with_a_goodbye() {
    let origin = origin().start();
    let gateway = gateway()
        .listener("http2 = true\ntimeouts = { keep_alive = \"200ms\" }")
        .route("/", &origin)
        .start();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(stream), Fate::Answered(200));

    assert_eq!(client.goaway(), Some(0));
    // Answers the PING that asks whether more is on its way.
    client.send(&Frame::new(PING, 1, 0, [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54]));
    client.read_to_end();
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let origin = origin().start();
    let gateway = gateway()
        .listener("http2 = true\ntimeouts = { request_head = \"200ms\", keep_alive = \"200ms\" }")
        .route("/", &origin)
        .start();

    let mut half_a_preface = FrameClient::connect_silently(gateway.address());
    half_a_preface.send_bytes(&PREFACE[..10]);
    half_a_preface.read_to_end();

    let mut half_a_head = FrameClient::connect(gateway.address());
    half_a_head.send(&Frame::new(HEADERS, END_STREAM, 1, get("/")));
    half_a_head.read_to_end();

    let mut half_a_frame = FrameClient::connect(gateway.address());
    let frame = Frame::new(HEADERS, END_STREAM | END_HEADERS, 1, get("/")).bytes();
    half_a_frame.send_bytes(&frame[..frame.len() - 1]);
    half_a_frame.read_to_end();

    assert_eq!(gateway.count(&counter("head_timeout")), 2);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let origin = origin().serve(|connection| drop(connection.read_request())).start();
    let gateway = gateway()
        .listener("http2 = true\ntimeouts = { request_body = \"200ms\" }")
        .route("/", &origin)
        .start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[]).open();
    call.send("a beginning");

    assert_eq!(call.read_head().0, 408);
    let reasons = ["body_timeout", "body_too_slow"].map(|reason| gateway.count(&counter(reason)));
    assert_eq!(reasons.iter().sum::<u64>(), 1, "{reasons:?}");
}

#[test]
fn back_pressure_reaches_the_origin() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n");
            for _ in 0..300 {
                connection.send(vec![b'x'; 1_000_000]);
            }
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(stream), Fate::Answered(200));
    let before = gateway.rss();

    // As much window as there can be on the connection, and none on the stream.
    let most = (i32::MAX - 65_535).to_be_bytes();
    client.send(&Frame::new(WINDOW_UPDATE, 0, 0, most));
    let other = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(other), Fate::Answered(200));

    let grown = gateway.rss().saturating_sub(before);
    println!("memory grew by {grown} bytes");
    assert!(grown < 4 << 20, "{grown}");
}

#[test]
fn a_goodbye_of_the_client_ends_its_connection() {
    let (_origin, gateway) = pair();
    let mut client = FrameClient::connect(gateway.address());
    let stream = client.headers(END_STREAM, get("/"));
    client.send(&Frame::new(GOAWAY, 0, 0, [0; 8]));
    assert_eq!(client.fate(stream), Fate::Answered(200));
    client.read_to_end();
}
