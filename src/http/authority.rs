//! Host and port, as in the Host field and in absolute targets.
//!
//! Narrower than RFC 3986, 3.2: no user information, no percent-encoding, no sub-delimiters, no
//! empty port and no zone. Nobody needs them in `http` URIs, and readers differ on each.

use std::net::Ipv6Addr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// A name or an IPv4 address, in the case it was sent in; an IPv6 address in its brackets.
    pub host: &'a [u8],
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` if `text` is not `host` or `host:port`.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let host_end = match text.first()? {
            b'[' => address_end(text)?,
            _ => name_end(text)?,
        };
        let (host, rest) = text.split_at(host_end);
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both lead to the same place, `default_port` being that of the scheme.
    pub fn is_same(&self, other: &Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// The limit of names in the DNS (RFC 1035, 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// Letters, digits and `-._~`: a table, since every request asks it of each byte.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] =
            (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

fn name_end(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|&byte| !NAME[usize::from(byte)]).unwrap_or(text.len());
    (1..=NAME_BYTES_MAX).contains(&end).then_some(end)
}

fn address_end(text: &[u8]) -> Option<usize> {
    let close = text.iter().position(|&byte| byte == b']')?;
    let address = std::str::from_utf8(text.get(1..close)?).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

/// 1 to 65535, in at most five digits.
fn port(digits: &[u8]) -> Option<u16> {
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum: u32, digit| sum * 10 + u32::from(digit - b'0'));
    u16::try_from(number).ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let cases: [(&str, &str, Option<u16>); 6] = [
            ("example.com", "example.com", None),
            ("Example.com:8080", "Example.com", Some(8080)),
            ("my_service:1", "my_service", Some(1)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
        ];
        for (text, host, port) in cases {
            let parsed = Authority { host: host.as_bytes(), port };
            assert_eq!(Authority::parse(text.as_bytes()), Some(parsed), "{text}");
        }
    }

    #[test]
    fn what_readers_disagree_on_is_no_authority() {
        let long = "a".repeat(256);
        let texts = [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:000080",
            "a:+1",
            "a:8 0",
            "a b",
            "u@a",
            "a/b",
            "a,b",
            "a%2eb",
            "::1",
            "[::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[]",
            "]",
            "a\\b",
            "a:1:2",
            "é",
            &long,
        ];
        for text in texts {
            assert_eq!(Authority::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_default_port_may_be_left_out() {
        let is_same = |a: &'static str, b: &'static str| {
            let parse = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();
            parse(a).is_same(&parse(b), 80)
        };
        assert!(is_same("A.example", "a.EXAMPLE:80"));
        assert!(!is_same("a.example", "a.example:81"));
        assert!(!is_same("a.example", "b.example"));
    }
}
