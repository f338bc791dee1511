//! Text as a JSON string.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` in quotes, with the escapes that RFC 8259 section 7 demands and no others.
pub fn push_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands within the quotes of a JSON string.
pub fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut plain = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            continue;
        }
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        push_escape(out, byte);
    }
    out.extend_from_slice(&bytes[plain..]);
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_json_reader_gets_the_same_text_back(text in any::<String>()) {
            let mut quoted = Vec::new();
            push_quoted(&mut quoted, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), text);
        }
    }

    #[test]
    fn only_what_must_be_escaped_is() {
        let mut out = Vec::new();
        push_quoted(&mut out, "a/b \"ü\" \\ \u{1}\n\u{7f}");
        assert_eq!(out, "\"a/b \\\"ü\\\" \\\\ \\u0001\\n\u{7f}\"".as_bytes());
    }
}
