//! Who the client is, and how an endpoint is told of it.

use std::net::{IpAddr, SocketAddr};

use super::forward::replaces;
use super::ip_text::IpText;
use super::settings::{Cidr, HeaderEdits};
use crate::http::authority::Authority;
use crate::http::field_name::FieldName;
use crate::http::fields::Fields;
use crate::http::forwarded::{self, Element, Malformed};

/// The one who asks, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress {
    /// The peer, or whom trusted proxies name. Port 0 stands for an unknown one.
    pub(super) address: SocketAddr,
    /// The other end of the connection, as the connection itself tells it.
    peer: SocketAddr,
    believed: Believed,
}

/// The network that an address is in, as a number: an IPv4 address stands for itself, of IPv6 the
/// first `ipv6_prefix` bits count.
pub(super) fn network(address: IpAddr, ipv6_prefix: u8) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => match 128 - u32::from(ipv6_prefix.min(128)) {
            128 => 0,
            rest => ip.to_bits() >> rest << rest,
        },
    }
}

/// What is taken over of what a request says about the hops before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Believed {
    /// Nothing: anybody can write these fields.
    Nothing,
    /// The peer is trusted, and gives no usable list of hops.
    NoList,
    XForwardedFor,
    Forwarded,
    /// Both lists name the same client.
    Both,
}

impl ClientAddress {
    /// Nobody but the peer is known.
    pub(super) fn stranger(peer: SocketAddr) -> Self {
        Self { address: peer, peer, believed: Believed::Nothing }
    }

    /// The client of a request that came from `peer`.
    ///
    /// When X-Forwarded-For and Forwarded name different clients, a proxy has added to one of
    /// them and let the other through as the client wrote it. Nearly every proxy knows
    /// X-Forwarded-For, so that is the one that counts.
    pub(super) fn find(peer: SocketAddr, trusted: &[Cidr], bytes: &[u8], fields: &Fields) -> Self {
        let is_trusted = |ip| trusted.iter().any(|block| block.contains(ip));
        if !is_trusted(peer.ip()) {
            return Self::stranger(peer);
        }
        let by_x = fields.has(FieldName::XForwardedFor).then(|| {
            let values = values(bytes, fields, FieldName::XForwardedFor);
            forwarded::client(values.flat_map(forwarded::hops), is_trusted)
        });
        let by_forwarded = elements(bytes, fields).map(|elements| {
            forwarded::client(elements.iter().map(|element| element.source), is_trusted)
        });
        let ip = |named: Option<SocketAddr>| named.map(|client| client.ip());
        let (named, believed) = match (by_x, by_forwarded) {
            (None, None) => (real_ip(bytes, fields), Believed::NoList),
            (None, Some(named)) => (named, Believed::Forwarded),
            (Some(named), Some(other)) if ip(named) == ip(other) => (named, Believed::Both),
            (Some(named), _) => (named, Believed::XForwardedFor),
        };
        Self { address: named.unwrap_or(peer), peer, believed }
    }

    /// Whether the peer is one whose forwarding fields are passed on.
    pub(super) fn is_told_by_trusted(&self) -> bool {
        self.believed != Believed::Nothing
    }
}

fn values<'a>(
    bytes: &'a [u8],
    fields: &'a Fields,
    name: FieldName,
) -> impl Iterator<Item = &'a [u8]> {
    fields.all(name).map(|field| field.value.of(bytes))
}

/// What all Forwarded fields say; `None` if there are none, or one is malformed: who cannot
/// write it may not have understood it either.
fn elements<'a>(bytes: &'a [u8], fields: &'a Fields) -> Option<Vec<Element<'a>>> {
    if !fields.has(FieldName::Forwarded) {
        return None;
    }
    let elements = values(bytes, fields, FieldName::Forwarded).flat_map(forwarded::elements);
    elements.collect::<Result<_, Malformed>>().ok()
}

fn real_ip(bytes: &[u8], fields: &Fields) -> Option<SocketAddr> {
    let field = fields.first(FieldName::XRealIp)?;
    if fields.is_repeated(FieldName::XRealIp) {
        return None;
    }
    forwarded::hop(field.value.of(bytes))
}

/// Our name in Forwarded: RFC 7239, 6.3. An address would only show how the network is built.
const BY: &[u8] = b";by=_ringgate";

/// The fields that tell an endpoint of the client.
pub(super) struct ClientFields<'a> {
    pub(super) client: &'a ClientAddress,
    /// Host and port that the request is for.
    pub(super) authority: &'a [u8],
    /// That of the client's connection to us.
    pub(super) scheme: &'static str,
    /// The request's own fields, and the bytes that they are in.
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'a Fields,
}

/// Writes the value of a field; the peer's address is at hand as text.
type WriteValue<T> = fn(&T, &IpText, &mut Vec<u8>);

impl ClientFields<'_> {
    /// Writes all of them but those that `edits` sets or removes.
    pub(super) fn write(&self, edits: &HeaderEdits, out: &mut Vec<u8>) {
        let peer = IpText::of(self.client.peer.ip());
        let keeps = |name| edits.is_empty() || !replaces(edits, name);
        for (name, write) in Self::FIELDS.iter().filter(|(name, _)| keeps(name)) {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            write(self, &peer, out);
            out.extend_from_slice(b"\r\n");
        }
        if !self.authority.is_empty() && keeps(b"x-forwarded-host") {
            out.extend_from_slice(b"x-forwarded-host: ");
            out.extend_from_slice(self.host());
            out.extend_from_slice(b"\r\n");
        }
    }

    const FIELDS: [(&'static [u8], WriteValue<Self>); 4] = [
        (b"x-forwarded-for", Self::write_hops),
        (b"x-forwarded-proto", Self::write_proto),
        (b"x-real-ip", Self::write_real_ip),
        (b"forwarded", Self::write_forwarded),
    ];

    fn write_hops(&self, peer: &IpText, out: &mut Vec<u8>) {
        match self.client.believed {
            Believed::Nothing => {}
            Believed::XForwardedFor | Believed::Both => {
                for value in values(self.bytes, self.fields, FieldName::XForwardedFor) {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                }
            }
            Believed::Forwarded => {
                for element in elements(self.bytes, self.fields).unwrap_or_default() {
                    match element.source {
                        Some(hop) => out.extend_from_slice(IpText::of(hop.ip()).as_bytes()),
                        None => out.extend_from_slice(b"unknown"),
                    }
                    out.extend_from_slice(b", ");
                }
            }
            Believed::NoList => {
                if let Some(client) = self.named_client() {
                    out.extend_from_slice(IpText::of(client).as_bytes());
                    out.extend_from_slice(b", ");
                }
            }
        }
        out.extend_from_slice(peer.as_bytes());
    }

    fn write_real_ip(&self, peer: &IpText, out: &mut Vec<u8>) {
        match self.named_client() {
            Some(client) => out.extend_from_slice(IpText::of(client).as_bytes()),
            None => out.extend_from_slice(peer.as_bytes()),
        }
    }

    /// RFC 7239, 4: what came, if it is believed; else the same said anew from X-Forwarded-*, as
    /// section 7.4 has it. Then what we saw ourselves.
    fn write_forwarded(&self, peer: &IpText, out: &mut Vec<u8>) {
        match self.client.believed {
            Believed::Nothing => {}
            Believed::Forwarded | Believed::Both => {
                for value in values(self.bytes, self.fields, FieldName::Forwarded) {
                    out.extend_from_slice(value);
                    out.extend_from_slice(b", ");
                }
            }
            Believed::XForwardedFor => {
                let values = values(self.bytes, self.fields, FieldName::XForwardedFor);
                for (index, hop) in values.flat_map(forwarded::hops).enumerate() {
                    self.write_told_hop(hop, index == 0, out);
                }
            }
            Believed::NoList => {
                if let Some(client) = self.named_client() {
                    self.write_told_hop(Some(SocketAddr::new(client, 0)), true, out);
                }
            }
        }
        out.extend_from_slice(b"for=");
        peer.write_node(out);
        write_pairs(Some(self.authority), Some(self.scheme.as_bytes()), out);
        out.extend_from_slice(BY);
    }

    /// A hop from the X-Forwarded-* fields; host and scheme go with the first.
    fn write_told_hop(&self, hop: Option<SocketAddr>, first: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"for=");
        match hop {
            Some(hop) => IpText::of(hop.ip()).write_node(out),
            None => out.extend_from_slice(b"unknown"),
        }
        if first {
            let is_scheme = |value: &&[u8]| value.iter().all(u8::is_ascii_alphabetic);
            let host = self.said(FieldName::XForwardedHost);
            let proto = self.said(FieldName::XForwardedProto).filter(is_scheme);
            write_pairs(host.filter(|host| Authority::parse(host).is_some()), proto, out);
        }
        out.extend_from_slice(b", ");
    }

    /// The client, where it is another than the peer.
    fn named_client(&self) -> Option<IpAddr> {
        let client = self.client.address.ip();
        (client != self.client.peer.ip()).then_some(client)
    }

    fn write_proto(&self, _: &IpText, out: &mut Vec<u8>) {
        let told = self.said(FieldName::XForwardedProto);
        let told = told.or_else(|| self.element_of_client()?.proto);
        out.extend_from_slice(told.unwrap_or(self.scheme.as_bytes()));
    }

    fn host(&self) -> &[u8] {
        let told = self.said(FieldName::XForwardedHost);
        told.or_else(|| self.element_of_client()?.host).unwrap_or(self.authority)
    }

    /// What a trusted peer says in the first field of that name.
    fn said(&self, name: FieldName) -> Option<&[u8]> {
        if !self.client.is_told_by_trusted() {
            return None;
        }
        values(self.bytes, self.fields, name).next()
    }

    /// What the proxy says that the client itself has asked.
    fn element_of_client(&self) -> Option<Element<'_>> {
        if !matches!(self.client.believed, Believed::Forwarded | Believed::Both) {
            return None;
        }
        let elements = elements(self.bytes, self.fields)?;
        let client = self.client.address.ip();
        let is_clients =
            |element: &&Element<'_>| element.source.is_some_and(|source| source.ip() == client);
        elements.iter().rev().find(is_clients).copied()
    }
}

fn write_pairs(host: Option<&[u8]>, proto: Option<&[u8]>, out: &mut Vec<u8>) {
    if let Some(host) = host.filter(|host| !host.is_empty()) {
        out.extend_from_slice(b";host=");
        // What may stand in a host is what may stand in a token, but for these.
        let quote: &[u8] = if host.iter().any(|byte| b":[".contains(byte)) { b"\"" } else { b"" };
        [quote, host, quote].iter().for_each(|part| out.extend_from_slice(part));
    }
    if let Some(proto) = proto.filter(|proto| !proto.is_empty()) {
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(proto);
    }
}
