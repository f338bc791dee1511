//! What is ambiguous goes no further. The requests stand in `tests/wire/refusals.txt`, which the
//! unit tests of the engine read as well.

#[path = "../wire/cases.rs"]
mod cases;

use std::fmt::Write as _;

use cases::Case;

use crate::support::gateway::{Gateway, cluster_of, gateway, listener};
use crate::support::origin::{Origin, origin};
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

/// Sends a case and says in which way the gateway does not do what the table says.
fn send(gateway: &Gateway, case: &Case, pieces: &[&[u8]]) -> Result<(), String> {
    let expected = Expected::of(case);
    let mut client = gateway.client();
    for piece in pieces {
        client.send(piece);
    }
    for number in 1..=expected.fine {
        let reply = client.try_read().map_err(|broken| format!("answer {number}: {broken:?}"))?;
        if reply.status != 200 {
            return Err(format!("answer {number}: {} {}", reply.status, reply.text()));
        }
    }
    let Some((status, reason)) = expected.refused else { return Ok(()) };
    let reply = match client.try_read() {
        // Bytes that are sent into a connection that has just been closed destroy the answer.
        Err(Broken::Reset) if pieces.len() > 1 => return Ok(()),
        reply => reply.map_err(|broken| format!("no {status} {reason}, but {broken:?}"))?,
    };
    if reply.status != status {
        return Err(format!("not {status}, but {}: {}", reply.status, reply.text()));
    }
    if !reply.head.has("x-request-id") {
        return Err("no x-request-id".to_owned());
    }
    if !keeps_the_connection(reason) {
        match client.wire().read_to_end() {
            (rest, Broken::Closed | Broken::Reset) if rest.is_empty() => {}
            (rest, end) => {
                return Err(format!("goes on: {:?} {end:?}", String::from_utf8_lossy(&rest)));
            }
        }
        // A client of HTTP/1.0 expects nothing else.
        if reply.get("connection") != Some("close") && !contains(&case.raw, b"HTTP/1.0\r\n") {
            return Err("the close is not announced".to_owned());
        }
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What the origin has seen, and how often the gateway has refused for each reason.
fn counts(origin: &Origin, gateway: &Gateway, case: &Case) -> (usize, u64) {
    let reason = Expected::of(case).refused.map(|(_, reason)| format!("{{reason=\"{reason}\"}}"));
    let refused = format!("ringgate_refused_total{}", reason.unwrap_or_default());
    (origin.requests_seen(), gateway.count(&refused))
}

/// An origin, and a gateway that sends everything to it: also what has no path, `OPTIONS *`.
fn pair() -> (Origin, Gateway) {
    let origin = origin().start();
    let route = "[[route]]\ncluster = \"c\"\n";
    let config = listener("") + route + &cluster_of("c", &[origin.address], "");
    let gateway = gateway().config(config).start();
    (origin, gateway)
}

#[test]
fn every_case_is_answered_as_the_table_says() {
    let (origin, gateway) = pair();
    let cases = cases::cases();
    assert!(cases.len() >= 120, "the table has shrunk to {} cases", cases.len());
    let mut findings = String::new();

    for case in &cases {
        let expected = Expected::of(case);
        let before = counts(&origin, &gateway, case);
        if let Err(finding) = send(&gateway, case, &[&case.raw]) {
            writeln!(findings, "[{}] {finding}", case.name).unwrap();
        }
        let after = counts(&origin, &gateway, case);
        let refused = u64::from(expected.refused.is_some());
        if after != (before.0 + expected.fine, before.1 + refused) {
            let name = &case.name;
            writeln!(findings, "[{name}] requests and refusals: {before:?} to {after:?}").unwrap();
        }
    }

    assert!(findings.is_empty(), "\n{findings}");
    assert_eq!(origin.requests_cut(), 0, "the origin got the beginning of a refused request");
}

#[test]
fn every_case_may_come_in_single_bytes() {
    let (_origin, gateway) = pair();
    let mut findings = String::new();

    // The large ones would only take long.
    for case in cases::cases().iter().filter(|case| case.raw.len() < 1_000) {
        let pieces: Vec<&[u8]> = case.raw.chunks(1).collect();
        if let Err(finding) = send(&gateway, case, &pieces) {
            writeln!(findings, "[{}] {finding}", case.name).unwrap();
        }
    }

    assert!(findings.is_empty(), "\n{findings}");
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
