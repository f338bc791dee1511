//! What is ambiguous goes no further. The requests stand in `tests/wire/refusals.txt`, which the
//! unit tests of the engine read as well.

#[path = "../wire/cases.rs"]
mod cases;

use cases::Case;

use crate::support::client::Client;
use crate::support::gateway::gateway;
use crate::support::origin::origin;
use crate::support::wire::Broken;

/// What a case says of its messages: how many are fine, and what the next one is refused with.
struct Expected<'a> {
    fine: usize,
    refused: Option<(u16, &'a str)>,
}

impl<'a> Expected<'a> {
    fn of(case: &'a Case) -> Self {
        let mut words = case.outcome.split(' ').peekable();
        let mut fine = 0;
        while words.next_if_eq(&"ok").is_some() {
            fine += 1;
        }
        let status = words.next().map(|word| word.parse().expect("a status"));
        let refused = status.map(|status| (status, words.next().expect("a reason")));
        assert_eq!(words.next(), None, "{}", case.name);
        Self { fine, refused }
    }
}

/// Whether the gateway may keep the connection: the framing of the message is certain, and only
/// its path is not to our liking.
fn keeps_the_connection(reason: &str) -> bool {
    ["encoded_slash", "encoded_nul", "path_backslash", "path_above_root", "path_dot_parameter"]
        .contains(&reason)
        || reason == "invalid_path_escape"
}

#[test]
fn every_case_is_answered_as_the_table_says() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();
    let cases = cases::cases();
    assert!(cases.len() >= 120, "the table has shrunk to {} cases", cases.len());

    for case in &cases {
        let expected = Expected::of(case);
        let before = (origin.requests_seen(), refused_by_now(&gateway.metrics(), &expected));
        let mut client = gateway.client();
        client.send(&case.raw);

        for _ in 0..expected.fine {
            assert_eq!(fine_answer(&mut client, case), 200, "{}", case.name);
        }
        if let Some((status, reason)) = expected.refused {
            let reply = client.try_read().unwrap_or_else(|broken| {
                panic!("[{}] should be answered {status} {reason}: {broken:?}", case.name)
            });
            assert_eq!(reply.status, status, "[{}] {}", case.name, reply.text());
            assert!(reply.head.has("x-request-id"), "[{}]", case.name);
            if !keeps_the_connection(reason) {
                assert_eq!(reply.get("connection"), Some("close"), "[{}]", case.name);
                client.expect_ended();
            }
        }

        let after = (origin.requests_seen(), refused_by_now(&gateway.metrics(), &expected));
        let refused = u64::from(expected.refused.is_some());
        assert_eq!(after, (before.0 + expected.fine, before.1 + refused), "[{}]", case.name);
    }
    assert_eq!(origin.requests_cut(), 0, "the origin got the beginning of a refused request");
}

fn fine_answer(client: &mut Client, case: &Case) -> u16 {
    let method = if case.raw.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let reply = match method {
        "HEAD" => client.read_reply_to("HEAD"),
        _ => client.try_read().unwrap_or_else(|broken| panic!("[{}] {broken:?}", case.name)),
    };
    reply.status
}

fn refused_by_now(metrics: &crate::support::metrics::Metrics, expected: &Expected<'_>) -> u64 {
    match expected.refused {
        Some((_, reason)) => {
            metrics.count(&format!("ringgate_refused_total{{reason=\"{reason}\"}}"))
        }
        None => metrics.count("ringgate_refused_total"),
    }
}

#[test]
fn every_case_may_come_in_single_bytes() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();

    // The large ones would only take long.
    for case in cases::cases().iter().filter(|case| case.raw.len() < 1_000) {
        let expected = Expected::of(case);
        let mut client = gateway.client();
        for byte in case.raw.chunks(1) {
            client.send(byte);
        }

        for _ in 0..expected.fine {
            assert_eq!(fine_answer(&mut client, case), 200, "{}", case.name);
        }
        if let Some((status, _)) = expected.refused {
            match client.try_read() {
                Ok(reply) => assert_eq!(reply.status, status, "[{}]", case.name),
                // The answer is lost if bytes are sent into a closed connection.
                Err(broken) => assert_eq!(broken, Broken::Reset, "[{}]", case.name),
            }
        }
    }
}

#[test]
fn a_refused_path_keeps_the_connection() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    assert_eq!(client.get("/a%2Fb").status, 400);
    assert_eq!(client.get("/").text(), "hello");
}

#[test]
fn a_refusal_says_what_is_wrong_and_is_logged_once() {
    let origin = origin().start();
    let gateway = gateway().route("/", &origin).start();

    let reply = gateway.talk("GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n");

    assert_eq!(reply.get("content-type"), Some("text/plain; charset=utf-8"));
    assert!(reply.text().contains("space"), "{}", reply.text());
    let line = gateway.log_line(reply.get("x-request-id").expect("an id"));
    assert_eq!(line["outcome"], "refused");
    assert_eq!(line["reason"], "space_in_field_name");
    assert_eq!(line["status"], 400);
    assert_eq!(gateway.log_lines().len(), 1);
}

#[test]
fn a_smuggled_request_behind_both_lengths_is_never_answered() {
    let origin = origin().reply("hello").start();
    let gateway = gateway().route("/", &origin).start();
    let mut client = gateway.client();

    client.send(crate::wire![
        "POST / HTTP/1.1" "Host: a" "Content-Length: 4" "Transfer-Encoding: chunked" ""
        "0" "" "GET /admin HTTP/1.1" "Host: a" ""
    ]);

    assert_eq!(client.read().status, 400);
    client.expect_ended();
    assert_eq!(origin.requests_seen(), 0);
}
