//! An IP address as text.

use std::net::IpAddr;

/// Made once, for several fields. IPv4 inside IPv6 is written as IPv4.
pub(super) struct IpText {
    bytes: [u8; Self::BYTES_MAX],
    len: usize,
    is_ipv6: bool,
}

impl IpText {
    /// Eight groups of four digits.
    const BYTES_MAX: usize = 39;

    pub(super) fn of(ip: IpAddr) -> Self {
        use std::io::Write;
        let ip = ip.to_canonical();
        let mut text = Self { bytes: [0; Self::BYTES_MAX], len: 0, is_ipv6: ip.is_ipv6() };
        match ip {
            IpAddr::V4(ip) => {
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        text.push(b".");
                    }
                    text.push(itoa::Buffer::new().format(octet).as_bytes());
                }
            }
            IpAddr::V6(ip) => {
                let mut rest = &mut text.bytes[..];
                let written = write!(rest, "{ip}");
                debug_assert!(written.is_ok(), "{ip} is longer than any IPv6 address");
                text.len = Self::BYTES_MAX - rest.len();
            }
        }
        text
    }

    fn push(&mut self, part: &[u8]) {
        self.bytes[self.len..self.len + part.len()].copy_from_slice(part);
        self.len += part.len();
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As RFC 7239, 6 wants it: IPv6 in brackets, which need quotes.
    pub(super) fn write_node(&self, out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) =
            if self.is_ipv6 { (b"\"[", b"]\"") } else { (b"", b"") };
        [before, self.as_bytes(), after].iter().for_each(|part| out.extend_from_slice(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_is_written_as_the_standard_library_does(ip: IpAddr) {
            let text = IpText::of(ip);
            let expected = ip.to_canonical().to_string();
            prop_assert_eq!(text.as_bytes(), expected.as_bytes());
            let mut node = Vec::new();
            text.write_node(&mut node);
            let expected = match expected.contains(':') {
                true => format!("\"[{expected}]\""),
                false => expected,
            };
            prop_assert_eq!(node, expected.as_bytes());
        }
    }
}
