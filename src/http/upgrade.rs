//! Another protocol on the same connection: what is asked for, and what answer counts
//! (RFC 9110, 7.8).

use super::field_name::FieldName;
use super::fields::Fields;
use super::h1::{RequestHead, ResponseHead};
use super::message::Method;
use super::refusal::{Refusal, ResponseFault};
use super::syntax::members;
use super::websocket;

/// What a connection is switched to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    WebSocket,
    Other,
}

const WEBSOCKET: &[u8] = b"websocket";

/// The protocols that a request asks for, as it names them. `None` if it does not ask, or asks
/// for a WebSocket without what its answer is checked by: then it is an ordinary request, and the
/// server says what it thinks of it.
///
/// Other versions of HTTP are never among them, and a request with a body never asks: see
/// [`RequestHead::upgrade`].
pub fn asked<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if !head.upgrade {
        return None;
    }
    let protocols = head.field(FieldName::Upgrade)?.value.of(bytes);
    let is_handshake = || head.method == Method::Get && key(&head.fields, bytes).is_some();
    (!names(protocols, WEBSOCKET) || is_handshake()).then_some(protocols)
}

/// Whether a WebSocket is among what a request asks for.
pub fn asks_for_websocket(head: &RequestHead, bytes: &[u8]) -> bool {
    asked(head, bytes).is_some_and(|protocols| names(protocols, WEBSOCKET))
}

/// What a 101 switches to, if it answers what was [`asked`]. Each head comes with its bytes.
pub fn answered(
    (request, asked_in): (&RequestHead, &[u8]),
    (response, given_in): (&ResponseHead, &[u8]),
) -> Result<Protocol, ResponseFault> {
    let given = response.field(FieldName::Upgrade).map(|field| field.value.of(given_in));
    let (Some(asked), Some(given)) = (asked(request, asked_in), given) else {
        return Err(Refusal::SwitchUnasked.into());
    };
    if !response.upgrade || !members(given).all(|protocol| names(asked, protocol)) {
        return Err(Refusal::SwitchUnasked.into());
    }
    if !names(given, WEBSOCKET) {
        return Ok(Protocol::Other);
    }
    let key = key(&request.fields, asked_in);
    let accept = only(&response.fields, given_in, b"sec-websocket-accept");
    match key.zip(accept) {
        Some((key, accept)) if websocket::accepts(accept, key) => Ok(Protocol::WebSocket),
        _ => Err(Refusal::WebSocketAcceptWrong.into()),
    }
}

/// The only Sec-WebSocket-Key, if it is one.
fn key<'a>(fields: &Fields, bytes: &'a [u8]) -> Option<&'a [u8]> {
    only(fields, bytes, b"sec-websocket-key").filter(|key| websocket::is_key(key))
}

/// The value of the only field of that name.
fn only<'a>(fields: &Fields, bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut all = fields.iter().filter(|field| field.name.of(bytes).eq_ignore_ascii_case(name));
    let value = all.next()?.value.of(bytes);
    if all.next().is_some() { None } else { Some(value) }
}

fn names(protocols: &[u8], wanted: &[u8]) -> bool {
    members(protocols).any(|protocol| protocol.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20 };
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    fn asks(method: &str, upgrade: &str, fields: &str) -> (RequestHead, Vec<u8>) {
        let raw = format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: {upgrade}\r\n\
             {fields}\r\n"
        );
        let mut head = RequestHead::default();
        assert_eq!(head.parse(raw.as_bytes(), &LIMITS), Ok(true), "{raw}");
        (head, raw.into_bytes())
    }

    fn answer(request: &(RequestHead, Vec<u8>), fields: &str) -> Result<Protocol, Refusal> {
        let raw = format!("HTTP/1.1 101 X\r\nConnection: upgrade\r\n{fields}\r\n");
        let mut head = ResponseHead::default();
        assert_eq!(head.parse(raw.as_bytes(), &LIMITS, request.0.method), Ok(true), "{raw}");
        answered((&request.0, &request.1), (&head, raw.as_bytes())).map_err(|fault| fault.0)
    }

    #[test]
    fn a_websocket_is_asked_for_with_one_key() {
        let is_asked = |method: &str, fields: &str| {
            let (head, bytes) = asks(method, "WebSocket", fields);
            asked(&head, &bytes).is_some()
        };
        assert!(is_asked("GET", KEY));
        assert!(!is_asked("POST", KEY));
        assert!(!is_asked("GET", ""));
        assert!(!is_asked("GET", &KEY.repeat(2)));
        assert!(!is_asked("GET", "Sec-WebSocket-Key: short\r\n"));
    }

    #[test]
    fn other_protocols_are_asked_for_in_any_way_but_by_bodies() {
        let (head, bytes) = asks("POST", "tcp/1, raw", "");
        assert_eq!(asked(&head, &bytes), Some(&b"tcp/1, raw"[..]));
        let (head, bytes) = asks("POST", "tcp", "Content-Length: 1\r\n");
        assert_eq!(asked(&head, &bytes), None);
        let (head, bytes) = asks("GET", "h2c", "");
        assert_eq!(asked(&head, &bytes), None);
    }

    #[test]
    fn an_answer_names_what_was_asked_for() {
        let request = asks("GET", "tcp/1, raw", "");
        assert_eq!(answer(&request, "Upgrade: RAW\r\n"), Ok(Protocol::Other));
        assert_eq!(answer(&request, "Upgrade: tcp/1, raw\r\n"), Ok(Protocol::Other));
        for other in ["tcp", "tcp/2", "raw, x", "websocket"] {
            let answer = answer(&request, &format!("Upgrade: {other}\r\n{ACCEPT}"));
            assert_eq!(answer, Err(Refusal::SwitchUnasked), "{other}");
        }
    }

    #[test]
    fn nothing_answers_an_ordinary_request() {
        let request = asks("GET", "websocket", "");
        let answer = answer(&request, &format!("Upgrade: websocket\r\n{ACCEPT}"));
        assert_eq!(answer, Err(Refusal::SwitchUnasked));
    }

    #[test]
    fn a_websocket_is_accepted_by_the_sum_of_its_key() {
        let request = asks("GET", "websocket, raw", KEY);
        let websocket = |fields: &str| answer(&request, &format!("Upgrade: WebSocket\r\n{fields}"));
        assert_eq!(websocket(ACCEPT), Ok(Protocol::WebSocket));
        assert_eq!(answer(&request, "Upgrade: raw\r\n"), Ok(Protocol::Other));
        let other = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n";
        for fields in [String::new(), other.to_owned(), ACCEPT.repeat(2)] {
            assert_eq!(websocket(&fields), Err(Refusal::WebSocketAcceptWrong), "{fields}");
        }
    }
}
