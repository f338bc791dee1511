//! Addresses as people write them: what to listen on, whom to trust, where to connect.
//!
//! The errors of all of these are sentences for the operator.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::reader::Value;
use crate::proxy::settings::{Address, Cidr};

/// `sun_path` in unix(7), less the closing NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// RFC 1035, section 2.3.4, in the presentation form without the root's dot.
const HOST_NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// `IP:PORT` to accept connections on.
pub(super) fn bind(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.parse::<IpAddr>() {
        Ok(ip) => format!("The port is missing. Write \"{}\".", SocketAddr::new(ip, 8080)),
        Err(_) => {
            let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
            let port = port.unwrap_or(8080);
            format!(
                "This is not an IP address and a port.\nWrite \"0.0.0.0:{port}\" to accept on \
                 every address, \"127.0.0.1:{port}\" on this machine only, or \"[::1]:{port}\" \
                 for IPv6."
            )
        }
    })
}

/// `10.0.0.0/8`, or a single address.
pub(super) fn cidr(text: &str) -> Result<Cidr, String> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address
        .parse()
        .map_err(|_| "This is not an address block such as \"10.0.0.0/8\".".to_owned())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(|| {
            format!("The number after \"/\" counts bits: give one from 0 to {bits}.")
        })?,
    };
    // Peers are compared by their canonical address, which such a block can never contain.
    if address.to_canonical() != address {
        return Err("An IPv4 address inside IPv6. Write the IPv4 block instead.".to_owned());
    }
    let network = network(address, prefix);
    if network != address {
        return Err(format!(
            "{address} has bits outside its first {prefix}. Write \"{network}/{prefix}\" for the \
             block, or \"{address}/{bits}\" for this address alone."
        ));
    }
    Ok(Cidr { address, prefix })
}

/// A list of address blocks.
pub(super) fn blocks(list: &Value<'_>) -> Option<Vec<Cidr>> {
    let expected = "an address block such as \"10.0.0.0/8\"";
    let elements = list.elements("a list of address blocks such as [\"10.0.0.0/8\"]")?;
    Some(elements.iter().filter_map(|at| at.parse(expected, cidr)).collect())
}

/// `address` with only its first `prefix` bits.
fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

/// Stands in for an address that cannot be read.
pub(super) fn nowhere() -> Address {
    Address::Tcp { host: String::new(), port: 0 }
}

/// `HOST:PORT`, `srv:NAME` or `unix:PATH` to connect to.
pub(super) fn endpoint(text: &str) -> Result<Address, String> {
    if let Some(name) = text.strip_prefix("srv:") {
        return service(name);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    if text.contains("://") {
        return Err("Write only \"HOST:PORT\": the endpoint of a cluster has no scheme and no \
                    path."
            .to_owned());
    }
    let (host, port) = host_and_port(text)?;
    let port = port.ok_or_else(|| format!("The port is missing. Write \"{text}:PORT\"."))?;
    Ok(Address::Tcp { host, port })
}

fn service(name: &str) -> Result<Address, String> {
    if name.contains(':') {
        return Err("The records of a service tell its ports. Leave the port out.".to_owned());
    }
    let name = name.to_ascii_lowercase();
    host_name(name.strip_suffix('.').unwrap_or(&name))?;
    Ok(Address::Service(name))
}

fn unix(path: &str) -> Result<Address, String> {
    if !path.starts_with('/') {
        return Err("Write the whole path, from \"/\" on.".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX || path.contains('\0') {
        return Err(format!(
            "A socket's path has at most {UNIX_PATH_BYTES_MAX} bytes, none of them NUL."
        ));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

/// Where a provider is, from what its SDK calls the base URL.
#[derive(Debug, PartialEq)]
pub(super) struct BaseUrl {
    pub(super) address: Address,
    /// For the Host field: without the scheme's own port.
    pub(super) authority: String,
    /// Without its trailing slash; empty for the root.
    pub(super) path: String,
    /// The scheme is `https`.
    pub(super) is_private: bool,
}

pub(super) fn base_url(text: &str) -> Result<BaseUrl, String> {
    // Before anything else, so that no other message quotes a piece of a credential.
    if text.contains('@') {
        return Err("A URL with a user name. Put the credential into api_key.".to_owned());
    }
    let (rest, default_port) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, HTTPS_PORT),
        (None, Some(rest)) => (rest, HTTP_PORT),
        (None, None) => {
            return Err("This is not a URL such as \"http://127.0.0.1:8000/v1\".".to_owned());
        }
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(default_port);
    let authority = authority_of(&host, port, default_port);
    let is_private = default_port == HTTPS_PORT;
    let path = base_path(path)?;
    Ok(BaseUrl { address: Address::Tcp { host, port }, authority, path, is_private })
}

fn authority_of(host: &str, port: u16, default_port: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == default_port { host } else { format!("{host}:{port}") }
}

fn base_path(path: &str) -> Result<String, String> {
    if path.contains(['?', '#']) {
        return Err(
            "A base URL ends with its path: leave out what follows \"?\" or \"#\".".to_owned()
        );
    }
    plain_path(path)?;
    Ok(path.trim_end_matches('/').to_owned())
}

/// Checks the characters of a path and that no segment is `.` or `..`.
pub(super) fn plain_path(path: &str) -> Result<(), String> {
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic() || "\"#<>?\\^`{|}".contains(*c))
    {
        return Err(format!("A path cannot have the character {odd:?}. Write it as %XX."));
    }
    let mut escapes = path.split('%').skip(1);
    let is_escape = |after: &str| {
        after.len() >= 2 && after.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
    };
    if !escapes.all(is_escape) {
        return Err("A \"%\" must be followed by two hexadecimal digits.".to_owned());
    }
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err("A segment \".\" or \"..\" never reaches this point: such paths are resolved \
                    before."
            .to_owned());
    }
    Ok(())
}

/// A host, in lower case and without the brackets of IPv6, and the port if there is one.
pub(super) fn host_and_port(text: &str) -> Result<(String, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, after) = rest.split_once(']').ok_or("The \"[\" lacks its \"]\".")?;
        let ip: Ipv6Addr = ip.parse().map_err(|_| format!("\"{ip}\" is not an IPv6 address."))?;
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((ip.to_string(), None)),
            (_, Some(digits)) => Ok((ip.to_string(), Some(port(digits)?))),
            (_, None) => Err("Only \":PORT\" may follow the \"]\".".to_owned()),
        };
    }
    match text.split_once(':') {
        None => Ok((host(text)?, None)),
        Some((_, after)) if after.contains(':') => {
            Err("Write an IPv6 address in brackets, as in \"[::1]:8080\".".to_owned())
        }
        Some((name, digits)) => Ok((host(name)?, Some(port(digits)?))),
    }
}

fn port(digits: &str) -> Result<u16, String> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|port| *port > 0 && is_number);
    port.ok_or_else(|| format!("\"{digits}\" is not a port: give a number from 1 to 65535."))
}

/// An IPv4 address or a name, in lower case. A name may end with the root's dot.
fn host(text: &str) -> Result<String, String> {
    let looks_like_ip = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if looks_like_ip && !text.is_empty() {
        let ip: Ipv4Addr =
            text.parse().map_err(|_| format!("\"{text}\" is not an IPv4 address."))?;
        return Ok(ip.to_string());
    }
    let name = text.to_ascii_lowercase();
    host_name(name.strip_suffix('.').unwrap_or(&name))?;
    Ok(name)
}

/// Checks a name in lower case: letters, digits, `-`, and `_`, which container networks use.
pub(super) fn host_name(name: &str) -> Result<(), String> {
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    };
    if name.len() <= HOST_NAME_BYTES_MAX && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(if name.is_ascii() {
        format!("{name:?} is not a host name.")
    } else {
        format!("{name:?} is not a host name. Write its ASCII form, which begins with \"xn--\".")
    })
}

/// An address to listen on, as a command line has it.
pub fn parse_bind(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and a port are wanted, such as 127.0.0.1:8080".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn a_block_must_not_have_bits_outside_its_prefix() {
        assert_eq!(cidr("10.0.0.0/8").unwrap().prefix, 8);
        assert_eq!(cidr("0.0.0.0/0").unwrap().prefix, 0);
        assert_eq!(cidr("10.1.2.3").unwrap().prefix, 32);
        assert_eq!(cidr("fd00::/8").unwrap().prefix, 8);
        assert!(cidr("10.1.2.3/8").unwrap_err().contains("\"10.0.0.0/8\""));
        assert!(cidr("10.1.2.3/0").unwrap_err().contains("\"0.0.0.0/0\""));
        assert!(cidr("10.0.0.0/33").unwrap_err().contains("from 0 to 32"));
        assert!(cidr("::ffff:10.0.0.0/104").unwrap_err().contains("IPv4 block"));
    }

    #[test]
    fn endpoints_are_names_addresses_or_sockets() {
        assert_eq!(endpoint("Docs.internal:80").unwrap(), tcp("docs.internal", 80));
        assert_eq!(endpoint("10.0.0.1:8080").unwrap(), tcp("10.0.0.1", 8080));
        assert_eq!(endpoint("[::1]:80").unwrap(), tcp("::1", 80));
        assert_eq!(endpoint("unix:/run/a.sock").unwrap(), Address::Unix("/run/a.sock".into()));
        let service = Address::Service("_http._tcp.models.internal".into());
        assert_eq!(endpoint("srv:_http._tcp.Models.internal").unwrap(), service);
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let long = format!("unix:/{}", "a".repeat(107));
        for text in [
            "",
            ":",
            "a",
            "a:",
            "a:0",
            "a:+1",
            "a:65536",
            "10.0.0.300:1",
            "::1:80",
            "[::1]",
            "[::1",
            "[x]:1",
            "[::1]80",
            "-a:1",
            "a..b:1",
            "ü:1",
            "unix:a",
            "srv:",
            "srv:_http._tcp.a:80",
            "srv:a..b",
            "http://a:1",
            "a b:1",
            &long,
        ] {
            assert!(endpoint(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_base_url_gives_address_authority_and_path() {
        let url = base_url("http://Model.internal/v1/").unwrap();
        assert_eq!(url.address, tcp("model.internal", 80));
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("model.internal", "/v1"));

        let url = base_url("http://[::1]:8000").unwrap();
        assert_eq!(url.address, tcp("::1", 8000));
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("[::1]:8000", ""));
    }

    #[test]
    fn each_scheme_has_its_own_port() {
        let url = base_url("https://api.example.com/v1").unwrap();
        assert_eq!(url.address, tcp("api.example.com", 443));
        assert_eq!((url.authority.as_str(), url.is_private), ("api.example.com", true));
        assert_eq!(base_url("https://a:80").unwrap().authority, "a:80");
        assert_eq!(base_url("http://a:443").unwrap().authority, "a:443");
    }

    #[test]
    fn a_base_url_with_anything_more_is_refused() {
        for text in [
            "ftp://a",
            "a:80",
            "http://",
            "http://u:p@a/",
            "http://u:p/q@a/",
            "http://a/?x=1",
            "http://a/#x",
            "http://a/../b",
            "http://a/%zz",
            "http://a/%4",
            "http://a/a b",
        ] {
            assert!(base_url(text).is_err(), "{text:?}");
        }
    }
}
