//! Calls whose bodies come as gzip: they are undone within the same bounds as others, and go on
//! as if they had never been compressed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::ai::{ai_gateway, model};
use crate::support::MIB;
use crate::support::client::Reply;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Origin, origin};
use crate::wire;

fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_ref()).expect("writing into a Vec does not fail");
    encoder.finish().expect("writing into a Vec does not fail")
}

/// A model called `m`, behind a listener with these lines.
fn pair(listener: &str) -> (Origin, Gateway) {
    let origin = origin().reply("{\"ok\":true}").start();
    let models = [model("m", &origin, "openai", "model = \"upstream-name\"")];
    let gateway = ai_gateway(listener, &models).start();
    (origin, gateway)
}

fn post(gateway: &Gateway, target: &str, fields: &str, body: impl AsRef<[u8]>) -> Reply {
    gateway.client().post(target, fields, body)
}

/// A call that is large when it has been undone, and small on its way here.
fn swollen(content: u64) -> Vec<u8> {
    gzip(format!("{{\"model\":\"m\",\"a\":\"{}\"}}", "x".repeat(content as usize)))
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

#[test]
fn a_compressed_call_goes_on_as_plain_json() {
    let (origin, gateway) = pair("");
    let body = |name: &str| {
        format!("{{\"messages\":[{:?}],\"model\":\"{name}\",\"z\":1}}", "hello ".repeat(50_000))
    };

    for fields in [GZIP, "content-encoding: X-GZip\r\n"] {
        let reply = post(&gateway, "/v1/chat/completions", fields, gzip(body("m")));
        assert_eq!(reply.status, 200, "{fields}: {}", reply.text());
    }

    for request in origin.requests() {
        let expected = body("upstream-name");
        assert!(request.body == expected.as_bytes(), "{} bytes", request.body.len());
        assert_eq!(request.get("content-length"), Some(&*expected.len().to_string()));
        assert!(!request.head.has("content-encoding"));
    }
    assert_eq!(origin.requests_seen(), 2);
}

#[test]
fn a_compressed_form_goes_on_as_a_plain_one() {
    let (origin, gateway) = pair("");
    let form = |name: &str| {
        wire![
            "--XX" "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"" "" "RIFF"
            "--XX" "Content-Disposition: form-data; name=\"model\"" "" name "--XX--"
        ]
    };
    let fields = format!("{GZIP}Content-Type: multipart/form-data; boundary=XX\r\n");

    let reply = post(&gateway, "/v1/audio/transcriptions", &fields, gzip(form("m")));

    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(origin.request().body, form("upstream-name"));
}

#[test]
fn chunks_may_cut_a_compressed_body_anywhere() {
    let (origin, gateway) = pair("");
    let mut raw = wire![
        "POST /v1/completions HTTP/1.1" "Host: a" "Content-Encoding: gzip"
        "Transfer-Encoding: chunked" ""
    ];
    for byte in gzip("{\"model\":\"m\"}") {
        raw.extend_from_slice(&[b"1\r\n", &[byte][..], b"\r\n"].concat());
    }
    raw.extend_from_slice(b"0\r\n\r\n");

    assert_eq!(gateway.talk(raw).status, 200);
    assert_eq!(origin.request().body, b"{\"model\":\"upstream-name\"}");
}

#[test]
fn a_bomb_stops_at_the_limit_of_bodies() {
    let (origin, gateway) = pair("limits = { body = \"1MiB\" }");
    let bomb = swollen(64 * MIB);
    assert!(bomb.len() < 512 * 1024, "{} bytes stay within the limit themselves", bomb.len());
    let reply = post(&gateway, "/v1/completions", GZIP, swollen(MIB - 100));
    assert_eq!(reply.status, 200, "just as large as allowed");
    let before = gateway.rss();

    for _ in 0..5 {
        let reply = post(&gateway, "/v1/completions", GZIP, &bomb);
        assert_eq!(reply.status, 413);
        assert_eq!(reply.json()["error"]["code"], "request_too_large");
    }

    let after = gateway.rss();
    println!("{} KiB before, {} KiB after", before / 1024, after / 1024);
    assert!(after < before + 8 * MIB, "from {before} to {after} bytes");
    assert_eq!(gateway.count("ringgate_refused_total{reason=\"body_too_large\"}"), 5);
    assert_eq!(origin.requests_seen(), 1);
}

#[test]
fn compressed_bytes_that_bring_nothing_forth_are_bounded_too() {
    let (origin, gateway) = pair("limits = { body = \"64KiB\" }");
    let empty_block = [0, 0, 0, 0xff, 0xff];
    let body = [&gzip("")[..10], &empty_block.repeat(20_000)].concat();
    let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n"].concat();
    let head = wire![
        "POST /v1/completions HTTP/1.1" "Host: a" "Content-Encoding: gzip"
        "Transfer-Encoding: chunked" ""
    ];

    assert_eq!(gateway.talk([head, chunk].concat()).status, 413);

    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn what_counts_against_the_instance_is_the_undone_size() {
    let origin = origin().reply("{}").start();
    let models = [model("m", &origin, "openai", "")];
    let gateway = ai_gateway("", &models).server("buffered = \"1MiB\"").start();

    let reply = post(&gateway, "/v1/completions", GZIP, swollen(2 * MIB));

    assert_eq!((reply.status, reply.get("retry-after")), (503, Some("1")));
    assert_eq!(post(&gateway, "/v1/completions", GZIP, swollen(MIB / 2)).status, 200);
}

#[test]
fn a_broken_body_is_400_in_the_client_s_dialect_and_the_connection_goes_on() {
    let (origin, gateway) = pair("");
    let whole = gzip("{\"model\":\"m\"}");
    let mut corrupt = whole.clone();
    // The first block of a kind that there is not.
    corrupt[10] |= 0b110;
    let mut checksum = whole.clone();
    checksum[whole.len() - 8] ^= 1;
    for (name, body) in [
        ("not compressed", b"{\"model\":\"m\"}".to_vec()),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("empty", Vec::new()),
        ("corrupt", corrupt),
        ("with a wrong checksum", checksum),
        ("with a byte behind it", [&whole[..], b"\n"].concat()),
        ("of two members", whole.repeat(2)),
    ] {
        let mut client = gateway.client();
        let reply = client.post("/v1/completions", GZIP, &body);
        assert_eq!(reply.status, 400, "{name}");
        let error = &reply.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{name}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with("The body is not valid gzip at byte "), "{name}: {message}");
        assert_eq!(client.get("/v1/models").status, 200, "{name}");

        let reply = client.post("/v1/messages", GZIP, &body);
        assert_eq!((reply.status, &reply.json()["type"]), (400, &"error".into()), "{name}");
    }
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn other_codings_are_415() {
    let (origin, gateway) = pair("");
    let body = gzip("{\"model\":\"m\"}");
    for fields in [
        "Content-Encoding: br\r\n",
        "Content-Encoding: deflate\r\n",
        "Content-Encoding: gzip, gzip\r\n",
        "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n",
        "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
        "Content-Encoding:\r\n",
    ] {
        let reply = post(&gateway, "/v1/completions", fields, &body);
        assert_eq!(reply.status, 415, "{fields}");
        assert_eq!(reply.json()["error"]["code"], "unsupported_media_type", "{fields}");
    }
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn bodies_on_other_routes_stay_compressed() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    let body = gzip("hello");

    assert_eq!(post(&gateway, "/", GZIP, &body).status, 200);

    let request = origin.request();
    assert_eq!((request.get("content-encoding"), &request.body), (Some("gzip"), &body));
}
