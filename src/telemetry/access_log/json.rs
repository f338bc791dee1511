//! One line of JSON.

use super::{Line, write_address, write_number};
use crate::telemetry::stamp::StampCache;

/// Bytes of a line without the values that have no bound.
const FIXED_BYTES: usize = 640;

impl Line<'_> {
    /// Bytes that are not UTF-8 become U+FFFD, one for each ill-formed sequence; control characters
    /// are escaped, so that a terminal showing the log does not obey them.
    pub(super) fn write_json(&self, stamps: &mut StampCache, out: &mut Vec<u8>) {
        out.reserve(FIXED_BYTES + self.path.len() + self.user_agent.map_or(0, <[u8]>::len));
        out.extend_from_slice(br#"{"time":""#);
        out.extend_from_slice(stamps.stamp(self.at_unix_ns));
        out.extend_from_slice(br#"","client":""#);
        write_address(out, self.client);
        out.push(b'"');
        if let Some(peer) = self.peer {
            out.extend_from_slice(br#","peer":""#);
            write_address(out, peer);
            out.push(b'"');
        }
        self.write_request(out);
        self.write_response(out);
        self.write_upstream(out);
        self.write_ending(out);
        out.push(b'}');
    }

    fn write_request(&self, out: &mut Vec<u8>) {
        text(out, br#","listener":"#, self.listener.as_bytes());
        optional_text(out, br#","route":"#, self.route.map(str::as_bytes));
        text(out, br#","method":"#, self.method);
        optional_text(out, br#","host":"#, self.host);
        text(out, br#","path":"#, self.path);
        text(out, br#","version":"#, self.version.as_bytes());
        text(out, br#","request_id":"#, self.request_id);
        optional_text(out, br#","user_agent":"#, self.user_agent);
    }

    fn write_response(&self, out: &mut Vec<u8>) {
        optional_number(out, br#","status":"#, self.status.map(u64::from));
        number(out, br#","bytes_in":"#, self.bytes_in);
        number(out, br#","bytes_out":"#, self.bytes_out);
        number(out, br#","total_us":"#, self.total_us);
        optional_number(out, br#","overhead_us":"#, self.overhead_us);
    }

    fn write_upstream(&self, out: &mut Vec<u8>) {
        optional_text(out, br#","cluster":"#, self.cluster.map(str::as_bytes));
        optional_text(out, br#","endpoint":"#, self.endpoint.map(str::as_bytes));
        optional_text(out, br#","model":"#, self.model.map(str::as_bytes));
        optional_number(out, br#","queued_us":"#, self.queued_us);
        optional_number(out, br#","connect_us":"#, self.connect_us);
        optional_number(out, br#","first_byte_us":"#, self.first_byte_us);
        number(out, br#","attempts":"#, u64::from(self.attempts));
        flag(out, br#","reused":"#, self.reused);
        flag(out, br#","streamed":"#, self.streamed);
    }

    fn write_ending(&self, out: &mut Vec<u8>) {
        // Our own words: nothing to escape.
        out.extend_from_slice(br#","outcome":""#);
        out.extend_from_slice(self.outcome.label().as_bytes());
        out.push(b'"');
        optional_text(out, br#","reason":"#, self.reason.map(str::as_bytes));
        number(out, br#","worker":"#, self.worker as u64);
    }
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    write_number(out, value);
}

fn optional_number(out: &mut Vec<u8>, key: &[u8], value: Option<u64>) {
    if let Some(value) = value {
        number(out, key, value);
    }
}

fn flag(out: &mut Vec<u8>, key: &[u8], value: bool) {
    out.extend_from_slice(key);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn optional_text(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

fn text(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    out.extend_from_slice(key);
    out.push(b'"');
    // Nearly every value. To look at all bytes, without stopping at the first that is not plain,
    // is what lets the compiler look at several at a time.
    if value.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
        out.extend_from_slice(value);
    } else {
        write_escaped(out, value);
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for &byte in chunk.valid().as_bytes() {
            if is_plain(byte) || !byte.is_ascii() {
                out.push(byte)
            } else {
                write_escape(out, byte)
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// ASCII that a JSON string may hold as it is (RFC 8259, section 7), DEL excepted.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7F).contains(&byte) && byte != b'"' && byte != b'\\'
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => {
            out.extend_from_slice(br"\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::tests::line;
    use super::*;
    use crate::telemetry::record::Outcome;

    fn written(line: &Line<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        line.write_json(&mut StampCache::default(), &mut out);
        out
    }

    fn read_back(line: &Line<'_>) -> Value {
        serde_json::from_slice(&written(line)).unwrap()
    }

    #[test]
    fn a_line_holds_every_field_under_its_name() {
        let expected = json!({
            "time": "2023-11-14T22:13:20.123456Z", "client": "192.0.2.7:50123",
            "peer": "10.0.0.1:4711",
            "listener": "public", "route": "/v1/", "method": "POST", "host": "api.example.com",
            "path": "/v1/chat/completions", "version": "HTTP/1.1", "request_id": "01HF",
            "user_agent": "curl/8.5.0", "status": 200, "bytes_in": 512, "bytes_out": 4096,
            "total_us": 1_234_567, "overhead_us": 12, "cluster": "model:gpt-4",
            "endpoint": "10.0.1.10:8080", "model": "gpt-4", "queued_us": 40, "connect_us": 310,
            "first_byte_us": 200_000, "attempts": 2, "reused": false, "streamed": true,
            "outcome": "completed", "worker": 1,
        });
        assert_eq!(read_back(&line()), expected);
    }

    #[test]
    fn what_did_not_happen_is_left_out() {
        let refused = Line {
            route: None,
            peer: None,
            host: None,
            queued_us: None,
            connect_us: None,
            first_byte_us: None,
            overhead_us: None,
            cluster: None,
            endpoint: None,
            user_agent: None,
            model: None,
            status: None,
            outcome: Outcome::Refused,
            reason: Some("head_too_large"),
            ..line()
        };
        let read = read_back(&refused);
        let absent =
            ["route", "peer", "host", "connect_us", "cluster", "user_agent", "model", "status"];
        assert!(absent.iter().all(|key| read.get(key).is_none()), "{read}");
        assert_eq!(
            (&read["outcome"], &read["reason"]),
            (&json!("refused"), &json!("head_too_large"))
        );
    }

    #[test]
    fn a_client_cannot_write_fields_or_lines_of_its_own() {
        let forged = Line { user_agent: Some(b"x\",\"status\":1}\r\n{\\\x1b[2J\x7f"), ..line() };
        let bytes = written(&forged);
        assert!(bytes.iter().all(|&byte| byte >= 0x20 && byte != 0x7F));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["user_agent"], json!("x\",\"status\":1}\r\n{\\\u{1b}[2J\u{7f}"));
        assert_eq!(read["status"], json!(200));
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        let latin = Line { path: b"/caf\xE9/\xF0\x9F\x98\x80\xF0\x9F", ..line() };
        assert_eq!(read_back(&latin)["path"], json!("/caf\u{FFFD}/\u{1F600}\u{FFFD}"));
    }

    #[test]
    fn an_ipv6_client_keeps_its_brackets() {
        let v6 = Line { client: "[2001:db8::1]:443".parse().unwrap(), ..line() };
        assert_eq!(read_back(&v6)["client"], json!("[2001:db8::1]:443"));
    }

    proptest! {
        #[test]
        fn any_bytes_give_valid_json_on_one_line(
            path: Vec<u8>, agent: Vec<u8>, host: Vec<u8>, method: Vec<u8>, id: Vec<u8>,
        ) {
            let line = Line {
                path: &path,
                user_agent: Some(&agent),
                host: Some(&host),
                method: &method,
                request_id: &id,
                ..line()
            };
            let bytes = written(&line);
            prop_assert!(!bytes.contains(&b'\n'));
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&read["path"], &json!(String::from_utf8_lossy(&path)));
            prop_assert_eq!(&read["user_agent"], &json!(String::from_utf8_lossy(&agent)));
        }
    }
}
