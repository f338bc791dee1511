//! The PROXY protocol, versions 1 and 2: how a proxy in front that does not read HTTP says whose
//! connection it passes on.
//!
//! After the specification by its author, HAProxy's `doc/proxy-protocol.txt` of 2020/03/05; its
//! section numbers are meant below.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::refusal::Refusal;

/// A header as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose connection it is; `None` where the header says that the connection is the sender's
    /// own (LOCAL), or does not say whose (UNKNOWN, UNSPEC, Unix sockets).
    pub announced: Option<Ends>,
    /// Bytes of the header: where the client's own begin.
    pub len: usize,
}

/// Both ends of the connection that is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// Longest header that is read, extensions included. Those of cloud balancers have some 100
/// bytes; a client certificate, which HAProxy may send along, has some 1,500.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Longest line of version 1, its end included (2.1).
const LINE_BYTES_MAX: usize = 107;
const _: () = assert!(LINE_BYTES_MAX <= HEADER_BYTES_MAX);

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const IPV4_STREAM: u8 = 0x11;
const IPV6_STREAM: u8 = 0x21;
/// The type of the extension that holds a checksum of the whole header (2.2.4).
const CHECKSUM: u8 = 0x03;

/// Reads a header from the start of `bytes`. `Ok(None)`: all of them belong to a header that is
/// not complete; call again with the same bytes and more behind them.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    if starts_alike(bytes, SIGNATURE) {
        read_binary(bytes)
    } else if starts_alike(bytes, LINE_START) {
        read_line(bytes)
    } else {
        Err(Refusal::ProxyHeaderMissing)
    }
}

/// Whether one is the beginning of the other.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// Version 1 (2.1): one line, such as `PROXY TCP4 192.0.2.7 198.51.100.1 50123 443`.
fn read_line(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() {
            LINE_BYTES_MAX => Err(Refusal::ProxyHeaderTooLong),
            _ => Ok(None),
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(Refusal::ProxyHeaderInvalid)?;
    let line = std::str::from_utf8(line).map_err(|_| Refusal::ProxyHeaderInvalid)?;
    let announced = read_words(line).ok_or(Refusal::ProxyHeaderInvalid)?;
    Ok(Some(Header { announced, len: end + 1 }))
}

/// `None` if the line breaks the grammar.
fn read_words(line: &str) -> Option<Option<Ends>> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        // What follows is to be ignored, whatever it is.
        return Some(None);
    }
    let addresses: [&str; 2] = [words.next()?, words.next()?];
    let ports = [port(words.next()?)?, port(words.next()?)?];
    if words.next().is_some() {
        return None;
    }
    let ends = match family {
        "TCP4" => ends_of::<Ipv4Addr>(addresses, ports)?,
        "TCP6" => ends_of::<Ipv6Addr>(addresses, ports)?,
        _ => return None,
    };
    Some(Some(ends))
}

fn ends_of<A: std::str::FromStr + Into<IpAddr>>(
    [source, destination]: [&str; 2],
    [source_port, destination_port]: [u16; 2],
) -> Option<Ends> {
    let address = |text: &str| text.parse::<A>().ok().map(Into::into);
    Some(Ends {
        source: SocketAddr::new(address(source)?, source_port),
        destination: SocketAddr::new(address(destination)?, destination_port),
    })
}

/// Decimal, without signs and leading zeroes.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_padded = text.len() > 1 && text.starts_with('0');
    if is_plain && !is_padded { text.parse().ok() } else { None }
}

/// Version 2 (2.2).
fn read_binary(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if command != LOCAL && command != PROXY {
        return Err(Refusal::ProxyHeaderInvalid);
    }
    if len > HEADER_BYTES_MAX {
        return Err(Refusal::ProxyHeaderTooLong);
    }
    let Some(header) = bytes.get(..len) else { return Ok(None) };
    let announced = match command {
        // Family, addresses and extensions are to be skipped.
        LOCAL => None,
        _ => read_ends(family, header)?,
    };
    Ok(Some(Header { announced, len }))
}

fn read_ends(family: u8, header: &[u8]) -> Result<Option<Ends>, Refusal> {
    // The lower half is the transport of the client: a datagram's, where HTTP/3 is ended in front.
    let (family, transport) = (family >> 4, family & 0x0F);
    if transport > 2 {
        return Err(Refusal::ProxyHeaderInvalid);
    }
    let addresses_len = match family {
        0 => 0,
        1 => 2 * (4 + 2),
        2 => 2 * (16 + 2),
        // Two paths of Unix sockets.
        3 => 2 * 108,
        _ => return Err(Refusal::ProxyHeaderInvalid),
    };
    let rest = &header[FIXED_BYTES..];
    let (addresses, _) = rest.split_at_checked(addresses_len).ok_or(Refusal::ProxyHeaderInvalid)?;
    // Without a family the rest has no known form (2.2: it is to be ignored).
    if family != 0 {
        check_extensions(header, FIXED_BYTES + addresses_len)?;
    }
    Ok(match family {
        1 => binary_ends::<4>(addresses),
        2 => binary_ends::<16>(addresses),
        _ => None,
    })
}

/// Source, destination, and their ports, in network byte order.
fn binary_ends<const N: usize>(bytes: &[u8]) -> Option<Ends>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, ports) = rest.split_first_chunk::<N>()?;
    let &[a, b, c, d] = ports else { return None };
    Some(Ends {
        source: SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes([c, d])),
    })
}

/// Goes through type, length and value of each extension (2.2), and compares the checksum if
/// there is one.
fn check_extensions(header: &[u8], from: usize) -> Result<(), Refusal> {
    let mut at = from;
    while at < header.len() {
        let head = header.get(at..at + 3).ok_or(Refusal::ProxyHeaderInvalid)?;
        let value = at + 3;
        let end = value + usize::from(u16::from_be_bytes([head[1], head[2]]));
        let content = header.get(value..end).ok_or(Refusal::ProxyHeaderInvalid)?;
        if head[0] == CHECKSUM {
            let stated = <[u8; 4]>::try_from(content).map_err(|_| Refusal::ProxyHeaderInvalid)?;
            // The sum was taken with zeroes in its own place.
            let actual = crc32c(&[&header[..value], &[0; 4], &header[end..]]);
            if actual != u32::from_be_bytes(stated) {
                return Err(Refusal::ProxyHeaderChecksum);
            }
        }
        at = end;
    }
    Ok(())
}

/// Which version is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V1,
    V2,
}

impl Version {
    /// Appends the header that announces `ends`. Where only one of them is IPv4, both are written
    /// as IPv6: a header has one family.
    pub fn write(self, ends: &Ends, out: &mut Vec<u8>) {
        let pair = match (ends.source.ip().to_canonical(), ends.destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Pair::V4(source, destination),
            (source, destination) => Pair::V6(to_ipv6(source), to_ipv6(destination)),
        };
        let ports = [ends.source.port(), ends.destination.port()];
        match self {
            Self::V1 => pair.write_line(ports, out),
            Self::V2 => pair.write_binary(ports, out),
        }
    }
}

enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn to_ipv6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

impl Pair {
    fn write_line(&self, [source_port, destination_port]: [u16; 2], out: &mut Vec<u8>) {
        use std::io::Write;
        // Writing into a Vec does not fail.
        drop(match self {
            Self::V4(source, destination) => write!(out, "PROXY TCP4 {source} {destination}"),
            Self::V6(source, destination) => write!(out, "PROXY TCP6 {source} {destination}"),
        });
        drop(write!(out, " {source_port} {destination_port}\r\n"));
    }

    fn write_binary(&self, ports: [u16; 2], out: &mut Vec<u8>) {
        out.extend_from_slice(SIGNATURE);
        match self {
            Self::V4(source, destination) => {
                out.extend_from_slice(&[PROXY, IPV4_STREAM, 0, 12]);
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
            }
            Self::V6(source, destination) => {
                out.extend_from_slice(&[PROXY, IPV6_STREAM, 0, 36]);
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
            }
        }
        out.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    }
}

#[cfg(test)]
mod tests;
