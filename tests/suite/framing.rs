//! Where bodies end, in all the ways that HTTP/1.1 has to say it, however they are cut into
//! pieces on the way.

use crate::support::gate::Gate;
use crate::support::gateway::{Gateway, gateway};
use crate::support::origin::{Connection, Origin, origin};
use crate::support::wire::Broken;
use crate::wire;

/// An origin that echoes each request's body, and a gateway in front of it.
fn echo() -> (Origin, Gateway) {
    let origin = origin()
        .on(|request, connection| {
            let length = request.body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            connection.send([head.as_bytes(), &request.body].concat());
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    (origin, gateway)
}

/// An origin that answers each request with these bytes and closes, and a gateway in front of it.
fn answering(bytes: impl Into<Vec<u8>>) -> (Origin, Gateway) {
    let bytes = bytes.into();
    let origin = origin()
        .on(move |_, connection| {
            connection.send(&bytes);
            connection.close();
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    (origin, gateway)
}

/// Bytes in which no two neighbours are equal and no short period hides a shift.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|index| ((index * 31 + index / 251) % 251) as u8).collect()
}

#[test]
fn bodies_of_stated_length_pass_in_both_directions() {
    let (origin, gateway) = echo();
    let mut client = gateway.client();

    for length in [0, 1, 4096, 16_384, 65_536, 3_000_000] {
        let body = noise(length);
        client = if length > 65_536 { gateway.client() } else { client };
        let reply = client.post("/", "", &body);
        assert!(reply.body == body, "{length} bytes came back changed");
        assert_eq!(reply.get("content-length"), Some(&*length.to_string()));
        if !reply.keeps_alive() {
            client = gateway.client();
        }
    }
    assert!(origin.requests().iter().all(|request| request.get("transfer-encoding").is_none()));
}

#[test]
fn a_chunked_request_stays_chunked_and_loses_its_extensions() {
    let (origin, gateway) = echo();

    let reply = gateway.talk(wire![
        "POST / HTTP/1.1" "Host: a" "Transfer-Encoding: chunked" ""
        "5;name=\"a;b\"" "hello" "001" "," "6;x" " world" "0;end" ""
    ]);

    assert_eq!(reply.text(), "hello, world");
    let request = origin.request();
    assert_eq!(request.get("transfer-encoding"), Some("chunked"));
    assert_eq!(request.get("content-length"), None);
}

#[test]
fn a_chunked_answer_stays_chunked() {
    let (_origin, gateway) = answering(wire![
        "HTTP/1.1 200 OK" "Transfer-Encoding: chunked" ""
        "5;x=y" "hello" "6" " world" "0" ""
    ]);

    let reply = gateway.get("/");

    assert_eq!(reply.text(), "hello world");
    assert_eq!(reply.get("transfer-encoding"), Some("chunked"));
    assert_eq!(reply.get("content-length"), None);
}

#[test]
fn an_answer_until_close_becomes_chunked_and_keeps_the_client() {
    let (_origin, gateway) = answering("HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhello");
    let mut client = gateway.client();

    for _ in 0..2 {
        let reply = client.get("/");
        assert_eq!(reply.text(), "hello");
        assert_eq!(reply.get("transfer-encoding"), Some("chunked"));
        assert!(reply.keeps_alive());
    }
}

#[test]
fn a_client_of_http_1_0_gets_a_chunked_answer_until_close() {
    let (_origin, gateway) = answering(wire![
        "HTTP/1.1 200 OK" "Transfer-Encoding: chunked" "" "5" "hello" "1" "!" "0" ""
    ]);
    let mut client = gateway.client();

    client.send(wire!["GET / HTTP/1.0" "Connection: keep-alive" ""]);

    let reply = client.read();
    assert_eq!(reply.text(), "hello!");
    assert_eq!(reply.get("transfer-encoding"), None);
    assert_ne!(reply.get("connection"), Some("keep-alive"));
}

#[test]
fn a_client_of_http_1_0_learns_of_a_cut_answer_by_a_reset() {
    let (_origin, gateway) = answering(wire![
        "HTTP/1.1 200 OK" "Transfer-Encoding: chunked" "" "5" "hello"
    ]);
    let mut client = gateway.client();

    client.send(wire!["GET / HTTP/1.0" ""]);

    client.read_head().expect("a head");
    assert_eq!(client.wire().read_to_end().1, Broken::Reset);
}

#[test]
fn trailers_pass_in_both_directions() {
    let origin = origin()
        .reply_raw(wire![
            "HTTP/1.1 200 OK" "Transfer-Encoding: chunked" "Trailer: X-Sum" ""
            "2" "ok" "0" "X-Sum: 42" "Connection: x-secret" "Content-Length: 7" ""
        ])
        .start();
    let gateway = gateway().route("/", &origin).start();

    let reply = gateway.talk(wire![
        "POST / HTTP/1.1" "Host: a" "TE: trailers" "Connection: TE"
        "Transfer-Encoding: chunked" "Trailer: X-Check" ""
        "2" "hi" "0" "X-Check: 7" "Host: b" "Authorization: c" ""
    ]);

    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(reply.trailers, [pair("X-Sum", "42")]);
    assert_eq!(origin.request().trailers, [pair("X-Check", "7")]);
}

#[test]
fn answers_to_head_have_a_length_and_no_body() {
    let (_origin, gateway) = answering("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n");
    let mut client = gateway.client();

    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.read_reply_to("HEAD");
        assert_eq!(reply.get("content-length"), Some("12345"));
        assert!(reply.keeps_alive());
    }
}

#[test]
fn answers_without_content_end_with_their_head() {
    for (status, field) in [("204 No Content", ""), ("304 Not Modified", "Content-Length: 5\r\n")] {
        let head = format!("HTTP/1.1 {status}\r\n{field}ETag: \"a\"\r\n\r\n");
        let origin = origin().reply_raw(head).start();
        let gateway = gateway().workers(1).route("/", &origin).start();
        let mut client = gateway.client();

        for _ in 0..2 {
            let reply = client.get("/");
            assert!(status.starts_with(&reply.status.to_string()));
            assert_eq!((reply.get("etag"), &*reply.body), (Some("\"a\""), &b""[..]));
        }
        assert_eq!(origin.connections(), 1, "{status} leaves the connection usable");
    }
}

#[test]
fn an_awaited_continue_comes_from_the_origin() {
    let origin = origin()
        .serve(|connection| {
            let Some(head) = connection.read_head() else { return };
            assert_eq!(head.get("expect"), Some("100-continue"));
            connection.send("HTTP/1.1 100 Continue\r\n\r\n");
            let Some(request) = connection.read_rest_of(head) else { return };
            connection.reply(&String::from_utf8_lossy(&request.body));
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send(wire!["POST / HTTP/1.1" "Host: a" "Content-Length: 4" "Expect: 100-continue" ""]);
    assert_eq!(client.read().status, 100);
    client.send("body");
    let reply = client.read();

    assert_eq!((reply.status, reply.text()), (200, "body"));
}

#[test]
fn an_origin_may_refuse_instead_of_continuing() {
    let origin = origin()
        .serve(|connection| {
            if connection.read_head().is_some() {
                connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
                connection.wait_for_close();
            }
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send(wire!["POST / HTTP/1.1" "Host: a" "Content-Length: 4" "Expect: 100-continue" ""]);

    let reply = client.read();
    assert_eq!((reply.status, reply.text()), (403, "no"));
    // Whether the client still sends its body cannot be known, so the next request could not
    // be told from it.
    assert_eq!(reply.get("connection"), Some("close"));
    client.expect_closed();
}

#[test]
fn early_hints_pass_before_the_answer() {
    let gate = Gate::default();
    let seen = gate.clone();
    let origin = origin()
        .on(move |_, connection| {
            connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n");
            seen.pass();
            connection.reply("page");
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.read();
    assert_eq!((hints.status, hints.get("link")), (103, Some("</a.css>")));
    assert_eq!(hints.get("connection"), None);
    gate.open();

    assert_eq!(client.read().text(), "page");
}

#[test]
fn a_client_of_http_1_0_gets_no_interim_answers() {
    let (_origin, gateway) = answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );

    let reply = gateway.talk(wire!["GET / HTTP/1.0" ""]);

    assert_eq!((reply.status, reply.text()), (200, "ok"));
}

#[test]
fn an_answer_that_comes_before_the_upload_is_over_is_passed_on() {
    let origin = origin()
        .serve(|connection| {
            if connection.read_head().is_some() {
                connection.send("HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\n\r\nbad");
                let _rest = connection.wire().read_to_end();
            }
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nthe beginning");

    let reply = client.read();
    assert_eq!((reply.status, reply.text()), (409, "bad"));
    assert_eq!(reply.get("connection"), Some("close"));
    client.expect_ended();
    assert_eq!(origin.requests_seen(), 0);
}

#[test]
fn an_answer_before_the_end_of_a_chunked_upload_is_passed_on_whole() {
    let origin = origin()
        .serve(|connection| {
            if connection.read_head().is_some() {
                connection.reply("enough");
                connection.close();
            }
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");

    assert_eq!(client.read().text(), "enough");
}

/// Requests with every kind of framing.
fn requests() -> [Vec<u8>; 3] {
    [
        wire!["GET /a HTTP/1.1" "Host: a" "X-A: b" ""],
        wire!["POST /b HTTP/1.1" "Host: a" "Content-Length: 5" "" "hello"],
        wire![
            "POST /c HTTP/1.1" "Host: a" "Transfer-Encoding: chunked" ""
            "5;a=b" "hello" "1" "!" "0" "X-T: u" ""
        ],
    ]
}

#[test]
fn a_request_may_be_split_at_every_byte() {
    let (origin, gateway) = echo();
    let mut sent = 0;

    for request in requests() {
        // What stands behind a body of stated length is a line end that a next request may have.
        for cut in 1..request.len() {
            let (before, after) = request.split_at(cut);
            let mut client = gateway.client();
            client.send(before).send(after);
            let reply = client.read();
            assert_eq!(reply.status, 200, "split at {cut} of {:?}", text(&request));
            sent += 1;
        }
    }

    assert_eq!(origin.requests_seen(), sent);
    for request in origin.requests() {
        let body: &[u8] = match request.target() {
            "/a" => b"",
            "/b" => b"hello",
            _ => b"hello!",
        };
        assert_eq!(request.body, body, "{request:?}");
    }
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let (_origin, gateway) = echo();

    for request in requests() {
        let mut client = gateway.client();
        for byte in request.chunks(1) {
            client.send(byte);
        }
        assert_eq!(client.read().status, 200, "{:?}", text(&request));
    }
}

#[test]
fn a_request_cut_at_any_byte_is_never_seen_as_a_whole_one() {
    let (origin, gateway) = echo();
    let mut exchanges = 0;

    for request in requests() {
        let ends_at = match request.strip_suffix(b"hello\r\n") {
            Some(_) => request.len() - 2,
            None => request.len(),
        };
        for cut in 1..ends_at {
            let mut client = gateway.client();
            client.send(&request[..cut]).finish_sending();
            client.expect_ended();
            exchanges += 1;
        }
    }

    assert_eq!(origin.requests_seen(), 0);
    let lines = gateway.wait_for_log(exchanges);
    assert!(lines.iter().all(|line| line["outcome"] == "downstream_gone"), "{lines:#?}");
    let metrics = gateway.metrics();
    let heads = metrics.count("ringgate_refused_total{reason=\"incomplete_head\"}");
    let bodies = metrics.count("ringgate_refused_total{reason=\"incomplete_body\"}");
    assert_eq!(heads + bodies, exchanges as u64);
}

#[test]
fn each_piece_of_an_upload_arrives_before_the_next_is_sent() {
    let arrived = Gate::default();
    let tell = arrived.clone();
    let origin = origin()
        .serve(move |connection| {
            let Some(_head) = connection.read_head() else { return };
            for byte in *b"hello" {
                assert_eq!(connection.wire().read_exactly(1), Ok(vec![byte]));
                tell.open();
            }
            connection.reply("all");
        })
        .start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    for byte in b"hello".chunks(1) {
        client.send(byte);
        arrived.pass();
    }

    assert_eq!(client.read().text(), "all");
}

#[test]
fn each_piece_of_an_answer_arrives_before_the_next_is_sent() {
    for head in ["Content-Length: 5", "Transfer-Encoding: chunked", "X-Until: close"] {
        let arrived = Gate::default();
        let wait = arrived.clone();
        let origin = origin()
            .on(move |_, connection| {
                connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"));
                for letter in "hello".chars() {
                    let is_chunked = head.starts_with("Transfer");
                    connection.send(match is_chunked {
                        true => format!("1\r\n{letter}\r\n"),
                        false => letter.to_string(),
                    });
                    wait.pass();
                }
                connection.send(if head.starts_with("Transfer") { "0\r\n\r\n" } else { "" });
                connection.close();
            })
            .start();
        let gateway = gateway().route("/", &origin).start();
        let mut client = gateway.client();

        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.read_head().expect("a head");
        for letter in b"hello" {
            let piece = match reply.has("content-length") {
                true => client.wire().read_exactly(1),
                false => client.wire().read_chunk(),
            };
            assert_eq!(piece, Ok(vec![*letter]), "{head}");
            arrived.open();
        }
    }
}

/// Answers with every kind of framing; each has the body `hello!`.
fn answers() -> [(&'static str, Vec<u8>); 3] {
    [
        ("/length", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-A: b\r\n\r\nhello!".to_vec()),
        (
            "/chunked",
            wire!["HTTP/1.1 200 OK" "Transfer-Encoding: chunked" "" "5;a" "hello" "1" "!" "0" "X-T: u" ""],
        ),
        ("/close", b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhello!".to_vec()),
    ]
}

/// An origin that sends the answer named by the target's first segment: up to the byte that the
/// second names, then `rest` decides.
fn cutting(rest: impl Fn(&[u8], &mut Connection) + Send + Sync + 'static) -> Origin {
    origin()
        .on(move |request, connection| {
            let (kind, cut) = request.target().rsplit_once('/').expect("/KIND/CUT");
            let answer = answers().into_iter().find(|(name, _)| *name == kind).expect("known").1;
            let (before, after) = answer.split_at(cut.parse().expect("a number"));
            connection.send(before);
            rest(after, connection);
            connection.close();
        })
        .start()
}

#[test]
fn an_answer_may_be_split_at_every_byte() {
    let origin = cutting(|rest, connection| connection.send(rest));
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    for (kind, answer) in answers() {
        for cut in 0..=answer.len() {
            let reply = client.get(&format!("{kind}/{cut}"));
            assert_eq!(reply.text(), "hello!", "{kind} split at {cut}");
        }
    }
}

#[test]
fn an_answer_may_come_in_single_bytes() {
    let origin = cutting(|rest, connection| rest.chunks(1).for_each(|byte| connection.send(byte)));
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    for (kind, _) in answers() {
        assert_eq!(client.get(&format!("{kind}/0")).text(), "hello!", "{kind}");
    }
}

#[test]
fn an_answer_cut_at_any_byte_is_never_taken_for_a_whole_one() {
    let origin = cutting(|_, _| {});
    let gateway = gateway().route("/", &origin).start();
    let mut reasons = Vec::new();

    for (kind, answer) in answers() {
        let head = text(&answer).find("\r\n\r\n").expect("a head") + 4;
        // What is cut off an answer until close cannot be missed by anyone.
        let end = if kind == "/close" { head } else { answer.len() };
        for cut in 0..end {
            let id = format!("{}-{cut}", &kind[1..]);
            let mut client = gateway.client();
            client.send(wire![
                format!("GET {kind}/{cut} HTTP/1.1") "Host: a" format!("X-Request-Id: {id}") ""
            ]);
            match client.try_read() {
                Ok(reply) if cut < head => assert_eq!(reply.status, 502, "{id}"),
                Err(Broken::Cut | Broken::Reset) if cut >= head => {}
                other => panic!("{id}: {other:?}"),
            }
            reasons.push((
                id,
                match cut {
                    0 => "upstream_closed",
                    _ if cut < head => "incomplete_head",
                    _ => "upstream_cut",
                },
            ));
        }
    }

    let lines = gateway.wait_for_log(reasons.len());
    for (id, reason) in reasons {
        let line = lines.iter().find(|line| line["request_id"] == *id).expect("one for each");
        assert_eq!(line["reason"], reason, "{id}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
