//! What becomes of a head on its way to the origin and back.

use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Origin, Request, origin};
use crate::wire;

fn pair() -> (Origin, Gateway) {
    pair_with("", "", "")
}

/// An origin, and a gateway with these lines for its listener, its route and its route's path.
fn pair_with(listener: &str, path: &str, route: &str) -> (Origin, Gateway) {
    let origin = origin().reply("hello").start();
    let path = if path.is_empty() { "/" } else { path };
    let gateway =
        gateway().listener(listener).route_with(path, &[origin.address], route, "").start();
    (origin, gateway)
}

/// The request as the origin saw it.
fn seen(pair: &(Origin, Gateway), request: impl AsRef<[u8]>) -> Request {
    assert_eq!(pair.1.talk(request).status, 200);
    pair.0.requests().pop().expect("a request")
}

#[test]
fn the_origin_learns_who_the_client_is() {
    let seen = seen(&pair(), wire!["GET / HTTP/1.1" "Host: shop.example:8443" ""]);

    assert_eq!(seen.get("host"), Some("shop.example:8443"));
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.get("x-real-ip"), Some("127.0.0.1"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.get("x-forwarded-host"), Some("shop.example:8443"));
    assert!(seen.get("via").is_some_and(|via| via.starts_with("1.1 ")));
}

const FORGED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Forwarded-Proto: \
    https\r\nX-Forwarded-Host: forged\r\nX-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\nForwarded: \
    for=6.6.6.6\r\n";

#[test]
fn what_a_stranger_says_of_itself_is_replaced() {
    let seen = seen(&pair(), format!("GET / HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n"));

    assert_eq!(seen.head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.head.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(seen.head.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.head.all("x-forwarded-host"), ["a"]);
    assert!(!String::from_utf8_lossy(&seen.head.raw).contains("6.6.6.6"), "{:?}", seen.head);
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let trusting = pair_with("trusted_proxies = [\"127.0.0.0/8\"]", "", "");

    let seen = seen(&trusting, format!("GET / HTTP/1.1\r\nHost: a\r\n{FORGED}\r\n"));

    assert_eq!(seen.head.all("x-forwarded-for"), ["6.6.6.6, 7.7.7.7, 127.0.0.1"]);
    assert_eq!(seen.head.all("x-real-ip"), ["7.7.7.7"], "the last hop that is not trusted");
    assert_eq!(seen.head.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.head.all("x-forwarded-host"), ["forged"]);
    assert_eq!(seen.head.all("x-forwarded-port"), ["1"]);
}

#[test]
fn what_is_for_one_hop_only_stays_there() {
    let seen = seen(
        &pair(),
        wire![
            "GET / HTTP/1.1" "Host: a"
            "Connection: keep-alive, X-Hop, x-other" "X-Hop: 1" "X-OTHER: 2" "X-Stays: 3"
            "Keep-Alive: timeout=5" "Proxy-Connection: keep-alive" "TE: gzip" "Proxy-Authorization: b"
            "Upgrade: websocket" ""
        ],
    );

    for name in [
        "connection",
        "x-hop",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "te",
        "proxy-authorization",
        "upgrade",
    ] {
        assert!(!seen.head.has(name), "{name} is in {:?}", seen.head);
    }
    assert_eq!(seen.get("x-stays"), Some("3"));
}

#[test]
fn an_upgrade_to_http_2_is_never_forwarded() {
    let seen = seen(
        &pair(),
        wire![
            "GET / HTTP/1.1" "Host: a" "Connection: Upgrade, HTTP2-Settings" "Upgrade: h2c"
            "HTTP2-Settings: AAMAAABkAAQAAP__" ""
        ],
    );

    assert!(!seen.head.has("upgrade") && !seen.head.has("http2-settings"), "{:?}", seen.head);

    let seen = seen_without_connection();
    assert!(!seen.head.has("upgrade") && !seen.head.has("http2-settings"), "{:?}", seen.head);
}

/// The same fields, with a Connection that does not name them.
fn seen_without_connection() -> Request {
    seen(
        &pair(),
        wire![
            "GET / HTTP/1.1" "Host: a" "Upgrade: h2c" "HTTP2-Settings: AAMAAABkAAQAAP__" ""
        ],
    )
}

#[test]
fn what_an_answer_says_for_one_hop_stays_there() {
    let origin = origin()
        .reply_raw(wire![
            "HTTP/1.1 200 Fine" "Connection: keep-alive, X-Hop" "X-Hop: 1" "Keep-Alive: timeout=5"
            "Proxy-Connection: close" "Set-Cookie: a=1" "Set-Cookie: b=2" "Content-Length: 2" ""
        ].into_iter().chain(*b"ok").collect::<Vec<u8>>())
        .start();
    let gateway = gateway().route("/", &origin).start();

    let reply = gateway.get("/");

    assert_eq!(reply.head.start_line, "HTTP/1.1 200 Fine");
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
        assert!(!reply.head.has(name), "{name} is in {:?}", reply.head);
    }
    assert_eq!(reply.head.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn other_fields_pass_byte_for_byte_and_in_order() {
    let fields = "X-b: 1\r\nx-A:  two  words\t \r\nX-B: é\r\nCookie: a=b; c=d\r\nAuthorization: \
                  Basic YTpi\r\nAccept-Encoding: gzip\r\n";

    let seen = seen(&pair(), format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));

    let kept: Vec<_> =
        seen.head.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let kept = kept.join("|");
    assert!(kept.contains("X-b=1|x-A=two  words|X-B=\u{c3}\u{a9}|Cookie=a=b; c=d"), "{kept}");
    assert_eq!(seen.get("authorization"), Some("Basic YTpi"));
    assert_eq!(seen.get("accept-encoding"), Some("gzip"));
}

#[test]
fn a_request_id_of_the_client_is_passed_on_and_logged() {
    let pair = pair();

    let seen = seen(&pair, wire!["GET / HTTP/1.1" "Host: a" "X-Request-Id: abc-1" ""]);

    assert_eq!(seen.get("x-request-id"), Some("abc-1"));
    assert_eq!(pair.1.log_line("abc-1")["status"], 200);
}

#[test]
fn header_edits_set_and_remove_in_both_directions() {
    let origin = origin()
        .reply_raw("HTTP/1.1 200 OK\r\nServer: old\r\nX-Powered-By: y\r\nContent-Length: 0\r\n\r\n")
        .start();
    let edits = "request_headers = { set = { x-a = \"b\", user-agent = \"r\" }, remove = [\"x-c\"] }\n\
                 response_headers = { set = { server = \"new\" }, remove = [\"x-powered-by\"] }";
    let gateway = gateway().route_with("/", &[origin.address], edits, "").start();

    let reply = gateway.talk(wire![
        "GET / HTTP/1.1" "Host: a" "X-A: 1" "x-a: 2" "X-C: d" "User-Agent: curl" ""
    ]);

    assert_eq!(reply.head.all("server"), ["new"]);
    assert!(!reply.head.has("x-powered-by"));
    let request = origin.request();
    assert_eq!(request.head.all("x-a"), ["b"]);
    assert_eq!(request.head.all("user-agent"), ["r"]);
    assert!(!request.head.has("x-c"));
}

#[test]
fn a_host_may_be_set_for_the_origin() {
    let edits = "request_headers = { set = { host = \"inside.example\" } }";
    let pair = pair_with("", "", edits);

    let seen = seen(&pair, wire!["GET / HTTP/1.1" "Host: outside.example" ""]);

    assert_eq!(seen.head.all("host"), ["inside.example"]);
    assert_eq!(seen.get("x-forwarded-host"), Some("outside.example"));
}

fn targets(path: &str, route: &str, cases: &[(&str, &str)]) {
    let pair = pair_with("", path, route);
    for (target, expected) in cases {
        let seen = seen(&pair, wire![format!("GET {target} HTTP/1.1") "Host: a" ""]);
        assert_eq!(seen.target(), *expected, "{target}");
    }
}

#[test]
fn a_prefix_is_stripped_on_a_segment_border() {
    targets(
        "/",
        "strip_prefix = \"/v1\"",
        &[
            ("/v1/chat?a=b", "/chat?a=b"),
            ("/v1", "/"),
            ("/v1/", "/"),
            ("/v1?a", "/?a"),
            ("/v11/chat", "/v11/chat"),
            ("/other", "/other"),
        ],
    );
}

#[test]
fn the_matched_prefix_is_replaced() {
    targets(
        "/api",
        "replace_prefix = \"/v2/x\"",
        &[("/api/chat?a=b", "/v2/x/chat?a=b"), ("/api", "/v2/x"), ("/api/", "/v2/x/")],
    );
    targets("/api", "replace_prefix = \"/\"", &[("/api/chat", "/chat"), ("/api", "/")]);
}

#[test]
fn paths_are_normalised_once_and_forwarded_as_matched() {
    targets(
        "/",
        "",
        &[
            ("/a/../b/./c", "/b/c"),
            ("/a/%2e%2E/b", "/b"),
            ("/a//b", "/a//b"),
            ("/%41%7e", "/A~"),
            ("/a%20b%3f", "/a%20b%3F"),
            ("/a?x=../y%2F", "/a?x=../y%2F"),
            ("http://a/b?c", "/b?c"),
            ("http://a", "/"),
            ("/a/..", "/"),
        ],
    );
}

#[test]
fn the_method_passes_whatever_it_is() {
    let pair = pair();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "X-CUSTOM"] {
        let seen = seen(&pair, wire![format!("{method} / HTTP/1.1") "Host: a" ""]);
        assert_eq!(seen.method(), method);
    }
}
