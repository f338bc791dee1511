//! A request body with another model's name in it, otherwise byte for byte as it came.

use std::ops::Range;

use super::quote::push_quoted;

/// The model's name upstream, ready to stand where the client's stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Where the client's name stands in the body.
    span: Range<usize>,
    value: Vec<u8>,
}

impl Rename {
    /// `span` is that of the JSON string with its quotes, as [`super::json::Found`] has it.
    pub fn in_json(span: Range<usize>, name: &str) -> Self {
        let mut value = Vec::with_capacity(name.len() + 2);
        push_quoted(&mut value, name);
        Self { span, value }
    }

    /// `span` is that of the field's value, as [`super::multipart::Found`] has it. `name` has no
    /// line ends, so no boundary can arise.
    pub fn in_multipart(span: Range<usize>, name: &str) -> Self {
        Self { span, value: name.as_bytes().to_vec() }
    }

    /// How long a body of `length` bytes becomes.
    pub fn length(&self, length: u64) -> u64 {
        length - self.span.len() as u64 + self.value.len() as u64
    }

    /// What to send for `piece`, which stands at offset `at` of the body: what precedes the old
    /// name, the new name where the old one begins, and what follows the old name.
    pub fn pieces<'a>(&'a self, at: usize, piece: &'a [u8]) -> [&'a [u8]; 3] {
        let within = |offset: usize| offset.saturating_sub(at).min(piece.len());
        let begins_here = (at..at + piece.len()).contains(&self.span.start);
        [
            &piece[..within(self.span.start)],
            if begins_here { &self.value } else { &[] },
            &piece[within(self.span.end)..],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::{json, multipart};

    fn renamed(rename: &Rename, body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let mut at = 0;
        let mut out = Vec::new();
        for piece in body.chunks(piece_bytes) {
            out.extend(rename.pieces(at, piece).concat());
            at += piece.len();
        }
        assert_eq!(out.len() as u64, rename.length(body.len() as u64));
        out
    }

    #[test]
    fn a_json_body_changes_in_the_name_only_however_it_is_cut() {
        let body = br#"{ "a": [1,  2], "model" : "gp\u0074-4" , "z":"model" }"#;
        let mut scanner = json::Scanner::new();
        scanner.feed(body).unwrap();
        let span = scanner.finish().unwrap().model_span;
        for (name, expected) in [
            ("gpt-4-0613", &br#"{ "a": [1,  2], "model" : "gpt-4-0613" , "z":"model" }"#[..]),
            ("a\"b", br#"{ "a": [1,  2], "model" : "a\"b" , "z":"model" }"#),
        ] {
            let rename = Rename::in_json(span.clone(), name);
            for piece_bytes in 1..=body.len() {
                assert_eq!(renamed(&rename, body, piece_bytes), expected);
            }
        }
    }

    #[test]
    fn a_form_changes_in_the_name_only_however_it_is_cut() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b--\r\n";
        let expected =
            b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\"b\r\n--b--\r\n";
        let content_type = b"multipart/form-data; boundary=b";
        let boundary = multipart::Boundary::of_content_type(content_type).unwrap();
        let mut scanner = multipart::Scanner::new(&boundary);
        scanner.feed(body).unwrap();
        let rename = Rename::in_multipart(scanner.finish().unwrap().model_span, "a\"b");
        for piece_bytes in 1..=body.len() {
            assert_eq!(renamed(&rename, body, piece_bytes), expected);
        }
    }
}
