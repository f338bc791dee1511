//! Who the client is: told by the connection, by the PROXY protocol, or by trusted proxies in
//! their fields.

use std::net::{Ipv4Addr, SocketAddr};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, example, gateway};
use crate::support::origin::{Origin, origin};
use crate::support::tls::{Authority, tls_of};
use crate::support::wire::Head;
use crate::wire;

/// A trusted proxy's address; clients connect from 127.0.0.1 unless told otherwise.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const TRUST: &str = "trusted_proxies = [\"127.0.0.2/32\", \"10.0.0.0/8\"]";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The fixed part of a header of version 2 up to its command, and the addresses
/// 192.0.2.7:50123 and 198.51.100.1:443.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xC3, 0xCB, 0x01, 0xBB];

fn binary_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).expect("it is short").to_be_bytes();
    [SIGNATURE, &[command, family], &len, rest].concat()
}

/// An origin, and a gateway whose listener has these lines.
fn pair(listener: &str) -> (Origin, Gateway) {
    let origin = origin().reply("hello").start();
    let gateway = gateway().listener(listener).route("/", &origin).start();
    (origin, gateway)
}

/// A pair whose listener wants the PROXY protocol.
fn proxied() -> (Origin, Gateway) {
    pair(&format!("proxy_protocol = true\n{TRUST}"))
}

fn connect_from(address: Ipv4Addr, gateway: &Gateway) -> Client {
    Client::connect_from(SocketAddr::from((address, 0)), gateway.address())
}

/// What the origin is told, with this sent by a trusted proxy.
fn told(pair: &(Origin, Gateway), bytes: impl AsRef<[u8]>) -> Head {
    let mut client = connect_from(PROXY, &pair.1);
    client.send(bytes);
    assert_eq!(client.read().status, 200);
    pair.0.requests().pop().expect("a request").head
}

#[test]
fn a_proxy_header_of_either_version_says_whose_connection_it_is() {
    let pair = proxied();
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n".to_vec();
    for header in [line, binary_header(0x21, 0x11, &ADDRESSES)] {
        let head = told(&pair, [&header[..], REQUEST.as_bytes()].concat());

        assert_eq!(head.get("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(head.get("x-real-ip"), Some("192.0.2.7"));
        assert_eq!(head.get("forwarded"), Some("for=192.0.2.7;host=a;proto=http;by=_ringgate"));
    }
    for line in pair.1.wait_for_log(2) {
        assert_eq!(line["client"], "192.0.2.7:50123");
        assert!(line["peer"].as_str().expect("a peer").starts_with("127.0.0.2:"), "{line}");
    }
}

#[test]
fn a_proxy_header_may_come_in_pieces_and_nothing_behind_it_is_lost() {
    let (_origin, gateway) = proxied();
    let mut header = b"PROXY TCP6 2001:db8::7 ::1 50123 443\r\n".to_vec();
    header.extend_from_slice(REQUEST.as_bytes());
    let mut client = connect_from(PROXY, &gateway);

    for byte in header {
        client.send([byte]);
    }

    assert_eq!(client.read().text(), "hello");
    assert_eq!(client.get("/again").text(), "hello", "the header stands before all requests once");
    assert_eq!(gateway.wait_for_log(2)[1]["client"], "[2001:db8::7]:50123");
}

#[test]
fn requests_behind_a_proxy_header_are_found_however_many_there_are() {
    let (_origin, gateway) = proxied();
    let mut client = connect_from(PROXY, &gateway);
    let header = binary_header(0x21, 0x11, &ADDRESSES);

    client.send([&header[..], REQUEST.repeat(20).as_bytes()].concat());

    for _ in 0..20 {
        assert_eq!(client.read().text(), "hello");
    }
}

#[test]
fn a_proxy_header_about_nobody_leaves_the_sockets_address() {
    let pair = proxied();
    let local = binary_header(0x20, 0x00, b"");
    let unspecified = binary_header(0x21, 0x00, b"whatever");
    for header in [local, unspecified, b"PROXY UNKNOWN\r\n".to_vec()] {
        let head = told(&pair, [&header[..], REQUEST.as_bytes()].concat());
        assert_eq!(head.get("x-real-ip"), Some("127.0.0.2"));
    }
}

/// The connection is closed without a word, and the reason is counted.
#[track_caller]
fn is_closed_for(reason: &str, from: Ipv4Addr, bytes: impl AsRef<[u8]>) {
    let (origin, gateway) = proxied();
    let mut client = connect_from(from, &gateway);

    client.send(bytes).finish_sending();

    client.expect_ended();
    gateway.wait_for_count(&format!("ringgate_refused_total{{reason={reason:?}}}"), 1);
    assert_eq!(origin.connections(), 0);
    assert_eq!(gateway.count("ringgate_requests_total"), 0);
}

#[test]
fn a_connection_without_a_proxy_header_is_closed() {
    is_closed_for("missing_proxy_header", PROXY, REQUEST);
}

#[test]
fn a_proxy_header_of_a_stranger_is_not_read() {
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 50123 443\r\n";
    is_closed_for("untrusted_proxy", Ipv4Addr::LOCALHOST, format!("{header}{REQUEST}"));
}

#[test]
fn a_malformed_proxy_header_is_refused() {
    is_closed_for("invalid_proxy_header", PROXY, format!("PROXY TCP4 192.0.2.7\r\n{REQUEST}"));
}

#[test]
fn a_proxy_header_of_any_length_is_not_waited_for() {
    is_closed_for("proxy_header_too_long", PROXY, format!("PROXY UNKNOWN {}", "x".repeat(100)));
    is_closed_for("proxy_header_too_long", PROXY, [SIGNATURE, &[0x21, 0x11, 255, 255]].concat());
}

#[test]
fn a_wrong_checksum_is_noticed() {
    let rest = [&ADDRESSES[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
    is_closed_for("wrong_proxy_header_checksum", PROXY, binary_header(0x21, 0x11, &rest));
}

#[test]
fn half_a_proxy_header_is_none() {
    is_closed_for("incomplete_proxy_header", PROXY, &SIGNATURE[..7]);
}

#[test]
fn a_proxy_header_has_as_much_time_as_a_head() {
    let listener =
        format!("proxy_protocol = true\ntimeouts = {{ request_head = \"200ms\" }}\n{TRUST}");
    let (_origin, gateway) = pair(&listener);
    let mut client = connect_from(PROXY, &gateway);

    client.send("PROXY TCP4 ");

    client.expect_closed();
    gateway.wait_for_count("ringgate_refused_total{reason=\"proxy_header_timeout\"}", 1);
}

#[test]
fn a_probe_that_connects_and_leaves_breaks_no_rule() {
    let (_origin, gateway) = proxied();

    connect_from(PROXY, &gateway).finish_sending().expect_closed();

    gateway.wait_for_count("ringgate_worker_connections_closed_total", 1);
    assert_eq!(gateway.count("ringgate_refused_total"), 0);
}

#[test]
fn whom_a_proxy_header_names_is_a_peer_like_any_other() {
    let forged = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
    let pair = proxied();

    let stranger = told(&pair, format!("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n{forged}"));
    let trusted = told(&pair, format!("PROXY TCP4 10.0.0.7 10.0.0.1 1 2\r\n{forged}"));

    assert_eq!(stranger.get("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(trusted.get("x-forwarded-for"), Some("6.6.6.6, 10.0.0.7"));
    assert_eq!(trusted.get("x-real-ip"), Some("6.6.6.6"));
}

/// An origin that wants the PROXY protocol and answers with the header's line, or with the bytes
/// of a binary header behind its fixed part.
fn origin_behind_proxy_protocol() -> Origin {
    origin()
        .serve(|connection| {
            let start = connection.wire().read_exactly(16).expect("a header");
            let announced = match start.starts_with(SIGNATURE) {
                true => {
                    let len = usize::from(u16::from_be_bytes([start[14], start[15]]));
                    let rest = connection.wire().read_exactly(len).expect("addresses");
                    format!("{:?} {rest:?}", &start[12..14])
                }
                false => {
                    let mut line = start;
                    while !line.ends_with(b"\r\n") {
                        line.extend(connection.wire().read_exactly(1).expect("a line"));
                    }
                    String::from_utf8(line).expect("a line is ASCII")
                }
            };
            while connection.read_request().is_some() {
                connection.reply(announced.trim_end());
            }
        })
        .start()
}

fn announcing(version: &str, listener: &str) -> (Origin, Gateway) {
    let origin = origin_behind_proxy_protocol();
    let cluster = format!("proxy_protocol = {version:?}");
    let gateway = gateway().workers(1).listener(listener);
    let gateway = gateway.route_with("/", &[origin.address], "", &cluster).start();
    (origin, gateway)
}

#[test]
fn an_endpoint_is_told_the_client_by_the_proxy_protocol() {
    let (_origin, gateway) = announcing("v1", "");
    let mut client = gateway.client();
    let local = client.wire().stream().local_addr().expect("an address");
    let (port, listening) = (local.port(), gateway.address().port());

    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {listening}");
    assert_eq!(client.get("/").text(), expected);

    let (_origin, gateway) = announcing("v2", "");
    let mut client = gateway.client();
    let local = client.wire().stream().local_addr().expect("an address");
    let ports = [local.port(), gateway.address().port()].map(u16::to_be_bytes).concat();
    let addresses = [&[127, 0, 0, 1, 127, 0, 0, 1], &ports[..]].concat();
    assert_eq!(client.get("/").text(), format!("{:?} {addresses:?}", [0x21, 0x11]));
}

#[test]
fn a_connection_that_was_announced_carries_requests_of_its_client_only() {
    let (origin, gateway) = announcing("v1", "");
    let mut first = gateway.client();
    let mut second = gateway.client();

    let announced = first.get("/").text().to_owned();
    let other = second.get("/").text().to_owned();
    assert_ne!(announced, other);
    for _ in 0..3 {
        assert_eq!(first.get("/").text(), announced);
        assert_eq!(second.get("/").text(), other);
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn what_a_proxy_header_says_is_passed_on_in_another() {
    let (_origin, gateway) = announcing("v1", &format!("proxy_protocol = true\n{TRUST}"));
    let line = "PROXY TCP6 2001:db8::7 2001:db8::1 50123 443";
    let mut client = connect_from(PROXY, &gateway);

    client.send(format!("{line}\r\n{REQUEST}"));

    assert_eq!(client.read().text(), line);
}

/// What goes on of fields that a trusted proxy sent: X-Forwarded-For, X-Real-IP and Forwarded.
fn goes_on(fields: &str) -> [String; 3] {
    let head = told(&pair(TRUST), format!("GET / HTTP/1.1\r\nHost: a:81\r\n{fields}\r\n"));
    ["x-forwarded-for", "x-real-ip", "forwarded"]
        .map(|name| head.get(name).unwrap_or_default().to_owned())
}

const OURS: &str = "for=127.0.0.2;host=\"a:81\";proto=http;by=_ringgate";

#[test]
fn a_strangers_forwarding_fields_are_replaced() {
    let pair = pair(TRUST);
    let fields = "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";

    pair.1.talk(format!("GET / HTTP/1.1\r\nHost: [::1]:81\r\n{fields}\r\n"));

    let head = pair.0.request().head;
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-real-ip"), Some("127.0.0.1"));
    let forwarded = "for=127.0.0.1;host=\"[::1]:81\";proto=http;by=_ringgate";
    assert_eq!(head.get("forwarded"), Some(forwarded));
    assert!(pair.1.wait_for_log(1)[0].get("peer").is_none());
}

#[test]
fn the_last_hop_that_is_not_trusted_is_the_client() {
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.7:1234, 10.0.0.1\r\nX-Real-IP: 6.6.6.6\r\n";
    let pair = pair(TRUST);

    let head = told(&pair, format!("GET / HTTP/1.1\r\nHost: a:81\r\n{fields}\r\n"));

    assert_eq!(head.get("x-real-ip"), Some("192.0.2.7"));
    let line = &pair.1.wait_for_log(1)[0];
    assert_eq!(line["client"], "192.0.2.7:1234");
    assert!(line["peer"].as_str().expect("a peer").starts_with("127.0.0.2:"), "{line}");
}

#[test]
fn a_list_of_hops_is_said_in_both_ways() {
    let by_x = goes_on(
        "X-Forwarded-For: unknown, 2001:db8::7,10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\n",
    );
    let told = "for=unknown;host=shop.example;proto=https, for=\"[2001:db8::7]\", for=10.0.0.1";
    assert_eq!(
        by_x,
        ["unknown, 2001:db8::7,10.0.0.1, 127.0.0.2", "2001:db8::7", &format!("{told}, {OURS}")]
    );

    let forwarded = "for=_hidden, for=\"[2001:db8::7]:80\";proto=https;host=b, for=10.0.0.1";
    let by_forwarded = goes_on(&format!("Forwarded: {forwarded}\r\n"));
    assert_eq!(
        by_forwarded,
        [
            "unknown, 2001:db8::7, 10.0.0.1, 127.0.0.2",
            "2001:db8::7",
            &format!("{forwarded}, {OURS}")
        ]
    );
}

#[test]
fn what_the_client_has_asked_for_is_read_out_of_forwarded() {
    let fields = "Forwarded: for=192.0.2.7;proto=https;host=\"shop.example:8443\"\r\n";

    let head = told(&pair(TRUST), format!("GET / HTTP/1.1\r\nHost: a:81\r\n{fields}\r\n"));

    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(head.get("x-forwarded-host"), Some("shop.example:8443"));
}

#[test]
fn lists_that_agree_are_both_added_to() {
    let [x, real, forwarded] = goes_on(
        "X-Forwarded-For: 6.6.6.6, 192.0.2.7\r\nForwarded: for=192.0.2.7;proto=https\r\n\
         Forwarded: for=10.0.0.1\r\n",
    );
    assert_eq!(x, "6.6.6.6, 192.0.2.7, 127.0.0.2");
    assert_eq!(real, "192.0.2.7");
    assert_eq!(forwarded, format!("for=192.0.2.7;proto=https, for=10.0.0.1, {OURS}"));
}

#[test]
fn of_lists_that_disagree_x_forwarded_for_counts() {
    for forwarded in ["for=6.6.6.6", "for=unknown", "for=192.0.2.7;", "for=192.0.2.7, x"] {
        let [x, real, forwarded] =
            goes_on(&format!("X-Forwarded-For: 192.0.2.7\r\nForwarded: {forwarded}\r\n"));
        assert_eq!(x, "192.0.2.7, 127.0.0.2");
        assert_eq!(real, "192.0.2.7");
        assert_eq!(forwarded, format!("for=192.0.2.7, {OURS}"));
    }
}

#[test]
fn a_trusted_proxy_may_name_the_client_in_x_real_ip_alone() {
    let expected = ["192.0.2.7, 127.0.0.2", "192.0.2.7", &format!("for=192.0.2.7, {OURS}")];
    assert_eq!(goes_on("X-Real-IP: 192.0.2.7\r\n"), expected);

    let nobody = ["127.0.0.2", "127.0.0.2", OURS];
    assert_eq!(goes_on("X-Real-IP: somebody\r\n"), nobody);
    assert_eq!(goes_on("Forwarded: for=192.0.2.7;\r\n"), nobody);
}

#[test]
fn edits_of_a_route_replace_and_remove_what_would_be_written() {
    let origin = origin().reply("hello").start();
    let edits =
        "request_headers = { set = { x-forwarded-for = \"me\" }, remove = [\"forwarded\"] }";
    let gateway = gateway().route_with("/", &[origin.address], edits, "").start();

    gateway.talk(wire!["GET / HTTP/1.1" "Host: a" "Forwarded: for=6.6.6.6" ""]);

    let head = origin.request().head;
    assert_eq!(head.all("x-forwarded-for"), ["me"]);
    assert!(!head.has("forwarded"), "{head:?}");
}

#[test]
fn a_proxy_header_stands_before_tls() {
    let authority = Authority::new();
    let tls = tls_of(&[&authority.issue("a", &["a.example"])]);
    let pair = pair(&format!("proxy_protocol = true\n{TRUST}\n{tls}"));
    let header = binary_header(0x21, 0x11, &ADDRESSES);
    let mut proxy = connect_from(PROXY, &pair.1);
    proxy.send(header);
    let stream = proxy.wire().stream().try_clone().expect("a descriptor is free");

    let mut client = authority.client().over(stream, "a.example").expect("a handshake");

    assert_eq!(client.get("/").text(), "hello");
    let forwarded = "for=192.0.2.7;host=a;proto=https;by=_ringgate";
    assert_eq!(pair.0.request().get("forwarded"), Some(forwarded));
}

#[test]
fn the_example_does_what_it_says() {
    let web = origin().reply("web").start();
    let legacy = origin_behind_proxy_protocol();
    let config = example(
        "behind-a-proxy",
        &[
            ("0.0.0.0:8080", "127.0.0.1:0".to_owned()),
            ("127.0.0.1:8081", "127.0.0.1:0".to_owned()),
            ("10.0.0.0/24", format!("{PROXY}/32")),
            ("10.0.1.10:8080", web.address.to_string()),
            ("10.0.1.20:8080", legacy.address.to_string()),
        ],
    );
    let gateway = gateway().config(config).start();
    // A proxy that is trusted in its turn, by way of the balancer.
    let header = "PROXY TCP4 192.0.2.3 198.51.100.1 50123 443\r\n";
    let ask = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    };
    let mut client = connect_from(PROXY, &gateway);

    client.send(format!("{header}{}{}", ask("/"), ask("/legacy")));

    assert_eq!(client.read().text(), "web");
    assert_eq!(web.request().get("x-real-ip"), Some("203.0.113.9"));
    let announced = [203, 0, 113, 9, 198, 51, 100, 1, 0, 0, 0x01, 0xBB];
    assert_eq!(client.read().text(), format!("{:?} {announced:?}", [0x21, 0x11]));

    let mut inside = Client::connect(gateway.address_of("inside"));
    inside.send(ask("/"));
    assert_eq!(inside.read().text(), "web");
    assert_eq!(web.requests()[1].get("x-real-ip"), Some("203.0.113.9"));
}
