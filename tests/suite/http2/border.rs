//! Nothing gets from HTTP/2 into HTTP/1 that could be read in two ways.

use super::*;
use crate::support::http2::frames::{DATA, PROTOCOL_ERROR};

type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
const AUTHORITY: (&[u8], &[u8]) = (b":authority", b"a");
const PATH: (&[u8], &[u8]) = (b":path", b"/");

/// A GET that is in order, but for these fields behind it.
fn with(fields: Fields<'_>) -> Vec<u8> {
    block(&[&[METHOD, SCHEME, AUTHORITY, PATH], fields].concat())
}

/// What may become of a request that is not passed on.
#[derive(Debug)]
enum Refused {
    /// Answered, and counted by its reason.
    With(u16, &'static str),
    /// Malformed by the rules of HTTP/2 itself: the stream or the connection is broken.
    Malformed,
}
use Refused::{Malformed, With};

fn cases() -> Vec<(&'static str, Vec<u8>, Refused)> {
    let twin = "field_name_twin";
    vec![
        // Header injection.
        ("CRLF in a value", with(&[(b"x-a", b"b\r\nx-c: d")]), Malformed),
        ("CR in a value", with(&[(b"x-a", b"b\rc")]), Malformed),
        ("LF in a value", with(&[(b"x-a", b"b\nc")]), Malformed),
        ("NUL in a value", with(&[(b"x-a", b"b\0c")]), Malformed),
        ("CRLF in a name", with(&[(b"x-a\r\nx-b", b"c")]), Malformed),
        ("a colon in a name", with(&[(b"x-a: b", b"c")]), Malformed),
        ("a space in a name", with(&[(b"x-a ", b"c")]), Malformed),
        ("an empty name", with(&[(b"", b"c")]), Malformed),
        ("upper case in a name", with(&[(b"X-A", b"c")]), Malformed),
        ("a padded value", with(&[(b"x-a", b" b")]), With(400, "padded_field_value")),
        ("a padded cookie", with(&[(b"cookie", b"a ")]), With(400, "padded_field_value")),
        // Pseudo-fields.
        ("no method", block(&[SCHEME, AUTHORITY, PATH]), Malformed),
        ("no path", block(&[METHOD, SCHEME, AUTHORITY]), Malformed),
        ("no scheme", block(&[METHOD, AUTHORITY, PATH]), Malformed),
        ("an empty path", block(&[METHOD, SCHEME, AUTHORITY, (b":path", b"")]), Malformed),
        ("two methods", block(&[METHOD, METHOD, SCHEME, AUTHORITY, PATH]), Malformed),
        ("two paths", with(&[(b":path", b"/b")]), Malformed),
        ("a pseudo-field behind a field", with(&[(b"x-a", b"b"), (b":path", b"/b")]), Malformed),
        ("an unknown pseudo-field", with(&[(b":proto", b"x")]), Malformed),
        ("a status", with(&[(b":status", b"200")]), Malformed),
        ("a protocol without CONNECT", with(&[(b":protocol", b"websocket")]), Malformed),
        (
            "a space in the method",
            block(&[(b":method", b"GET /x"), SCHEME, AUTHORITY, PATH]),
            Malformed,
        ),
        (
            "a line in the method",
            block(&[(b":method", b"GET\r\n"), SCHEME, AUTHORITY, PATH]),
            Malformed,
        ),
        ("a request line in the path", path(b"/ HTTP/1.1\r\nx: y"), Malformed),
        ("a space in the path", path(b"/a b"), Malformed),
        ("a path without a slash", path(b"a"), Malformed),
        ("an asterisk for GET", path(b"*"), With(400, "target_form")),
        ("a path above the root", path(b"/../a"), With(400, "path_above_root")),
        ("an encoded slash", path(b"/a%2fb"), With(400, "encoded_slash")),
        (
            "another scheme",
            block(&[METHOD, (b":scheme", b"ftp"), AUTHORITY, PATH]),
            With(400, "target_scheme"),
        ),
        ("a method in lower case", method(b"get"), With(400, "method_case")),
        ("TRACE", method(b"TRACE"), With(405, "refused_method")),
        (
            "CONNECT",
            block(&[(b":method", b"CONNECT"), (b":authority", b"a:80")]),
            With(501, "unsupported_method"),
        ),
        // Whom it is for.
        ("no host at all", block(&[METHOD, SCHEME, PATH]), With(400, "missing_host")),
        ("another host", with(&[(b"host", b"b")]), With(400, "host_disagrees")),
        ("two hosts", with(&[(b"host", b"a"), (b"host", b"a")]), With(400, "repeated_host")),
        ("a user", authority(b"u@a"), With(400, "invalid_host")),
        ("a path in the authority", authority(b"a/b"), Malformed),
        ("an empty authority", authority(b""), Malformed),
        // How long it is.
        (
            "two lengths",
            with(&[(b"content-length", b"0"), (b"content-length", b"0")]),
            With(400, "repeated_length"),
        ),
        (
            "different lengths",
            with(&[(b"content-length", b"0"), (b"content-length", b"1")]),
            Malformed,
        ),
        ("a length with a sign", with(&[(b"content-length", b"+0")]), Malformed),
        ("a length without content", with(&[(b"content-length", b"5")]), Malformed),
        // What concerns a connection of HTTP/1.
        ("transfer-encoding", with(&[(b"transfer-encoding", b"chunked")]), Malformed),
        ("connection", with(&[(b"connection", b"x-a")]), Malformed),
        ("keep-alive", with(&[(b"keep-alive", b"1")]), Malformed),
        ("proxy-connection", with(&[(b"proxy-connection", b"keep-alive")]), Malformed),
        ("upgrade", with(&[(b"upgrade", b"websocket")]), Malformed),
        ("te", with(&[(b"te", b"gzip")]), Malformed),
        // Twins.
        ("content_length", with(&[(b"content_length", b"5")]), With(400, twin)),
        ("transfer_encoding", with(&[(b"transfer_encoding", b"chunked")]), With(400, twin)),
        ("x_forwarded_for", with(&[(b"x_forwarded_for", b"1.1.1.1")]), With(400, twin)),
        ("an expectation", with(&[(b"expect", b"a")]), With(417, "unsupported_expectation")),
    ]
}

fn path(path: &[u8]) -> Vec<u8> {
    block(&[METHOD, SCHEME, AUTHORITY, (b":path", path)])
}

fn method(method: &[u8]) -> Vec<u8> {
    block(&[(b":method", method), SCHEME, AUTHORITY, PATH])
}

fn authority(authority: &[u8]) -> Vec<u8> {
    block(&[METHOD, SCHEME, (b":authority", authority), PATH])
}

#[test]
fn what_could_be_read_in_two_ways_is_not_passed_on() {
    let (origin, gateway) = pair();
    let mut wrong = Vec::new();
    for (what, block, refused) in cases() {
        let mut client = FrameClient::connect(gateway.address());
        let before = gateway.metrics();
        let stream = client.headers(END_STREAM, block);
        let fate = client.fate(stream);
        let is_right = match (&refused, &fate) {
            (With(status, reason), Fate::Answered(is)) => {
                let counted =
                    |page: &crate::support::metrics::Metrics| page.count(&counter(reason));
                is == status && counted(&gateway.metrics()) == counted(&before) + 1
            }
            (Malformed, Fate::Reset(_) | Fate::GoAway(_)) => true,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{what}: {refused:?}, but {fate:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(origin.connections(), 0);
}

#[test]
fn content_that_is_not_as_long_as_stated_never_makes_a_whole_request() {
    let origin = origin().serve(|connection| drop(connection.read_request())).start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    for (stated, sent) in [(&b"5"[..], &b"abc"[..]), (b"3", b"abcde"), (b"0", b"a")] {
        let mut client = FrameClient::connect(gateway.address());
        let stream = client.headers(0, with(&[(b"content-length", stated)]));
        client.send(&Frame::new(DATA, END_STREAM, stream, sent));
        let fate = client.fate(stream);
        assert_eq!(fate, Fate::Reset(PROTOCOL_ERROR), "{sent:?} stated as {stated:?}");
    }
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn a_request_that_states_no_content_goes_on_when_its_stream_has_ended() {
    let (origin, gateway) = pair();
    let mut client = FrameClient::connect(gateway.address());
    let nothing = with(&[(b"content-length", b"0")]);

    let broken = client.headers(0, nothing.clone());
    let whole = client.headers(0, nothing);
    // By the end of another request both have been looked at.
    let other = client.headers(END_STREAM, get("/"));
    assert_eq!(client.fate(other), Fate::Answered(200));
    assert_eq!(origin.requests_seen(), 1);
    client.send(&Frame::new(DATA, 0, broken, &b"a"[..]));
    assert_eq!(client.fate(broken), Fate::Reset(PROTOCOL_ERROR));
    client.send(&Frame::new(DATA, END_STREAM, whole, &b""[..]));
    assert_eq!(client.fate(whole), Fate::Answered(200));

    assert_eq!(origin.requests()[1].get("content-length"), Some("0"));
    assert_eq!(origin.requests_seen(), 2);
}

#[test]
fn the_smuggled_half_of_a_body_is_content() {
    let (origin, gateway) = pair();
    let mut client = FrameClient::connect(gateway.address());
    let smuggled = b"0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";

    let stream = client.headers(0, block(&[(b":method", b"POST"), SCHEME, AUTHORITY, PATH]));
    client.send(&Frame::new(DATA, END_STREAM, stream, &smuggled[..]));

    assert_eq!(client.fate(stream), Fate::Answered(200));
    assert_eq!(origin.request().body, smuggled);
}

#[test]
fn trailers_cannot_name_what_the_head_decides() {
    let (origin, gateway) = pair();
    let mut client = FrameClient::connect(gateway.address());

    let stream = client.headers(0, block(&[(b":method", b"POST"), SCHEME, AUTHORITY, PATH]));
    client.send(&Frame::new(DATA, 0, stream, &b"abc"[..]));
    let trailers = block(&[(b"content_length", b"1"), (b"host", b"b"), (b"x-a", b"b")]);
    client.send(&Frame::new(
        crate::support::http2::frames::HEADERS,
        END_STREAM | crate::support::http2::frames::END_HEADERS,
        stream,
        trailers,
    ));

    assert_eq!(client.fate(stream), Fate::Answered(200));
    assert_eq!(origin.request().trailers, [("x-a".to_owned(), "b".to_owned())]);
}

#[test]
fn crumbs_of_a_cookie_arrive_as_one_field() {
    let (origin, gateway) = pair();
    let mut client = client(&gateway);

    client.request("GET", "/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]).end().read();

    assert_eq!(origin.request().head.all("cookie"), ["a=1; b=2"]);
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let (origin, gateway) = pair();
    let mut client = client(&gateway);
    let said =
        [("x-forwarded-for", "1.1.1.1"), ("x-real-ip", "1.1.1.1"), ("forwarded", "for=1.1.1.1")];

    client.request("GET", "/", &said).end().read();

    let request = origin.request();
    assert_eq!(request.head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.head.all("x-real-ip"), ["127.0.0.1"]);
    let forwarded = request.head.all("forwarded").concat();
    assert!(!forwarded.contains("1.1.1.1"), "{forwarded}");
}
