//! Whole messages, as they come off a connection.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::http::message::{BodyLength, Method};
use crate::http::refusal::{Refusal, ResponseFault};
use crate::http::span::Span;
use crate::http::target;

#[path = "../../../tests/wire/cases.rs"]
mod cases;

const LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };

/// What is read of a connection's bytes: heads, content, and how it ends.
#[derive(Debug, PartialEq)]
struct Reading {
    /// A description of each head, and the content behind it.
    messages: Vec<(String, Vec<u8>)>,
    /// Trailers of the last body.
    trailers: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// Between two messages.
    Clean,
    /// In the middle of one.
    Partial,
    Refused(Refusal),
}

/// Reads requests one after the other, with `bytes` arriving in pieces of at most `step` bytes.
fn read_requests(bytes: &[u8], step: usize) -> Reading {
    let mut reading = Reading { messages: vec![], trailers: vec![], end: End::Clean };
    let mut head = RequestHead::default();
    let mut at = 0;
    while at < bytes.len() {
        match read_request(&mut head, &bytes[at..], step, &mut reading) {
            Ok(Some(length)) => at += length,
            Ok(None) => {
                reading.end = End::Partial;
                break;
            }
            Err(refusal) => {
                reading.end = End::Refused(refusal);
                break;
            }
        }
    }
    reading
}

fn read_request(
    head: &mut RequestHead,
    bytes: &[u8],
    step: usize,
    reading: &mut Reading,
) -> Result<Option<usize>, Refusal> {
    let mut arrived = 0;
    loop {
        arrived = bytes.len().min(arrived + step);
        if head.parse(&bytes[..arrived], &LIMITS)? {
            break;
        }
        if arrived == bytes.len() {
            return Ok(None);
        }
    }
    if head.form != TargetForm::Asterisk {
        target::normalise(head.path.of(bytes), &mut vec![])?;
    }
    let mut decoder = BodyDecoder::new(head.body);
    let mut content = vec![];
    let end = head.len + decode(&mut decoder, &bytes[head.len..], step, &mut content)?;
    if !decoder.is_ended() {
        return Ok(None);
    }
    reading.messages.push((describe(head, bytes), content));
    reading.trailers = decoder.trailers().to_vec();
    Ok(Some(end))
}

fn describe(head: &RequestHead, bytes: &[u8]) -> String {
    let RequestHead { method, form, version, keep_alive, expects_continue, upgrade, .. } = head;
    let facts = (method, form, version, keep_alive, expects_continue, upgrade);
    let places = (head.method_text, head.target, head.authority, head.path, head.query, head.len);
    let fields: Vec<_> = head.fields.iter().map(|field| (field, field.name.of(bytes))).collect();
    format!("{facts:?} {places:?} {fields:?}")
}

/// Decodes with the input arriving in pieces; returns how much of it was consumed.
fn decode(
    decoder: &mut BodyDecoder,
    input: &[u8],
    step: usize,
    content: &mut Vec<u8>,
) -> Result<usize, Refusal> {
    let mut at = 0;
    while !decoder.is_ended() && at < input.len() {
        let arrived = &input[..input.len().min(at + step)];
        let mut spans = vec![];
        let decoded = decoder.decode(arrived, at, &mut spans)?;
        assert!(spans.len() <= SPANS_MAX && spans.iter().all(|span| !span.is_empty()));
        assert!(decoded.ended || decoded.consumed > 0);
        content.extend(spans.iter().flat_map(|span: &Span| span.of(arrived)));
        at += decoded.consumed;
    }
    Ok(at)
}

fn outcome(reading: &Reading) -> String {
    let mut words = vec!["ok".to_owned(); reading.messages.len()];
    match reading.end {
        End::Clean => {}
        End::Partial => words.push("partial".to_owned()),
        End::Refused(refusal) => words.push(format!("{} {}", refusal.status(), refusal.label())),
    }
    words.join(" ")
}

#[test]
fn every_case_of_the_table_has_its_outcome() {
    let mut wrong = String::new();
    for case in cases::cases() {
        let found = outcome(&read_requests(&case.raw, usize::MAX / 2));
        if found != case.outcome {
            wrong += &format!("{}: {} instead of {}\n", case.name, found, case.outcome);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_outcome_does_not_depend_on_how_the_bytes_arrive() {
    for case in cases::cases() {
        let whole = read_requests(&case.raw, usize::MAX / 2);
        // Large cases are sent in larger pieces to keep this quick.
        for step in [1, 2, 3, 7].map(|step| step + case.raw.len() / 1000) {
            assert_eq!(read_requests(&case.raw, step), whole, "{} by {step}", case.name);
        }
    }
}

#[test]
fn every_finding_about_requests_has_a_case() {
    let table: String = cases::cases().iter().map(|case| format!(" {} ", case.outcome)).collect();
    let elsewhere = [
        Refusal::BodyIncomplete,
        Refusal::BodyTooLarge,
        Refusal::BodyTimeout,
        Refusal::BodyTooSlow,
        Refusal::HeadTimeout,
        Refusal::HeadIncomplete,
        Refusal::PathInvalid,
        Refusal::ProxyHeaderMissing,
        Refusal::ProxyHeaderInvalid,
        Refusal::ProxyHeaderTooLong,
        Refusal::ProxyHeaderChecksum,
        Refusal::ProxyHeaderIncomplete,
        Refusal::ProxyHeaderTimeout,
        Refusal::ProxyUntrusted,
        Refusal::FieldValuePadded,
        Refusal::Http2Broken,
        Refusal::Http2Flood,
        Refusal::Http2Resets,
        Refusal::Http2Control,
        Refusal::AddressDenied,
        Refusal::WebSocketUnserved,
        Refusal::RedirectHostMissing,
        Refusal::StatusLineInvalid,
        Refusal::InterimTooMany,
        Refusal::SwitchUnasked,
        Refusal::WebSocketAcceptWrong,
    ];
    for finding in Refusal::ALL {
        let has_case = table.contains(&format!(" {} {} ", finding.status(), finding.label()));
        assert_eq!(has_case, !elsewhere.contains(&finding), "{finding:?}");
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_not_read_each_time() {
    let mut raw = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: ".to_vec();
    raw.extend(vec![b'b'; 900_000]);
    let limits = HeadLimits { bytes: 1 << 20, fields: 100 };
    let mut head = RequestHead::default();
    // If each call went over the line again this would be 4e11 bytes, which takes minutes.
    for end in 0..raw.len() {
        assert_eq!(head.parse(&raw[..end], &limits), Ok(false));
    }
}

/// Bytes that look like HTTP often enough to be understood now and then.
fn http_like(start: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /a/%2e HTTP/1.1\r\nHost: a\r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x\r\n",
        b"Upgrade: websocket\r\n",
        b"X: y\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b": ",
        b" ",
        b"\t",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"1;a=\"b\"\r\n",
        b"\x00",
        b"\xff",
    ];
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces.map(<[u8]>::to_vec).to_vec()),
        1 => vec(any::<u8>(), 0..8),
    ];
    vec(piece, 0..16).prop_map(move |pieces| [start, &pieces.concat()].concat())
}

proptest! {
    #[test]
    fn requests_mean_the_same_however_they_are_cut(bytes in http_like(b"POST /a HTTP/1.1\r\n"), step in 1..40_usize) {
        // The end of a line decides what is wrong with it: let every line have one.
        let bytes = [&bytes[..], b"\r\n"].concat();
        prop_assert_eq!(read_requests(&bytes, step), read_requests(&bytes, bytes.len()));
    }

    #[test]
    fn any_response_gets_an_answer(bytes in http_like(b"HTTP/1.1 200 OK\r\n"), cut in any::<prop::sample::Index>()) {
        let mut head = ResponseHead::default();
        let whole = head.parse(&bytes, &LIMITS, Method::Get);
        head.clear();
        let part = head.parse(&bytes[..cut.index(bytes.len() + 1)], &LIMITS, Method::Get);
        if part == Ok(false) {
            let rest = head.parse(&bytes, &LIMITS, Method::Get);
            prop_assert!(rest == whole || rest == Ok(false), "{rest:?} after {whole:?}");
        } else {
            prop_assert_eq!(part, whole);
        }
    }

    #[test]
    fn any_bytes_get_an_answer(bytes in vec(any::<u8>(), 0..200)) {
        read_requests(&bytes, 16);
        let _: Result<bool, ResponseFault> =
            ResponseHead::default().parse(&bytes, &LIMITS, Method::Get);
        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let _: Result<usize, Refusal> = decode(&mut decoder, &bytes, 16, &mut vec![]);
    }

    #[test]
    fn what_is_encoded_is_decoded_however_it_is_cut(
        pieces in vec(vec(any::<u8>(), 0..40), 0..100),
        step in 1..60_usize,
        has_trailers in any::<bool>(),
    ) {
        let trailers: &[u8] = if has_trailers { b"x-sum: 1\r\nx-b:\r\n" } else { b"" };
        let encoder = BodyEncoder::new(BodyLength::Chunked);
        let mut wire = vec![];
        for piece in &pieces {
            wire.extend_from_slice(encoder.before(piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(encoder.after(piece.len()));
        }
        encoder.finish(trailers, &mut wire);
        let length = wire.len();
        wire.extend_from_slice(b"GET");

        let mut decoder = BodyDecoder::new(BodyLength::Chunked);
        let mut content = vec![];
        prop_assert_eq!(decode(&mut decoder, &wire, step, &mut content), Ok(length));
        prop_assert!(decoder.is_ended());
        prop_assert_eq!(content, pieces.concat());
        prop_assert_eq!(decoder.trailers(), trailers);
    }

    #[test]
    fn a_body_by_length_ends_where_it_says(length in 0..50_usize, extra in 0..9_usize, step in 1..60_usize) {
        let wire = vec![b'x'; length + extra];
        let mut decoder = BodyDecoder::new(BodyLength::Fixed(length as u64));
        let mut content = vec![];
        prop_assert_eq!(decode(&mut decoder, &wire, step, &mut content), Ok(length));
        prop_assert!(decoder.is_ended());
        prop_assert_eq!(content.len(), length);
    }
}
