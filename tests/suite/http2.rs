//! HTTP/2: the same exchange as over HTTP/1, many at a time.

mod abuse;
mod border;
mod endings;
mod private;
mod tunnel;
mod upstream;

use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, GatewayBuilder, gateway};
use crate::support::http2::client::Http2Client;
use crate::support::http2::frames::{
    END_STREAM, Fate, Frame, FrameClient, PREFACE, SETTINGS, block,
};
use crate::support::origin::{Connection, Origin, origin};

/// A gateway whose clients may speak HTTP/2.
fn gateway_for_http2() -> GatewayBuilder {
    gateway().listener("http2 = true")
}

fn pair() -> (Origin, Gateway) {
    let origin = origin().reply("hello").start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    (origin, gateway)
}

fn client(gateway: &Gateway) -> Http2Client {
    Http2Client::connect(gateway.address())
}

fn counter(reason: &str) -> String {
    format!("ringgate_refused_total{{reason=\"{reason}\"}}")
}

#[test]
fn a_client_of_either_version_is_served_on_one_port() {
    let (origin, gateway) = pair();

    let reply = client(&gateway).get("/a?b=c");

    assert_eq!((reply.status, reply.text()), (200, "hello"));
    let request = origin.request();
    assert_eq!((request.method(), request.target()), ("GET", "/a?b=c"));
    assert_eq!(request.get("host"), Some("a"));
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(gateway.get("/").text(), "hello");
}

#[test]
fn the_log_and_the_metrics_tell_the_version() {
    let (_origin, gateway) = pair();

    let fields = [("x-request-id", "h2"), ("user-agent", "test")];
    client(&gateway).request("GET", "/", &fields).end().read();

    let line = gateway.log_line("h2");
    assert_eq!((&line["version"], &line["method"]), (&"HTTP/2.0".into(), &"GET".into()));
    assert_eq!((&line["outcome"], &line["host"]), (&"completed".into(), &"a".into()));
    assert_eq!(gateway.count("ringgate_http2_connections_total"), 1);
    assert_eq!(gateway.count("ringgate_http2_requests_total"), 1);
    assert_eq!(gateway.count("ringgate_http2_unfinished_total"), 0);
}

#[test]
fn a_preface_is_recognised_however_it_is_cut() {
    let (_origin, gateway) = pair();
    for step in [1, 3, 4, 5, 23] {
        let mut client = FrameClient::connect_silently(gateway.address());
        for piece in PREFACE.chunks(step) {
            client.send_bytes(piece);
            // A piece of its own for the gateway, as far as that can be had from outside.
            gateway.admin("/metrics");
        }
        client.send(&Frame::new(SETTINGS, 0, 0, []));
        let stream = client.headers(END_STREAM, get("/"));
        assert_eq!(client.fate(stream), Fate::Answered(200), "in pieces of {step}");
    }
}

/// The header block of a GET.
fn get(path: &str) -> Vec<u8> {
    let path = path.as_bytes();
    block(&[(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", path)])
}

#[test]
fn without_the_key_a_listener_speaks_http_1_only() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();

    let reply = gateway.talk(PREFACE);

    assert_eq!(reply.status, 505);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn requests_of_one_connection_do_not_wait_for_each_other() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |request, connection| {
            if request.target() == "/slow" {
                wait.pass();
            }
            connection.reply(request.target());
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let slow = client.request("GET", "/slow", &[]).end();
    let calls: Vec<_> = (0..100)
        .map(|n| format!("/{n}"))
        .map(|target| (client.request("GET", &target, &[]).end(), target))
        .collect();
    for (call, target) in calls {
        assert_eq!(call.read().text(), target);
    }
    gate.open();

    assert_eq!(slow.read().text(), "/slow");
}

/// Answers with the length of the request's body and a body of 1 MiB.
fn large(connection: &mut Connection) {
    while let Some(request) = connection.read_request() {
        let body = vec![b'x'; 1 << 20];
        let length = request.body.len();
        connection.send(match request.target() {
            "/chunked" => format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Got: {length}\r\n\r\n100000\r\n"
            ),
            _ => format!("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nX-Got: {length}\r\n\r\n"),
        });
        connection.send(&body);
        if request.target() == "/chunked" {
            connection.send("\r\n0\r\n\r\n");
        }
    }
}

#[test]
fn large_bodies_arrive_whole_both_ways() {
    let origin = origin().serve(large).start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);
    let body = vec![b'y'; 1 << 20];
    let lengths: [&[(&str, &str)]; 2] = [&[("content-length", "1048576")], &[]];
    for (target, fields) in ["/chunked", "/length"].into_iter().zip(lengths) {
        let reply = client.request("POST", target, fields).body(&body).read();

        assert_eq!((reply.status, reply.body.len()), (200, 1 << 20), "{target}");
        assert_eq!(reply.get("x-got"), Some("1048576"), "{target}");
    }
    let framings: Vec<_> = origin.requests().iter().map(|r| r.head.has("content-length")).collect();
    assert_eq!(framings, [true, false]);
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            );
            for number in 0..100 {
                let event = format!("data: {number}\n\n");
                connection.send(format!("{:x}\r\n{event}\r\n", event.len()));
                wait.pass();
            }
            connection.send("0\r\n\r\n");
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("GET", "/", &[]).end();
    call.read_head();
    for number in 0..100 {
        assert_eq!(call.read_piece(), format!("data: {number}\n\n"));
        gate.open();
    }
    assert_eq!(call.try_read_piece().expect("an end"), None);
}

#[test]
fn trailers_pass_both_ways() {
    let origin = origin()
        .reply_raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
             2\r\nok\r\n0\r\nx-sum: 7\r\ncontent-length: 9\r\n\r\n",
        )
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[("te", "trailers")]).open();
    call.send("abc");
    call.finish_with_trailers(&[("x-check", "1"), ("authorization", "no")]);
    let reply = call.read();

    assert_eq!((reply.text(), reply.get("trailer")), ("ok", Some("x-sum")));
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let request = origin.request();
    assert_eq!(request.get("te"), Some("trailers"));
    assert_eq!(request.trailers, [("x-check".to_owned(), "1".to_owned())]);
}

#[test]
fn interim_responses_pass() {
    let origin = origin()
        .serve(|connection| {
            let head = connection.read_head().expect("a request");
            connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            connection.read_rest_of(head).expect("a body");
            connection.reply("done");
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[("expect", "100-continue")]).open();
    let hints = call.read_interim();
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"</a>".parse().unwrap())
    );
    assert_eq!(call.read_interim().status(), 100);
    call.send("body");
    call.finish();

    assert_eq!(call.read().text(), "done");
    assert_eq!(origin.request().get("expect"), Some("100-continue"));
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let origin = origin()
        .on(|request, connection| {
            connection.send(match request.target() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            });
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);
    for (method, target, status, length) in
        [("GET", "/204", 204, None), ("GET", "/304", 304, Some("9")), ("HEAD", "/", 200, Some("9"))]
    {
        let reply = client.request(method, target, &[]).end().read();
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{method} {target}");
        assert_eq!(reply.get("content-length"), length, "{method} {target}");
    }
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let origin = origin()
        .reply_raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-own\r\nX-Own: 1\r\n\
             Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
        )
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();

    let reply = client(&gateway).get("/");

    let expected = [("set-cookie", "a"), ("set-cookie", "b"), ("content-length", "0")];
    let fields: Vec<_> = reply.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(fields, expected);
}

#[test]
fn a_response_may_come_before_the_request_has_ended() {
    let origin = origin()
        .serve(|connection| {
            connection.read_head().expect("a head");
            connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
            connection.wait_for_anything_and_close();
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[]).open();
    call.send("a beginning");
    assert_eq!(call.read_head().0, 403);
    assert_eq!(call.read_piece(), "no");

    // The connection goes on.
    assert_eq!(client.request("POST", "/", &[]).body("x").read().status, 403);
}

#[test]
fn both_directions_flow_at_once() {
    let origin = origin()
        .serve(|connection| {
            connection.read_head().expect("a head");
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            loop {
                let chunk = connection.wire().read_chunk().expect("a chunk");
                connection.send(format!("{:x}\r\n", chunk.len()));
                connection.send(&chunk);
                connection.send("\r\n");
                if chunk.is_empty() {
                    return;
                }
            }
        })
        .start();
    let gateway = gateway_for_http2().route("/", &origin).start();
    let mut client = client(&gateway);

    let mut call = client.request("POST", "/", &[]).open();
    call.send("0");
    call.read_head();
    assert_eq!(call.read_piece(), "0");
    for number in 1..100 {
        call.send(number.to_string());
        assert_eq!(call.read_piece(), number.to_string());
    }
    call.finish();
    assert_eq!(call.try_read_piece().expect("an end"), None);
}

#[test]
fn limits_of_the_listener_hold() {
    let origin = origin().start();
    let gateway = gateway()
        .listener("http2 = true\nlimits = { head = \"2KiB\", headers = 10, body = \"64KiB\" }")
        .route("/", &origin)
        .start();
    let mut client = client(&gateway);
    let long = "x".repeat(2100);
    let many: Vec<_> = (0..11).map(|_| ("x-a", "b")).collect();

    assert_eq!(client.request("GET", "/", &[("x-a", &long)]).end().read().status, 431);
    assert_eq!(client.request("GET", "/", &many).end().read().status, 431);
    let stated = client.request("POST", "/", &[("content-length", "65537")]).open();
    assert_eq!(stated.read().status, 413);
    let mut grown = client.request("POST", "/", &[]).open();
    grown.send(vec![b'x'; 65_536]);
    grown.send("y");
    assert_eq!(grown.read().status, 413);

    let fine = client.request("POST", "/", &[]).body(vec![b'x'; 65_536]);
    assert_eq!(fine.read().status, 200);
    for (reason, count) in [("head_too_large", 1), ("too_many_fields", 1), ("body_too_large", 2)] {
        assert_eq!(gateway.count(&counter(reason)), count, "{reason}");
    }
}

#[test]
fn calls_to_models_come_over_http_2() {
    let origin = origin().reply("{}").start();
    let gateway = gateway()
        .config(format!(
            "[[listener]]\nname = \"public\"\nbind = \"127.0.0.1:0\"\nhttp2 = true\n\
             [[route]]\npath = \"/v1/\"\nai = true\n[model.m]\n[[model.m.endpoint]]\n\
             provider = \"vllm\"\nurl = \"http://{}/v1\"\n",
            origin.address
        ))
        .start();
    let mut client = client(&gateway);
    let json = [("content-type", "application/json")];

    let body = r#"{"model":"m","messages":[]}"#;
    let reply = client.request("POST", "/v1/chat/completions", &json).body(body).read();
    assert_eq!((reply.status, reply.text()), (200, "{}"));
    let unknown = client.request("POST", "/v1/chat/completions", &json).body(r#"{"model":"x"}"#);
    assert_eq!(unknown.read().status, 404);

    assert_eq!(origin.request().body, body.as_bytes());
}
