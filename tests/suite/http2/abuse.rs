//! Frames that cost more than they are worth end in GOAWAY, with memory where it was.

use super::*;
use crate::support::http2::frames::{
    ACK, CONTINUATION, DATA, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE,
};

/// An origin that never answers.
fn silent() -> Origin {
    origin().on(|_, connection| connection.wait_for_close()).start()
}

/// Sends rounds of frames until the gateway has had enough; says how many rounds that took.
#[track_caller]
fn flood(
    gateway: &Gateway,
    reason: &str,
    most: usize,
    mut round: impl FnMut(&mut FrameClient) -> Vec<u8>,
) {
    let before = gateway.rss();
    let mut client = FrameClient::connect(gateway.address());
    let mut rounds = 0;
    loop {
        let bytes = round(&mut client);
        if !client.send_bytes(&bytes) {
            break;
        }
        rounds += 1;
        if gateway.count(&counter(reason)) > 0 {
            break;
        }
        assert!(rounds < most, "not stopped after {rounds} rounds");
    }
    // The reset that follows unread frames may overtake the GOAWAY.
    let goaway = client.goaway();
    assert!(matches!(goaway, Some(ENHANCE_YOUR_CALM) | None), "{goaway:?}");
    assert_eq!(gateway.count(&counter(reason)), 1);
    let grown = gateway.rss().saturating_sub(before);
    println!("{reason}: stopped after {rounds} rounds, memory grew by {grown} bytes");
    assert!(grown < 8 << 20, "{grown}");
    // Everybody else is served.
    assert_eq!(self::client(gateway).get("/fine").status, 200);
}

/// A gateway in front of an origin that is silent but for `/fine`.
fn stage() -> (Origin, Gateway) {
    let silent = silent();
    let fine = origin().reply("fine").start();
    let gateway = gateway_for_http2().route("/fine", &fine).route("/", &silent).start();
    // It serves `/fine` for as long as the gateway runs.
    std::mem::forget(fine);
    (silent, gateway)
}

#[test]
fn resets_in_a_burst_are_stopped() {
    let (_silent, gateway) = stage();
    flood(&gateway, "http2_flood", 100, |client| {
        (0..1000).flat_map(|_| cancelled(client)).collect()
    });
}

/// A request, and its cancellation at once.
fn cancelled(client: &mut FrameClient) -> Vec<u8> {
    let stream = client.stream();
    let flags = END_STREAM | crate::support::http2::frames::END_HEADERS;
    let headers = Frame::new(HEADERS, flags, stream, get("/"));
    [headers.bytes(), Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes()).bytes()].concat()
}

#[test]
fn resets_at_a_pace_are_stopped() {
    let (silent, gateway) = stage();
    let mut asked = 0;
    flood(&gateway, "http2_resets", 100, |client| {
        let streams: Vec<_> = (0..100).map(|_| client.headers(END_STREAM, get("/"))).collect();
        asked += streams.len();
        // The pace is that of the origin: all of them have reached it.
        crate::support::eventually("the requests at the origin", || {
            let stopped = gateway.count(&counter("http2_resets")) > 0;
            (stopped || silent.requests_seen() >= asked).then_some(())
        });
        let reset = |stream| Frame::new(RST_STREAM, 0, stream, 8_u32.to_be_bytes()).bytes();
        streams.into_iter().flat_map(reset).collect()
    });
}

#[test]
fn control_frames_are_stopped() {
    let settings: Vec<u8> = [0, 3, 0, 0, 0, 100].to_vec();
    let kinds: [(&str, Frame); 5] = [
        ("PING", Frame::new(PING, 0, 0, [0; 8])),
        ("SETTINGS", Frame::new(SETTINGS, 0, 0, settings)),
        ("PRIORITY", Frame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", Frame::new(WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])),
        ("unknown", Frame::new(0xbb, 0, 0, [0; 8])),
    ];
    for (kind, frame) in kinds {
        let (_silent, gateway) = stage();
        println!("{kind}");
        flood(&gateway, "http2_control_frames", 1000, |_| frame.bytes().repeat(1000));
    }
}

#[test]
fn continuation_without_end_is_stopped() {
    let (_silent, gateway) = stage();
    let mut begun = false;
    flood(&gateway, "http2_flood", 1000, |_| {
        let head = match std::mem::replace(&mut begun, true) {
            false => Frame::new(HEADERS, END_STREAM, 1, get("/")).bytes(),
            true => Vec::new(),
        };
        [head, Frame::new(CONTINUATION, 0, 1, []).bytes().repeat(100)].concat()
    });
}

#[test]
fn empty_frames_of_content_are_stopped() {
    let (_silent, gateway) = stage();
    let mut stream = None;
    flood(&gateway, "http2_flood", 10_000, |client| {
        let stream = *stream.get_or_insert_with(|| client.headers(0, get("/")));
        Frame::new(DATA, 0, stream, []).bytes().repeat(1000)
    });
}

#[test]
fn a_client_may_cancel_some_of_many_requests() {
    let (_silent, gateway) = stage();
    let mut client = FrameClient::connect(gateway.address());
    for _ in 0..1000 {
        let fine = client.headers(END_STREAM, get("/fine"));
        assert_eq!(client.fate(fine), Fate::Answered(200));
        let silent = client.headers(END_STREAM, get("/"));
        client.send(&Frame::new(RST_STREAM, 0, silent, 8_u32.to_be_bytes()));
    }
    assert_eq!(gateway.count(&counter("http2_resets")), 0);
}

#[test]
fn more_requests_at_once_than_allowed_are_refused_and_others_not() {
    let (silent, gateway) = stage();
    let mut client = FrameClient::connect(gateway.address());
    let streams: Vec<_> = (0..130).map(|_| client.headers(END_STREAM, get("/"))).collect();

    let refused_stream = 7;
    assert_eq!(client.fate(streams[128]), Fate::Reset(refused_stream));
    assert_eq!(client.fate(streams[129]), Fate::Reset(refused_stream));

    silent.wait_for_requests(128);
    assert_eq!(silent.requests_seen(), 128);
}

#[test]
fn windows_that_never_open_hold_no_more_than_a_piece_for_each_request() {
    let origin = origin()
        .on(|_, connection| {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n");
            connection.send(vec![b'x'; 16_384]);
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    assert_eq!(client(&gateway).get("/").status, 200);
    let before = gateway.rss();

    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = FrameClient::connect(gateway.address());
        // SETTINGS_INITIAL_WINDOW_SIZE = 0
        client.send(&Frame::new(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]));
        client.send(&Frame::new(SETTINGS, ACK, 0, []));
        for _ in 0..100 {
            client.headers(END_STREAM, get("/"));
        }
        let mut heads = 0;
        while heads < 100 {
            heads += usize::from(client.read_frame().expect("a frame").kind == HEADERS);
        }
        clients.push(client);
    }

    let grown = gateway.rss().saturating_sub(before);
    println!("1000 stalled requests hold {grown} bytes");
    assert!(grown < 80 << 20, "{grown}");
}

#[test]
fn a_head_far_beyond_the_limit_is_refused_and_none_of_it_kept() {
    let (silent, gateway) = stage();
    let mut client = FrameClient::connect(gateway.address());
    let long = vec![b'x'; 15_000];
    let fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        (b":path", b"/"),
        (b"x-a", &long),
    ];
    client.send(&Frame::new(HEADERS, END_STREAM, 1, block(&fields)));
    let more: Vec<(&[u8], &[u8])> = vec![(b"x-b", &long)];
    client.send(&Frame::new(CONTINUATION, 0x4, 1, block(&more)));

    assert_eq!(client.fate(1), Fate::Answered(431));
    assert_eq!(silent.connections(), 0);
}
