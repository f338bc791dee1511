//! What a route does beside leading somewhere: whom it lets in, what it adds, where it sends.

use crate::support::gateway::{Gateway, gateway, listener};
use crate::support::origin::{Origin, origin};
use crate::wire;

/// One route to one origin, with these lines.
fn route_to(origin: &Origin, lines: &str) -> Gateway {
    gateway().workers(1).route_with("/", &[origin.address], lines, "").start()
}

/// A gateway of these routes, which lead to no origin.
fn routes(text: &str) -> Gateway {
    gateway().workers(1).config(listener("") + text).start()
}

#[track_caller]
fn expect_location(gateway: &Gateway, host: &str, target: &str, expected: &str) {
    let reply = gateway.talk(wire![format!("GET {target} HTTP/1.1") format!("Host: {host}") ""]);
    assert_eq!(reply.get("location"), Some(expected), "{host} {target} {reply:?}");
}

#[test]
fn a_redirect_keeps_what_it_does_not_replace() {
    let gateway = routes(
        "[[route]]\npath = '/old'\nreplace_prefix = '/new'\nredirect = { status = 301 }\n\
         [[route]]\npath = '/moved'\nredirect = { path = '/there?from=here' }\n\
         [[route]]\npath = '/far'\nredirect = { scheme = 'https', host = 'B.example', port = 8443 }\n\
         [[route]]\nredirect = { scheme = 'https' }\n",
    );
    let mut client = gateway.client();

    let reply = client.get("/old/a?q=1");
    assert_eq!((reply.status, reply.get("location")), (301, Some("/new/a?q=1")));
    assert_eq!(reply.get("content-length"), Some("0"));
    assert_eq!(client.get("/moved?q").get("location"), Some("/there?from=here"));
    let reply = client.post("/x", "", "a body that is not wanted");
    assert_eq!((reply.status, reply.get("location")), (308, Some("https://a/x")));

    expect_location(&gateway, "a:8080", "/far/x?q", "https://b.example:8443/far/x?q");
    expect_location(&gateway, "A.example:8080", "/%7e?q", "https://a.example/~?q");
    expect_location(&gateway, "[::1]:8080", "/", "https://[::1]/");
    let line = &gateway.wait_for_log(1)[0];
    assert_eq!((&line["outcome"], &line["status"]), (&"answered".into(), &301.into()));
}

#[test]
fn a_client_cannot_choose_where_a_redirect_leads() {
    let gateway = routes(
        "[[route]]\npath = '/out'\nstrip_prefix = '/out'\nredirect = {}\n\
         [[route]]\nredirect = { scheme = 'https' }\n",
    );

    expect_location(&gateway, "a", "/out//evil.example/x", "/.//evil.example/x");
    expect_location(&gateway, "a", "//evil.example/x", "https://a//evil.example/x");
    for host in ["a@evil.example", "evil.example/x", "a b", "a%2eb", "\"a\"", "a, b"] {
        let reply = gateway.talk(wire!["GET / HTTP/1.1" format!("Host: {host}") ""]);
        assert_eq!((reply.status, reply.get("location")), (400, None), "{host}");
    }
    let reply = gateway.talk(wire!["GET /x HTTP/1.0" ""]);
    assert_eq!((reply.status, reply.get("location")), (400, None));
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"redirect_without_host\"}"), 1);
}

#[test]
fn only_clients_that_are_allowed_get_in() {
    let origin = origin().start();
    let gateway = gateway()
        .workers(1)
        .route_with("/in", &[origin.address], "allow = ['127.0.0.0/8', '10.0.0.0/8']", "")
        .route_with("/out", &[origin.address], "allow = ['10.0.0.0/8']", "")
        .route_with("/but", &[origin.address], "allow = ['127.0.0.0/8']\ndeny = ['127.0.0.1']", "")
        .route_with("/not", &[origin.address], "deny = ['::/0', '127.0.0.1/32']", "")
        .start();
    let mut client = gateway.client();

    assert_eq!(client.get("/in").status, 200);
    for target in ["/out", "/but", "/not"] {
        let reply = client.post(target, "", "a short body");
        assert_eq!(reply.status, 403, "{target}");
        let line = gateway.log_line(reply.get("x-request-id").expect("an id"));
        assert_eq!(
            (&line["outcome"], &line["reason"], &line["status"]),
            (&"refused".into(), &"address_denied".into(), &403.into())
        );
    }
    assert_eq!(client.get("/in").status, 200, "the connection is kept");
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"address_denied\"}"), 3);
    assert_eq!(origin.requests_seen(), 2);
}

#[test]
fn an_ai_client_is_refused_in_its_dialect() {
    let config = "[[route]]\nai = true\nallow = ['10.0.0.0/8']\n[model.m]\n\
                  [[model.m.endpoint]]\nprovider = 'vllm'\nurl = 'http://127.0.0.1:1/v1'\n";
    let gateway = routes(config);
    let mut client = gateway.client();

    let reply = client.post("/v1/chat/completions", "", "{}");
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (403, &"permission_denied".into()));
    let reply = client.post("/v1/messages", "anthropic-version: 2023-06-01\r\n", "{}");
    let kind = &reply.json()["error"]["type"];
    assert_eq!((reply.status, kind), (403, &"permission_error".into()));
}

#[test]
fn a_route_has_a_limit_of_its_own_for_bodies() {
    let origin = origin().start();
    let gateway = gateway()
        .workers(1)
        .listener("limits = { body = '1KiB' }")
        .route_with("/small", &[origin.address], "limits = { body = '10B' }", "")
        .route_with("/large", &[origin.address], "limits = { body = '1MiB' }", "")
        .route("/", &origin)
        .start();
    let status = |target, length| gateway.client().post(target, "", vec![b'x'; length]).status;

    assert_eq!((status("/small", 10), status("/small", 11)), (200, 413));
    assert_eq!((status("/large", 1 << 20), status("/large", (1 << 20) + 1)), (200, 413));
    assert_eq!((status("/", 1 << 10), status("/", (1 << 10) + 1)), (200, 413));

    let mut client = gateway.client();
    client.send("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("8\r\n12345678\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.read().status, 413);
}

#[test]
fn browsers_are_told_to_be_careful() {
    let own = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Frame-Options: SAMEORIGIN\r\n\r\n";
    let origin = origin().reply_raw(own).start();
    let lines = "security_headers = true\nresponse_headers = { remove = ['referrer-policy'] }";
    let gateway = route_to(&origin, lines);

    let reply = gateway.get("/");

    assert_eq!(reply.get("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.get("x-frame-options"), Some("SAMEORIGIN"), "the origin knows better");
    assert!(!reply.head.has("referrer-policy"), "{:?}", reply.head);
    assert!(!reply.head.has("strict-transport-security"), "not over plain HTTP");
}

#[test]
fn strict_transport_security_follows_what_a_trusted_proxy_says_of_the_client() {
    let origin = origin().start();
    let ask = |gateway: &Gateway| {
        let request = wire!["GET / HTTP/1.1" "Host: a" "X-Forwarded-Proto: https" ""];
        gateway.talk(request).get("strict-transport-security").map(str::to_owned)
    };
    let builder =
        || gateway().workers(1).route_with("/", &[origin.address], "security_headers = true", "");

    let trusting = builder().listener("trusted_proxies = ['127.0.0.0/8']").start();
    assert_eq!(ask(&trusting).as_deref(), Some("max-age=31536000"));
    assert_eq!(trusting.get("/").get("strict-transport-security"), None);
    assert_eq!(ask(&builder().start()), None);
}

#[test]
fn answers_made_here_have_the_security_fields_too() {
    let gateway = routes(
        "[[route]]\npath = '/r'\nsecurity_headers = true\nredirect = { path = '/x' }\n\
         [[route]]\nsecurity_headers = true\n\
         respond = { headers = { x-frame-options = 'SAMEORIGIN' } }\n",
    );

    let redirect = gateway.get("/r");
    assert_eq!(redirect.get("x-frame-options"), Some("DENY"));
    let fixed = gateway.get("/");
    assert_eq!(fixed.get("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(fixed.get("referrer-policy"), Some("strict-origin-when-cross-origin"));
}

#[test]
fn an_added_field_stands_beside_what_is_there() {
    let own = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVary: accept\r\n\r\n";
    let origin = origin().reply_raw(own).start();
    let lines = "request_headers = { add = { x-tag = 'b' } }\n\
                 response_headers = { add = { vary = 'origin' } }";
    let gateway = route_to(&origin, lines);

    let reply = gateway.talk(wire!["GET / HTTP/1.1" "Host: a" "X-Tag: a" ""]);

    assert_eq!(reply.head.all("vary"), ["accept", "origin"]);
    assert_eq!(origin.request().head.all("x-tag"), ["a", "b"]);
}

#[test]
fn own_pages_tell_of_errors() {
    let pages = tempfile::tempdir().expect("a directory");
    let page = |name: &str, text: &str| {
        let path = pages.path().join(name);
        std::fs::write(&path, text).expect("the file is writable");
        path
    };
    let (site, shop, json) =
        (page("site.html", "<p>site"), page("shop.html", "<p>shop"), page("no.json", "{}"));
    let gone = crate::support::free_port();
    let config = format!(
        "errors = {{ 502 = {site:?}, 404 = {json:?}, 400 = {site:?} }}\n\
         [[route]]\npath = '/shop'\ncluster = 'gone'\nerrors = {{ 502 = {shop:?} }}\n\
         [[route]]\npath = '/site'\ncluster = 'gone'\nerrors = {{ 503 = {shop:?} }}\n\
         [cluster.gone]\n[[cluster.gone.endpoint]]\naddress = '127.0.0.1:{gone}'\n"
    );
    let gateway = routes(&config);
    let mut client = gateway.client();

    let reply = client.get("/shop");
    assert_eq!((reply.status, reply.text()), (502, "<p>shop"));
    assert_eq!(reply.get("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(client.get("/site").text(), "<p>site");
    let reply = client.get("/nowhere");
    assert_eq!((reply.status, reply.text()), (404, "{}"));
    assert_eq!(reply.get("content-type"), Some("application/json"));
    client.send("HEAD /site HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.read_reply_to("HEAD");
    assert_eq!((reply.get("content-length"), reply.body.len()), (Some("7"), 0));
    let reply = gateway.talk(wire!["GET / HTTP/1.1" "Host : a" ""]);
    assert_eq!((reply.status, reply.text()), (400, "<p>site"), "a head that is not understood");
}

#[test]
fn an_error_of_the_origin_is_its_own_to_tell() {
    let pages = tempfile::tempdir().expect("a directory");
    let page = pages.path().join("503.html");
    std::fs::write(&page, "ours").expect("the file is writable");
    let own = "HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\ntheirs";
    let origin = origin().reply_raw(own).start();
    let gateway = route_to(&origin, &format!("errors = {{ 503 = {page:?} }}"));

    assert_eq!(gateway.get("/").text(), "theirs");
}
