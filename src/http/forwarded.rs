//! Who sent a request, as the proxies before us tell it: X-Forwarded-For, and Forwarded of
//! RFC 7239.
//!
//! Both name one hop after the other, the first the farthest away. What a hop wrote is worth as
//! much as the hop is trusted, so a list is worth something from its end up to the first hop
//! that is not.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::authority::Authority;
use super::syntax::{is_token, members, token_end};

/// The last hop that is not trusted, which is the first whose word for itself need not be taken;
/// if all are, the first. Where a hop cannot be told (`None`), it is the one that says so.
///
/// `None` if that is not in the list: it is empty, or its last hop cannot be told.
pub fn client(
    hops: impl Iterator<Item = Option<SocketAddr>>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let mut client = None;
    for hop in hops {
        client = match (client, hop) {
            (Some(known), Some(hop)) if is_trusted(hop.ip()) => Some(known),
            (_, hop) => hop,
        };
    }
    client
}

/// A member of X-Forwarded-For: an address, in practice also with a port. Port 0 stands for none.
/// IPv4 inside IPv6 is told as IPv4.
pub fn hop(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    let address = text.parse::<IpAddr>().ok().or_else(|| bracketed().map(IpAddr::V6));
    let address = match address {
        Some(ip) => SocketAddr::new(ip, 0),
        None => text.parse().ok()?,
    };
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The hops of one X-Forwarded-For.
pub fn hops(value: &[u8]) -> impl Iterator<Item = Option<SocketAddr>> {
    members(value).filter(|member| !member.is_empty()).map(hop)
}

/// What one proxy says with Forwarded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Element<'a> {
    /// Who asked it: `for`. `None` where that is not said, `unknown`, or under a made-up name.
    pub source: Option<SocketAddr>,
    /// The host it was asked for, which is one.
    pub host: Option<&'a [u8]>,
    /// A token, such as `https`.
    pub proto: Option<&'a [u8]>,
}

/// A Forwarded that breaks the grammar of RFC 7239, 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// The elements of one Forwarded, in order. After a [`Malformed`] there are no more.
pub fn elements(value: &[u8]) -> Elements<'_> {
    Elements { rest: Some(value) }
}

/// See [`elements`].
pub struct Elements<'a> {
    /// Begins with an element; `None` behind the last.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let read = read_element(rest);
        Some(read.map(|(element, rest)| {
            self.rest = rest;
            element
        }))
    }
}

/// Reads up to the comma behind an element; the rest begins behind that.
///
/// Spaces stand only round commas. An element without any pair is malformed too: the grammar has
/// it, and nothing writes it.
fn read_element(bytes: &[u8]) -> Result<(Element<'_>, Option<&[u8]>), Malformed> {
    let mut element = Element::default();
    let mut seen = Seen::default();
    let mut rest = bytes.trim_ascii_start();
    loop {
        let pair = read_pair(rest)?;
        seen.take(pair.name)?;
        element.take(pair.name, pair.value)?;
        match pair.rest {
            [b';', more @ ..] => rest = more,
            after => match after.trim_ascii_start() {
                [] => return Ok((element, None)),
                [b',', more @ ..] => return Ok((element, Some(more))),
                _ => return Err(Malformed),
            },
        }
    }
}

struct Pair<'a> {
    name: &'a [u8],
    /// Without quotes.
    value: &'a [u8],
    /// What follows.
    rest: &'a [u8],
}

fn read_pair(bytes: &[u8]) -> Result<Pair<'_>, Malformed> {
    let name_end = token_end(bytes, 0);
    let (name, rest) = bytes.split_at(name_end);
    let rest = rest.strip_prefix(b"=").filter(|_| !name.is_empty()).ok_or(Malformed)?;
    if let Some(quoted) = rest.strip_prefix(b"\"") {
        let end = quoted.iter().position(|&byte| byte == b'"').ok_or(Malformed)?;
        let (value, rest) = quoted.split_at(end);
        // No address, host or scheme needs an escape; who writes one wants to be misread.
        let is_plain = value.iter().all(|&byte| byte != b'\\' && (0x20..0x7F).contains(&byte));
        let pair = Pair { name, value, rest: &rest[1..] };
        return if is_plain { Ok(pair) } else { Err(Malformed) };
    }
    let value_end = token_end(rest, 0);
    let (value, rest) = rest.split_at(value_end);
    if value.is_empty() { Err(Malformed) } else { Ok(Pair { name, value, rest }) }
}

/// The parameters of RFC 7239 that an element has had: each may be there once.
#[derive(Default)]
struct Seen {
    names: [bool; 4],
}

impl Seen {
    fn take(&mut self, name: &[u8]) -> Result<(), Malformed> {
        let names = [&b"for"[..], b"by", b"host", b"proto"];
        let Some(index) = names.iter().position(|known| known.eq_ignore_ascii_case(name)) else {
            return Ok(());
        };
        match std::mem::replace(&mut self.names[index], true) {
            true => Err(Malformed),
            false => Ok(()),
        }
    }
}

impl<'a> Element<'a> {
    /// Other parameters than those of the RFC mean nothing here.
    fn take(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Malformed> {
        if name.eq_ignore_ascii_case(b"for") {
            self.source = node(value)?;
        } else if name.eq_ignore_ascii_case(b"by") {
            node(value)?;
        } else if name.eq_ignore_ascii_case(b"host") {
            Authority::parse(value).ok_or(Malformed)?;
            self.host = Some(value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            self.proto = Some(value).filter(|value| is_token(value));
            self.proto.ok_or(Malformed)?;
        }
        Ok(())
    }
}

/// RFC 7239, 6: an address, `unknown` or `_name`, with a port or `_name` in its place.
fn node(value: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let name_end = match value.first() {
        Some(b'[') => value.iter().position(|&byte| byte == b']').map(|end| end + 1),
        _ => value.iter().position(|&byte| byte == b':').or(Some(value.len())),
    };
    let (name, port) = value.split_at(name_end.ok_or(Malformed)?);
    let port = match port {
        [] => 0,
        [b':', b'_', rest @ ..] if is_obfuscated(rest) => 0,
        [b':', digits @ ..] => port_of(digits).ok_or(Malformed)?,
        _ => return Err(Malformed),
    };
    match name {
        b"unknown" => Ok(None),
        [b'_', rest @ ..] if is_obfuscated(rest) => Ok(None),
        // Without brackets a colon has ended the name, so that this is IPv4 or bracketed.
        _ => match hop(name) {
            Some(hop) => Ok(Some(SocketAddr::new(hop.ip(), port))),
            None => Err(Malformed),
        },
    }
}

/// RFC 7239, 6.3, behind the underscore.
fn is_obfuscated(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    !name.is_empty() && name.iter().all(is_part)
}

fn port_of(digits: &[u8]) -> Option<u16> {
    if !(1..=5).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_ten(ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10)
    }

    /// Whom a list of X-Forwarded-For names, `10.0.0.0/8` being trusted.
    fn named(list: &str) -> Option<String> {
        client(hops(list.as_bytes()), is_ten).map(|client| match client.port() {
            0 => client.ip().to_string(),
            _ => client.to_string(),
        })
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.1", Some("192.0.2.1")),
            ("192.0.2.66,192.0.2.1 ,10.0.0.2, 10.0.0.1", Some("192.0.2.1")),
            ("10.0.0.66, 192.0.2.1", Some("192.0.2.1")),
            ("10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("::ffff:10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("", None),
            (" , ", None),
        ];
        for (list, expected) in cases {
            assert_eq!(named(list).as_deref(), expected, "{list}");
        }
    }

    #[test]
    fn a_hop_that_cannot_be_told_ends_what_is_believed() {
        assert_eq!(named("192.0.2.1, unknown, 10.0.0.2, 10.0.0.1").as_deref(), Some("10.0.0.2"));
        assert_eq!(named("192.0.2.1, <script>"), None);
        assert_eq!(named("unknown, 192.0.2.1").as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn a_hop_is_an_address_with_or_without_a_port() {
        let cases = [
            ("192.0.2.1:8080", "192.0.2.1:8080"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1:443"),
        ];
        for (list, expected) in cases {
            assert_eq!(named(list).as_deref(), Some(expected), "{list}");
        }
        for text in ["192.0.2", "192.0.2.01", "[192.0.2.1]", "fe80::1%eth0", "a.example", "é"] {
            assert_eq!(hop(text.as_bytes()), None, "{text}");
        }
    }

    fn read(value: &str) -> Result<Vec<Element<'_>>, Malformed> {
        elements(value.as_bytes()).collect()
    }

    #[test]
    fn an_element_says_who_asked_for_which_host_and_how() {
        let value = "for=192.0.2.43;by=203.0.113.43 , For=\"[2001:db8:cafe::17]:4711\";\
                     PROTO=https;host=\"a.example:8443\";secret=x,for=unknown;host=b";
        let expected = [
            Element { source: hop(b"192.0.2.43"), host: None, proto: None },
            Element {
                source: hop(b"[2001:db8:cafe::17]:4711"),
                host: Some(b"a.example:8443"),
                proto: Some(b"https"),
            },
            Element { source: None, host: Some(b"b"), proto: None },
        ];
        assert_eq!(read(value).as_deref(), Ok(&expected[..]));
    }

    #[test]
    fn nodes_may_have_made_up_names_and_ports() {
        for node in ["_hidden", "_SEVKISEK", "unknown", "\"unknown:_x\"", "\"_a:80\""] {
            let value = format!("for={node}");
            assert_eq!(read(&value), Ok(vec![Element::default()]), "{node}");
        }
        let value = "for=\"192.0.2.1:_port\"";
        let known = Element { source: hop(b"192.0.2.1"), ..Element::default() };
        assert_eq!(read(value), Ok(vec![known]));
    }

    #[test]
    fn what_breaks_the_grammar_is_malformed() {
        for value in [
            "",
            ",",
            "for",
            "for=",
            "=a",
            "for=192.0.2.1,",
            "for=192.0.2.1;",
            "for=192.0.2.1; proto=http",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "for=192.0.2.1 proto=http",
            "for=192.0.2.1;for=192.0.2.2",
            "for=192.0.2.1;FOR=192.0.2.1",
            "for=192.0.2.1:80",
            "for=[2001:db8::1]",
            "for=\"2001:db8::1\"",
            "for=\"[2001:db8::1\"",
            "for=\"[2001:db8::1]80\"",
            "for=\"192.0.2.1:\"",
            "for=\"192.0.2.1:123456\"",
            "for=\"192.0.2.1",
            "for=\"192.0.2\\.1\"",
            "for=\"_\"",
            "for=_",
            "for=a.example",
            "by=192.0.2",
            "host=\"a b\"",
            "host=\"\"",
            "proto=\"a/b\"",
            "x=\"\u{e9}\"",
        ] {
            assert!(read(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(value: Vec<u8>) {
            let _ = hops(&value).count();
            prop_assert!(elements(&value).count() <= value.len() + 1);
        }
    }
}
