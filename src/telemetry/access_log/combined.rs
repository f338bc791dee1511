//! The combined log format, which every log analyser of web servers reads.

use super::{Line, write_hex_escaped, write_ip, write_number};
use crate::telemetry::stamp::StampCache;

impl Line<'_> {
    /// `CLIENT - - [TIME] "REQUEST" STATUS BYTES "REFERER" "USER AGENT"`. What is not known is `-`.
    /// Bytes are escaped as nginx does it: `\x22`.
    pub(super) fn write_combined(&self, stamps: &mut StampCache, out: &mut Vec<u8>) {
        write_ip(out, self.client.ip());
        out.extend_from_slice(b" - - [");
        out.extend_from_slice(stamps.clock(self.at_unix_ns));
        out.extend_from_slice(b" +0000] \"");
        self.write_request_line(b"-", escape, out);
        out.extend_from_slice(b"\" ");
        match self.status {
            Some(status) => write_number(out, u64::from(status)),
            None => out.push(b'-'),
        }
        out.push(b' ');
        write_number(out, self.bytes_out);
        quoted(out, self.referer);
        quoted(out, self.user_agent);
    }
}

fn quoted(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.extend_from_slice(b" \"");
    escape(out, value.unwrap_or(b"-"));
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    write_hex_escaped(out, value, br"\x", |byte| {
        (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::line;
    use super::*;

    fn written(line: &Line<'_>) -> String {
        let mut out = Vec::new();
        line.write_combined(&mut StampCache::default(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_analysers_expect() {
        let expected = "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"POST /v1/chat/completions \
                        HTTP/1.1\" 200 4096 \"https://example.com/start\" \"curl/8.5.0\"";
        assert_eq!(written(&line()), expected);
    }

    #[test]
    fn what_is_not_known_is_a_hyphen() {
        let unread = Line {
            method: b"",
            path: b"",
            status: None,
            bytes_out: 0,
            referer: None,
            user_agent: None,
            ..line()
        };
        let expected = r#"192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "-" - 0 "-" "-""#;
        assert_eq!(written(&unread), expected);
    }

    #[test]
    fn a_client_cannot_end_its_field() {
        let forged = Line { user_agent: Some(b"a\" 200 \\\n\x1b\xe9"), ..line() };
        assert!(written(&forged).ends_with(r#" "a\x22 200 \x5C\x0A\x1B\xE9""#));
    }
}
