//! The files of `config/examples` that come from other servers do what those did, as
//! `docs/migrating.md` tells it.

use std::collections::BTreeSet;

use rustls::version::{TLS12, TLS13};

use crate::support::client::{Client, Reply};
use crate::support::gate::Gate;
use crate::support::gateway::{example, gateway};
use crate::support::origin::{Origin, origin};
use crate::support::tls::Authority;

const HOST: &str = "jairouter.example.com";

/// Origins that answer with their place, from 1.
fn origins(count: usize) -> Vec<Origin> {
    (1..=count).map(|n| origin().reply(&n.to_string()).start()).collect()
}

fn get(client: &mut Client, host: &str, target: &str) -> Reply {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).read()
}

/// Who answers as many requests as there may be endpoints.
fn who(client: &mut Client, host: &str, target: &str, count: usize) -> BTreeSet<String> {
    (0..count).map(|_| get(client, host, target).text().to_owned()).collect()
}

fn everybody(count: usize) -> BTreeSet<String> {
    (1..=count).map(|n| n.to_string()).collect()
}

/// What an example of the routers has in place of its own addresses.
fn for_routers(authority: &Authority, routers: &[Origin]) -> Vec<(&'static str, String)> {
    authority.issue("jairouter", &[HOST]);
    let directory = authority.file().parent().expect("it is in a directory").to_owned();
    let address = |n: usize| routers[n].address.to_string();
    vec![
        ("/etc/ringgate/tls", directory.display().to_string()),
        ("0.0.0.0:80", "127.0.0.1:0".to_owned()),
        ("0.0.0.0:443", "127.0.0.1:0".to_owned()),
        ("10.0.1.10:8080", address(0)),
        ("10.0.1.11:8080", address(1)),
        ("10.0.1.12:8080", address(2)),
    ]
}

#[test]
fn what_an_haproxy_did_in_front_of_routers() {
    let authority = Authority::new();
    let mut routers = origins(3);
    let health = origin().reply("well").start();
    // First of all: nobody else's address may come to look like this one.
    let mut addresses = vec![("127.0.0.1:8080", health.address.to_string())];
    addresses.extend(for_routers(&authority, &routers));
    let config = example("from-haproxy", &addresses);
    let gateway = gateway().access_log("format = \"httplog\"").config(config).start();

    // redirect scheme https if !{ ssl_fc }
    let mut plain = Client::connect(gateway.address_of("http"));
    let moved = get(&mut plain, HOST, "/v1/models?a=1");
    let location = format!("https://{HOST}/v1/models?a=1");
    assert_eq!((moved.status, moved.get("location")), (302, Some(&*location)));

    // bind *:443 ssl crt, default_backend, balance roundrobin
    let mut client = authority.client().connect(gateway.address_of("https"), HOST);
    assert_eq!(who(&mut client, HOST, "/v1/models", 3), everybody(3));

    // acl health_check path_beg /health
    assert_eq!(get(&mut client, HOST, "/health").text(), "well");
    assert_eq!(get(&mut client, HOST, "/health/deep").text(), "well");
    assert_ne!(get(&mut client, HOST, "/healthy").text(), "well");

    // retries 3, option redispatch
    drop(routers.remove(0));
    let left = who(&mut client, HOST, "/v1/models", 6);
    assert_eq!(left, BTreeSet::from(["2".to_owned(), "3".to_owned()]));

    // option httplog
    let lines = gateway.wait_for_log_text(10);
    let is_of_backend = |line: &String| line.contains(" https") && line.contains(" jairouter/");
    assert!(lines.iter().any(is_of_backend), "{lines:?}");
}

#[test]
fn what_an_nginx_did_in_front_of_routers() {
    let authority = Authority::new();
    let routers = origins(3);
    let config = example("from-nginx", &for_routers(&authority, &routers));
    let gateway = gateway().access_log("format = \"combined\"").config(config).start();
    let mut plain = Client::connect(gateway.address_of("http"));

    // location /health { access_log off; return 200 "healthy\n"; }
    let healthy = get(&mut plain, HOST, "/health");
    assert_eq!((healthy.status, healthy.text()), (200, "healthy\n"));
    assert_eq!(healthy.get("content-type"), Some("text/plain"));

    // location /actuator { allow 10.0.0.0/8; deny all; }
    assert_eq!(get(&mut plain, HOST, "/actuator/metrics").status, 403);

    // server_name
    assert_eq!(get(&mut plain, "other.example.com", "/").status, 404);

    // location / { proxy_pass }, add_header
    let page = get(&mut plain, HOST, "/page");
    for (field, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
    ] {
        assert_eq!(page.get(field), Some(value), "{field}");
    }
    let seen = routers.iter().flat_map(Origin::requests).find(|seen| seen.target() == "/page");
    let seen = seen.expect("a router was asked");
    assert_eq!((seen.get("host"), seen.get("x-real-ip")), (Some(HOST), Some("127.0.0.1")));
    assert_eq!(seen.get("x-forwarded-proto"), Some("http"));

    // least_conn: idle endpoints take turns
    assert_eq!(who(&mut plain, HOST, "/", 3), everybody(3));

    // listen 443 ssl, ssl_protocols TLSv1.2 TLSv1.3
    for version in [&TLS12, &TLS13] {
        let client = authority.client_of_version(version);
        let mut client = client.connect(gateway.address_of("https"), HOST);
        assert_eq!(get(&mut client, HOST, "/").status, 200);
    }

    // access_log in the combined format, without the health page
    let lines = gateway.wait_for_log_text(8);
    let is_page = |line: &String| line.contains("\"GET /page HTTP/1.1\" 200 ");
    assert!(lines.iter().any(is_page), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("/health")), "{lines:?}");
}

#[test]
fn what_the_gateway_of_a_document_library_did() {
    let gate = Gate::default();
    let wait = gate.clone();
    let streaming = move |n: usize| {
        let wait = wait.clone();
        origin().on(move |request, connection| match request.target() {
            "/mcp/events" => {
                connection.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
                );
                wait.pass();
                connection.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n");
            }
            _ => connection.reply(&n.to_string()),
        })
    };
    let backends: Vec<Origin> = (1..=2).map(|n| streaming(n).start()).collect();
    let config = example(
        "document-library",
        &[
            ("0.0.0.0:80", "127.0.0.1:0".to_owned()),
            ("ai-doc-backend-1:8080", backends[0].address.to_string()),
            ("ai-doc-backend-2:8081", backends[1].address.to_string()),
        ],
    );
    let gateway = gateway().config(config).start();
    let mut client = gateway.client();

    // location /api/ and location /mcp, to one of two back ends
    assert_eq!(who(&mut client, "a", "/api/search?q=1", 2), everybody(2));
    assert_eq!(who(&mut client, "a", "/mcp", 2), everybody(2));
    let asked = backends.iter().flat_map(Origin::requests);
    assert!(asked.clone().any(|request| request.target() == "/api/search?q=1"));

    // proxy_buffering off: an event leaves while the next one is waited for
    client.send("GET /mcp/events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read_head().expect("the head comes at once").word(1), "200");
    assert_eq!(client.wire().read_chunk(), Ok(b"data: 1\n\n".to_vec()));
    gate.open();
    assert_eq!(client.wire().read_chunk(), Ok(b"data: 2\n\n".to_vec()));

    // root and try_files are another server's
    assert_eq!(gateway.get("/index.html").status, 404);
}
