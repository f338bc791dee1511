//! Response fields by which browsers are told to be careful.

use super::forward::{replaces, write_field};
use super::settings::HeaderEdits;

/// Which of them a response gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecurityFields {
    /// The route does not ask for any.
    None,
    /// The client came over plain HTTP, by which Strict-Transport-Security must not be sent
    /// (RFC 6797, 7.2).
    OverHttp,
    OverTls,
}

/// Contents are what they say they are; no other site shows them in a frame; other sites learn
/// the origin that a visitor comes from, not the page.
const ALWAYS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "strict-origin-when-cross-origin"),
];

/// A year, for this host alone: names below it may not all have a certificate.
const OVER_TLS: (&str, &str) = ("strict-transport-security", "max-age=31536000");

impl SecurityFields {
    /// Writes those that the response does not have, as `has` knows, and that no edit is about:
    /// whoever wrote those knows more of the contents.
    pub(super) fn write(self, edits: &HeaderEdits, has: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        let fields = match self {
            Self::None => return,
            Self::OverHttp => ALWAYS.iter().chain(None),
            Self::OverTls => ALWAYS.iter().chain(Some(&OVER_TLS)),
        };
        for (name, value) in fields {
            if !has(name) && !replaces(edits, name.as_bytes()) {
                write_field(out, name, value.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: SecurityFields, edits: &HeaderEdits, has: &str) -> Vec<String> {
        let mut out = Vec::new();
        fields.write(edits, |name| name == has, &mut out);
        let text = String::from_utf8(out).unwrap();
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        text.lines().map(name).collect()
    }

    #[test]
    fn strict_transport_security_goes_out_over_tls_only() {
        let over = |fields| written(fields, HeaderEdits::none(), "");
        assert_eq!(over(SecurityFields::None), [""; 0]);
        assert!(!over(SecurityFields::OverHttp).contains(&OVER_TLS.0.to_owned()));
        assert!(over(SecurityFields::OverTls).contains(&OVER_TLS.0.to_owned()));
    }

    #[test]
    fn what_somebody_has_decided_stays() {
        let remove = vec!["referrer-policy".to_owned()];
        let edits = HeaderEdits { remove, ..HeaderEdits::default() };
        let left = written(SecurityFields::OverHttp, &edits, "x-frame-options");
        assert_eq!(left, ["x-content-type-options"]);
    }
}
