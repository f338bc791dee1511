//! The access log: one exchange, one line.

mod combined;
mod httplog;
mod json;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::record::Outcome;
use super::stamp::StampCache;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFormat {
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
    /// What HAProxy writes under `option httplog`.
    Httplog,
}

/// What is written of one exchange. `None` fields are left out of the line.
///
/// Fields of type `&[u8]` are as the client sent them: anything at all.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// When the first byte of the request came, in nanoseconds since 1970.
    pub at_unix_ns: u64,
    /// Port 0: the port is not known, and left out.
    pub client: SocketAddr,
    /// The other end of the connection, where that is not the client.
    pub peer: Option<SocketAddr>,
    pub listener: &'a str,
    /// The path pattern of the route.
    pub route: Option<&'a str>,
    pub method: &'a [u8],
    pub host: Option<&'a [u8]>,
    /// As requested, without the query: queries carry secrets too often.
    pub path: &'a [u8],
    /// `HTTP/1.1` and so on.
    pub version: &'a str,
    /// `None` if no response head went out.
    pub status: Option<u16>,
    /// Bytes of the request from the client, head and framing included.
    pub bytes_in: u64,
    /// Bytes of the response to the client, head and framing included.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the response, in microseconds.
    pub total_us: u64,
    /// How long it waited for room on the cluster, if it had to.
    pub queued_us: Option<u64>,
    /// From the first byte of the request's head to its last; `None` if it was never whole.
    pub head_us: Option<u64>,
    /// How long the connection to the endpoint took, if one was made.
    pub connect_us: Option<u64>,
    /// From the last byte of the request upstream to the first of the response.
    pub first_byte_us: Option<u64>,
    /// Time spent in Ringgate.
    pub overhead_us: Option<u64>,
    pub cluster: Option<&'a str>,
    /// The address of the endpoint of the last attempt.
    pub endpoint: Option<&'a str>,
    pub attempts: u32,
    /// Whether the last attempt found its connection in the pool.
    pub reused: bool,
    pub request_id: &'a [u8],
    pub user_agent: Option<&'a [u8]>,
    /// Without its query, for the same reason as the path. Only [`LineFormat::Combined`] has it.
    pub referer: Option<&'a [u8]>,
    /// The model's name in the configuration.
    pub model: Option<&'a str>,
    /// Whether the answer was an event stream.
    pub streamed: bool,
    pub outcome: Outcome,
    /// Why the request was refused, or what the upstream did wrong.
    pub reason: Option<&'a str>,
    pub worker: usize,
    pub load: Load,
}

/// How much was going on when the line was written, all workers together. Only
/// [`LineFormat::Httplog`] has it, so nobody else need count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// Client connections.
    pub connections: usize,
    /// Those of the same listener.
    pub listener_connections: usize,
    /// Other exchanges in flight on endpoints of the same cluster.
    pub cluster_in_flight: u32,
    /// Those on the same endpoint.
    pub endpoint_in_flight: u32,
}

impl Line<'_> {
    /// Appends the line, without a line feed at its end and with none inside, whatever bytes the
    /// client sent: they can break out of neither their field nor their line.
    pub fn write(&self, format: LineFormat, stamps: &mut StampCache, out: &mut Vec<u8>) {
        match format {
            LineFormat::Json => self.write_json(stamps, out),
            LineFormat::Combined => self.write_combined(stamps, out),
            LineFormat::Httplog => self.write_httplog(stamps, out),
        }
    }

    /// Writes `METHOD PATH VERSION`, or `otherwise` if the head was not understood. `escape`
    /// writes what must not stand in the line as it is.
    fn write_request_line(
        &self,
        otherwise: &[u8],
        escape: fn(&mut Vec<u8>, &[u8]),
        out: &mut Vec<u8>,
    ) {
        if self.method.is_empty() {
            return out.extend_from_slice(otherwise);
        }
        escape(out, self.method);
        out.push(b' ');
        escape(out, self.path);
        out.push(b' ');
        out.extend_from_slice(self.version.as_bytes());
    }
}

fn write_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `value` with each byte that `is_plain` refuses as `lead` and two hexadecimal digits.
fn write_hex_escaped(out: &mut Vec<u8>, value: &[u8], lead: &[u8], is_plain: fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value {
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(lead);
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Writes `address` with its port, if it has one.
fn write_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        _ if address.port() == 0 => write_ip(out, address.ip()),
        SocketAddr::V4(_) => {
            write_ip(out, address.ip());
            out.push(b':');
            write_number(out, u64::from(address.port()));
        }
        // Writing to a Vec cannot fail.
        SocketAddr::V6(v6) => write!(out, "{v6}").unwrap_or_default(),
    }
}

/// The common case goes without the formatting machinery, which alone would cost a third of the
/// line.
fn write_ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (n, octet) in v4.octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                write_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => write!(out, "{v6}").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn line() -> Line<'static> {
        Line {
            at_unix_ns: 1_700_000_000_123_456_789,
            client: "192.0.2.7:50123".parse().unwrap(),
            peer: Some("10.0.0.1:4711".parse().unwrap()),
            listener: "public",
            route: Some("/v1/"),
            method: b"POST",
            host: Some(b"api.example.com"),
            path: b"/v1/chat/completions",
            version: "HTTP/1.1",
            status: Some(200),
            bytes_in: 512,
            bytes_out: 4096,
            total_us: 1_234_567,
            queued_us: Some(40),
            head_us: Some(1_500),
            connect_us: Some(310),
            first_byte_us: Some(200_000),
            overhead_us: Some(12),
            cluster: Some("model:gpt-4"),
            endpoint: Some("10.0.1.10:8080"),
            attempts: 2,
            reused: false,
            request_id: b"01HF",
            user_agent: Some(b"curl/8.5.0"),
            referer: Some(b"https://example.com/start"),
            model: Some("gpt-4"),
            streamed: true,
            outcome: Outcome::Completed,
            reason: None,
            worker: 1,
            load: Load {
                connections: 9,
                listener_connections: 8,
                cluster_in_flight: 7,
                endpoint_in_flight: 3,
            },
        }
    }

    proptest! {
        #[test]
        fn any_bytes_stay_within_their_line(
            path: Vec<u8>, agent: Vec<u8>, host: Vec<u8>, method: Vec<u8>, referer: Vec<u8>,
        ) {
            let line = Line {
                path: &path,
                user_agent: Some(&agent),
                host: Some(&host),
                method: &method,
                referer: Some(&referer),
                ..line()
            };
            for format in [LineFormat::Combined, LineFormat::Httplog] {
                let mut out = Vec::new();
                line.write(format, &mut StampCache::default(), &mut out);
                prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
                let quotes = out.iter().filter(|&&byte| byte == b'"').count();
                prop_assert_eq!(quotes, if format == LineFormat::Combined { 6 } else { 2 });
            }
        }

        #[test]
        fn an_address_is_written_as_the_standard_library_does(address: SocketAddr) {
            let mut out = Vec::new();
            write_address(&mut out, address);
            let expected = match address.port() {
                0 => address.ip().to_string(),
                _ => address.to_string(),
            };
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
