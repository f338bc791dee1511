//! Distinguished names as text (RFC 4514).

use std::fmt::Write as _;

use x509_parser::asn1_rs::ToDer;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

/// The names that RFC 4514, section 3, gives to attribute types. Others are written as numbers.
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// The subject of a certificate, in visible ASCII and spaces: fit for a field of HTTP. Empty if
/// the subject is, as it may be where names stand in the extension for them.
pub(super) fn subject_of(certificate: &[u8]) -> String {
    match X509Certificate::from_der(certificate) {
        Ok((_, certificate)) => to_text(certificate.subject()),
        // A chain that was verified can be parsed; if not here, then nobody is named.
        Err(_) => String::new(),
    }
}

/// The last part comes first, as it does in a domain name.
fn to_text(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter().collect();
    for (index, part) in parts.iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                text.push('+');
            }
            write_attribute(&mut text, attribute);
        }
    }
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    match (short, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => {
            text.push_str(name);
            text.push('=');
            write_value(text, value);
        }
        // RFC 4514, 2.4: what has no text form is the hexadecimal form of its bytes.
        (short, _) => {
            text.push_str(short.map_or(&*oid, |(_, name)| name));
            text.push_str("=#");
            // Written into memory, which does not fail.
            let bytes = attribute.attr_value().to_der_vec().unwrap_or_default();
            bytes.into_iter().for_each(|byte| push_hex(text, byte));
        }
    }
}

/// RFC 4514, 2.4, and every byte outside visible ASCII escaped besides: the result is a field
/// value in which no name can look like more than one.
fn write_value(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.bytes().enumerate() {
        let is_edge = index == 0 || index == last;
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b'#' if index == 0 => text.push_str("\\#"),
            b' ' if is_edge => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                push_hex(text, byte);
            }
        }
    }
}

fn push_hex(text: &mut String, byte: u8) {
    // Writing into a String does not fail.
    let _ = write!(text, "{byte:02x}");
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> String {
        let mut name = DistinguishedName::new();
        parts.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        subject_of(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_last_part_comes_first() {
        let parts = [
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Example"),
            (DnType::CommonName, "service-a"),
        ];
        assert_eq!(subject(&parts), "CN=service-a,O=Example,C=DE");
    }

    #[test]
    fn no_value_can_look_like_two() {
        assert_eq!(subject(&[(DnType::CommonName, "a,O=b")]), r"CN=a\,O\=b");
        assert_eq!(subject(&[(DnType::CommonName, " #+ ")]), r"CN=\ #\+\ ");
        assert_eq!(subject(&[(DnType::CommonName, "#a")]), r"CN=\#a");
    }

    #[test]
    fn what_is_not_visible_ascii_is_escaped() {
        assert_eq!(subject(&[(DnType::CommonName, "a\r\nx: b")]), r"CN=a\0d\0ax: b");
        assert_eq!(subject(&[(DnType::CommonName, "Bär")]), r"CN=B\c3\a4r");
    }

    #[test]
    fn an_attribute_without_a_name_is_written_as_numbers() {
        let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
        assert_eq!(subject(&[(email, "a")]), "1.2.840.113549.1.9.1=#0c0161");
    }

    #[test]
    fn an_empty_subject_is_empty_text() {
        assert_eq!(subject(&[]), "");
        assert_eq!(subject_of(b"no certificate"), "");
    }
}
