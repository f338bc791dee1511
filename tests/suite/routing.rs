//! Which route a request takes.

use crate::support::gateway::{Gateway, gateway, listener};
use crate::wire;

/// A gateway whose routes answer with their own name.
fn routes(routes: &[(&str, &str)]) -> Gateway {
    let answer = |(name, conditions): &(&str, &str)| {
        format!("[[route]]\n{conditions}\nrespond = {{ status = 200, body = \"{name}\" }}\n")
    };
    let text: String = routes.iter().map(answer).collect();
    gateway().workers(1).config(listener("") + &text).start()
}

#[track_caller]
fn expect(gateway: &Gateway, host: &str, target: &str, expected: &str) {
    let reply = gateway.talk(wire![format!("GET {target} HTTP/1.1") format!("Host: {host}") ""]);
    let found = if reply.status == 404 { "none" } else { reply.text() };
    assert_eq!(found, expected, "{host} {target}");
}

#[test]
fn a_prefix_matches_itself_and_what_is_below_it() {
    let gateway = routes(&[("api", "path = \"/api/\""), ("exact", "path = { exact = \"/x\" }")]);

    for path in ["/api", "/api/", "/api/a/b", "/api?q", "/./api/a", "/a/../api", "/%61pi"] {
        expect(&gateway, "a", path, "api");
    }
    for path in ["/", "/apis", "/API", "/ap", "/x/", "/x/y", "/y/api"] {
        expect(&gateway, "a", path, "none");
    }
    expect(&gateway, "a", "/x", "exact");
    expect(&gateway, "a", "/x?q", "exact");
}

#[test]
fn an_expression_sees_the_path_that_is_forwarded() {
    let gateway = routes(&[
        ("numbers", r#"path = { regex = '^/v[12]/items/\d+$$' }"#),
        ("admin", "path = { regex = 'admin' }"),
        ("rest", "path = '/v1'"),
    ]);

    expect(&gateway, "a", "/v1/items/42", "numbers");
    expect(&gateway, "a", "/v1/x/%2E%2E/items/42?q=admin", "numbers");
    expect(&gateway, "a", "/%61dmin", "admin");
    expect(&gateway, "a", "/v1/items/4x", "rest");
    expect(&gateway, "a", "/v3/items/4?admin", "none");
}

#[test]
fn the_first_match_wins_among_thousands() {
    const ROUTES: usize = 10_000;
    let names: Vec<String> = (0..ROUTES).map(|n| format!("r{n}")).collect();
    let conditions: Vec<String> = (0..ROUTES)
        .map(|n| match n % 3 {
            0 => format!("host = 'h{n}.example.com'"),
            1 => format!("path = '/p{n}'"),
            _ => format!("host = '*.example.com'\npath = {{ exact = '/p{}' }}", n - 1),
        })
        .collect();
    let pairs: Vec<(&str, &str)> =
        names.iter().zip(&conditions).map(|(name, line)| (&**name, &**line)).collect();
    let gateway = routes(&pairs);

    expect(&gateway, "h9999.example.com", "/p9997", "r9997");
    expect(&gateway, "h9999.example.com", "/p1", "r1");
    expect(&gateway, "h0.example.com", "/p1", "r0");
    expect(&gateway, "other", "/p9997/x", "r9997");
    expect(&gateway, "other", "/q", "none");
}

#[test]
fn the_first_match_wins() {
    let gateway = routes(&[("one", "path = \"/a/b\""), ("two", "path = \"/a\""), ("rest", "")]);

    expect(&gateway, "a", "/a/b/c", "one");
    expect(&gateway, "a", "/a/c", "two");
    expect(&gateway, "a", "/c", "rest");
}

#[test]
fn hosts_match_without_case_and_port() {
    let gateway =
        routes(&[("exact", "host = \"Api.example.com\""), ("wild", "host = \"*.example.com\"")]);

    expect(&gateway, "api.example.com", "/", "exact");
    expect(&gateway, "API.EXAMPLE.COM:8080", "/", "exact");
    expect(&gateway, "b.example.com", "/", "wild");
    expect(&gateway, "c.b.example.com", "/", "wild");
    expect(&gateway, "example.com", "/", "none");
    expect(&gateway, "badexample.com", "/", "none");
    expect(&gateway, "api.example.com.evil", "/", "none");
}

#[test]
fn an_absolute_target_decides_about_the_host() {
    let gateway = routes(&[("inside", "host = \"a\"")]);

    expect(&gateway, "a", "http://a/x", "inside");
}

#[test]
fn methods_and_headers_narrow_a_route() {
    let gateway = routes(&[
        ("canary", "headers = { x-canary = \"yes\" }"),
        ("write", "methods = [\"POST\", \"PUT\"]"),
        ("read", "methods = [\"GET\", \"HEAD\"]"),
    ]);

    let ask = |method: &str, field: &str| {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{field}\r\n");
        let reply = gateway.talk(request);
        if reply.status == 404 { "none".to_owned() } else { reply.text().to_owned() }
    };
    assert_eq!(ask("GET", "X-Canary: yes\r\n"), "canary");
    assert_eq!(ask("GET", "X-Canary: no\r\n"), "read");
    assert_eq!(ask("POST", ""), "write");
    assert_eq!(ask("DELETE", ""), "none");
}

#[test]
fn a_route_may_belong_to_one_listener() {
    let second = "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\n";
    let gateway = gateway()
        .config(
            listener("")
                + second
                + "[[route]]\nlistener = \"second\"\nrespond = { status = 200, body = \"second\" }\n"
                + "[[route]]\npath = \"/both\"\nrespond = { status = 200, body = \"both\" }\n",
        )
        .start();
    let mut public = gateway.client();
    let mut second = crate::support::client::Client::connect(gateway.address_of("second"));

    assert_eq!(public.get("/a").status, 404);
    assert_eq!(second.get("/a").text(), "second");
    assert_eq!(public.get("/both").text(), "both");
}

#[test]
fn no_route_is_404_logged_and_keeps_the_connection() {
    let gateway = routes(&[("api", "path = \"/api\"")]);
    let mut client = gateway.client();

    let reply = client.get("/other");

    assert_eq!(reply.status, 404);
    let line = gateway.log_line(reply.get("x-request-id").expect("an id"));
    assert_eq!((&line["outcome"], &line["reason"]), (&"refused".into(), &"no_route".into()));
    assert_eq!(client.get("/api").text(), "api");
}

#[test]
fn a_fixed_answer_has_its_status_headers_and_body() {
    let route = "[[route]]\nrespond = { status = 503, body = \"{}\", headers = { content-type = \
                 \"application/json\", retry-after = \"5\" } }\n";
    let gateway = gateway().config(listener("") + route).start();
    let mut client = gateway.client();

    let reply = client.get("/");
    assert_eq!((reply.status, reply.text()), (503, "{}"));
    assert_eq!(reply.get("content-type"), Some("application/json"));
    assert_eq!(reply.get("retry-after"), Some("5"));
    assert!(reply.head.has("date") && reply.head.has("x-request-id"), "{:?}", reply.head);

    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.read_reply_to("HEAD");
    assert_eq!(reply.get("content-length"), Some("2"));
    assert_eq!(client.get("/").text(), "{}");
}
