//! WebSockets over HTTP/2 (RFC 8441).

use super::*;
use crate::support::sha1;

/// An origin that accepts a WebSocket and sends back what comes.
fn echo() -> Origin {
    origin()
        .serve(|connection| {
            let Some(request) = connection.read_request() else { return };
            let key = request.get("sec-websocket-key").expect("a key");
            let accept = sha1::websocket_accept(key);
            connection.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            ));
            while let Ok(byte) = connection.wire().read_exactly(1) {
                connection.send(byte);
            }
        })
        .start()
}

#[test]
fn an_extended_connect_is_a_websocket_at_the_endpoint() {
    let origin = echo();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.websocket("/chat?room=1", &[("sec-websocket-version", "13")]);
    let (status, fields) = call.read_head();
    assert_eq!(status, 200);
    assert!(fields.contains(&("sec-websocket-protocol".to_owned(), "chat".to_owned())));
    for message in ["hello", "world"] {
        call.send(message);
        let mut echoed = Vec::new();
        while echoed.len() < message.len() {
            echoed.extend_from_slice(&call.read_piece());
        }
        assert_eq!(echoed, message.as_bytes());
    }
    call.finish();
    assert_eq!(call.try_read_piece().expect("an end"), None);

    let request = origin.request();
    assert_eq!((request.method(), request.target()), ("GET", "/chat?room=1"));
    assert_eq!(request.get("sec-websocket-version"), Some("13"));
}

#[test]
fn a_client_that_cancels_its_websocket_ends_it_at_the_endpoint() {
    let origin = echo();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.websocket("/", &[]);
    assert_eq!(call.read_head().0, 200);
    call.reset(h2::Reason::CANCEL);

    origin.wait_for_ends(1);
}

#[test]
fn success_without_a_switch_is_no_success() {
    let origin = origin().reply("a page").start();
    let gateway = gateway_for_http2().route("/", &origin).start();

    let reply = client(&gateway).websocket("/", &[]).read();

    // 200 would mean that the tunnel is open.
    assert_eq!(reply.status, 501);
}

#[test]
fn other_protocols_than_websocket_are_refused() {
    let (origin, gateway) = pair();
    let connect = |protocol: &[u8]| {
        block(&[
            (b":method", b"CONNECT"),
            (b":protocol", protocol),
            (b":scheme", b"http"),
            (b":authority", b"a"),
            (b":path", b"/"),
        ])
    };
    for protocol in [&b"connect-udp"[..], b"h2c", b"websocket\r\nx-a: b"] {
        let mut client = FrameClient::connect(gateway.address());
        let stream = client.headers(0, connect(protocol));
        assert_eq!(client.fate(stream), Fate::Answered(501));
    }
    assert_eq!(origin.connections(), 0);
}
