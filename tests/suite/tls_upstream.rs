//! Endpoints that are reached over TLS: who is believed, what is reused, what is an end.

use std::net::SocketAddr;

use rcgen::DnType;

use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, Reload, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};
use crate::support::tls::Authority;

const NAME: &str = "docs.internal";

/// An origin with a certificate of this authority.
fn private_origin(authority: &Authority) -> Origin {
    origin().private(authority.server(&authority.issue("docs", &[NAME]))).start()
}

fn to(origin: &Origin, tls: &str) -> String {
    let cluster = cluster_of("docs", &[origin.address], &format!("tls = {{ {tls} }}"));
    listener("") + "[[route]]\ncluster = \"docs\"\n" + &cluster
}

/// What a cluster says of an origin with a certificate of this authority.
fn trust(authority: &Authority) -> String {
    format!("ca = {:?}, server_name = {NAME:?}", authority.file())
}

#[test]
fn an_endpoint_that_is_who_it_should_be_answers() {
    let authority = Authority::new();
    let origin = private_origin(&authority);
    let gateway = gateway().config(to(&origin, &trust(&authority))).start();
    let mut client = gateway.client();

    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "hello");
    }

    // Tickets came behind the first handshake: they do not make the connection look used.
    assert_eq!(origin.connections(), 1);
    assert_eq!(gateway.count("ringgate_upstream_reused_total"), 2);
}

#[track_caller]
fn refuses(gateway: &Gateway, why: &str) {
    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: refused\r\n\r\n");
    assert_eq!(reply.status, 502);
    assert_eq!(gateway.log_line("refused")["outcome"], "upstream_failed");
    assert!(gateway.count("ringgate_upstream_connect_failures_total") > 0);
    let said = gateway.stderr();
    assert!(said.contains(why), "{why:?} in:\n{said}");
}

#[test]
fn an_endpoint_that_is_somebody_else_gets_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = private_origin(&authority);
    let expired = authority.issue_expired("expired", &[NAME]);
    let expired = origin_with(authority.server(&expired));
    let strange = trust(&stranger);
    let other_name = format!("ca = {:?}, server_name = \"other\"", authority.file());

    let by = |config: String| gateway().config(config).start();
    refuses(&by(to(&origin, &strange)), "issued by nobody in the configured ca");
    refuses(&by(to(&origin, &other_name)), "not valid for name");
    refuses(&by(to(&expired, &trust(&authority))), "expired");

    assert_eq!((origin.requests_seen(), expired.requests_seen()), (0, 0));
}

fn origin_with(tls: rustls::ServerConfig) -> Origin {
    origin().private(tls).start()
}

#[test]
fn without_verification_anybody_is_believed_who_speaks_tls() {
    let authority = Authority::new();
    let origin = private_origin(&authority);
    let plain = crate::support::origin::origin()
        .serve(|connection| connection.send("HTTP/1.1 400 Bad Request\r\n\r\n"))
        .start();
    let one = gateway().config(to(&origin, "verify = false")).start();
    assert_eq!(one.get("/").text(), "hello");
    refuses(&gateway().config(to(&plain, "verify = false")).start(), "does not speak TLS");
}

#[test]
fn an_endpoint_that_asks_sees_our_certificate() {
    let authority = Authority::new();
    let docs = authority.issue("docs", &[NAME]);
    let origin = origin_with(authority.server_for_known_clients(&docs));
    let ours = authority.issue_to("ours", &[(DnType::CommonName, "gateway")]);
    let shown = format!("{}, cert = {:?}, key = {:?}", trust(&authority), ours.cert, ours.key);

    assert_eq!(gateway().config(to(&origin, &shown)).start().get("/").text(), "hello");

    let unknown = gateway().config(to(&origin, &trust(&authority))).start();
    assert_eq!(unknown.get("/").status, 502);
    assert_eq!(origin.requests_seen(), 1);
}

#[test]
fn a_handshake_that_hangs_is_cut_at_the_connect_deadline() {
    let gate = Gate::default();
    let wait = gate.clone();
    let silent = origin().serve(move |_| wait.pass()).start();
    let tls = "verify = false }\ntimeouts = { connect = \"100ms\"";
    let gateway = gateway().config(to(&silent, tls)).start();

    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: hangs\r\n\r\n");
    gate.open();

    assert_eq!(reply.status, 504);
    assert_eq!(gateway.log_line("hangs")["outcome"], "connect_timeout");
}

#[test]
fn sessions_are_resumed_and_outlive_a_reload() {
    let authority = Authority::new();
    let resumed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&resumed);
    let origin = origin()
        .private(authority.server(&authority.issue("docs", &[NAME])))
        .on(move |_, connection| {
            seen.lock().unwrap().push(connection.wire().tls().is_resumed());
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.close();
        })
        .start();
    let config = to(&origin, &trust(&authority));
    let gateway = gateway().config(&config).start();

    for number in 0..4 {
        if number == 2 {
            assert_eq!(gateway.reload(&config), Reload::InForce);
        }
        assert_eq!(gateway.get("/").status, 200);
    }

    assert_eq!(*resumed.lock().unwrap(), [false, true, true, true]);
}

#[test]
fn other_rules_mean_other_connections() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = private_origin(&authority);
    let gateway = gateway().workers(1).config(to(&origin, &trust(&authority))).start();
    assert_eq!(gateway.get("/").text(), "hello");

    assert_eq!(gateway.reload(&to(&origin, &trust(&stranger))), Reload::InForce);
    assert_eq!(gateway.get("/").status, 502, "the pooled connection was made by other rules");

    assert_eq!(gateway.reload(&to(&origin, &trust(&authority))), Reload::InForce);
    assert_eq!(gateway.get("/").text(), "hello");
}

#[test]
fn a_body_that_ends_with_the_connection_must_end_with_close_notify() {
    let authority = Authority::new();
    let origin = origin()
        .private(authority.server(&authority.issue("docs", &[NAME])))
        .on(|request, connection| {
            connection.send("HTTP/1.1 200 OK\r\n\r\nhello");
            match request.target() {
                "/whole" => connection.close(),
                // Somebody on the way ends the connection.
                _ => connection.cut(),
            }
        })
        .start();
    let gateway = gateway().config(to(&origin, &trust(&authority))).start();

    assert_eq!(gateway.get("/whole").text(), "hello");

    let mut client = gateway.client();
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\nX-Request-Id: cut\r\n\r\n");
    assert!(client.try_read().is_err(), "half a body is no body");
    assert_eq!(gateway.log_line("cut")["outcome"], "upstream_cut");
}

#[test]
fn an_answer_of_stated_length_needs_no_close_notify() {
    let authority = Authority::new();
    let origin = origin()
        .private(authority.server(&authority.issue("docs", &[NAME])))
        .on(|_, connection| {
            connection.reply("hello");
            connection.cut();
        })
        .start();
    let gateway = gateway().config(to(&origin, &trust(&authority))).start();
    for _ in 0..3 {
        assert_eq!(gateway.get("/").text(), "hello");
    }
}

#[test]
fn large_bodies_go_both_ways() {
    let authority = Authority::new();
    let origin = origin()
        .private(authority.server(&authority.issue("docs", &[NAME])))
        .on(|request, connection| {
            let length = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            connection.send([head.as_bytes(), &request.body].concat());
        })
        .start();
    let gateway = gateway().config(to(&origin, &trust(&authority))).start();
    let body: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    let mut client = gateway.client();
    for _ in 0..2 {
        assert!(client.post("/", "", &body).body == body);
    }
}

#[test]
fn a_model_is_reached_by_a_url_with_https() {
    let authority = Authority::new();
    let reply = r#"{"id":"x","object":"chat.completion","choices":[]}"#;
    let origin = origin()
        .private(authority.server(&authority.issue("docs", &["localhost"])))
        .reply(reply)
        .start();
    let SocketAddr::V4(address) = origin.address else { panic!("origins are on IPv4") };
    let port = address.port();
    let model = format!(
        "[[route]]\nai = true\n[model.m]\ntls = {{ ca = {:?} }}\n[[model.m.endpoint]]\n\
         provider = \"openai\"\nurl = \"https://localhost:{port}/v1\"\n",
        authority.file()
    );
    let gateway = gateway().config(listener("") + &model).start();
    let mut client = gateway.client();

    let fields = "Content-Type: application/json\r\nX-Client-Cert-Subject: CN=root\r\n";
    let call = r#"{"model":"m","messages":[]}"#;
    let answer = client.post("/v1/chat/completions", fields, call);

    assert_eq!(answer.text(), reply);
    let seen = origin.request();
    assert_eq!(seen.get("host"), Some(format!("localhost:{port}").as_str()));
    assert!(!seen.head.has("x-client-cert-subject"));
}
