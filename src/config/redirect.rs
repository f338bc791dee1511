//! `redirect` of a route.

use super::address::host_and_port;
use super::pattern;
use super::reader::Value;
use super::section::Section;
use crate::proxy::settings::{Redirect, Scheme};

/// Permanent, and the method stays: after 301 many clients repeat a POST as a GET without its body
/// (RFC 9110, 15.4.2).
const STATUS: u16 = 308;
/// Those that have a Location to follow (RFC 9110, 15.4).
const STATUSES: [u64; 5] = [301, 302, 303, 307, 308];

pub(super) fn redirect(section: &mut Section<'_>) -> Option<Redirect> {
    let status = section.take("status", status);
    let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
    let scheme = section.take("scheme", |value| value.choice(&schemes, &[]));
    let host = section.take("host", |value| value.parse("a host such as \"example.com\"", host));
    let port = section.take("port", |value| u16::try_from(value.integer(1..=65535)?).ok());
    let path = section.take("path", |value| value.parse("a path such as \"/new\"", path_and_query));
    report_missing(section);
    Some(Redirect { status: status.unwrap_or(STATUS), scheme, host, port, path })
}

fn report_missing(section: &Section<'_>) {
    let is_given = |key| section.at().child(key).is_present();
    for key in ["host", "port"] {
        if is_given(key) && !is_given("scheme") {
            let value = section.at().child(key);
            value.problem("Say by which scheme the host is reached: add scheme = \"https\".");
        }
    }
}

fn status(value: &Value<'_>) -> Option<u16> {
    let status = value.integer(300..=399)?;
    if !STATUSES.contains(&status) {
        value.problem("A redirect has the status 301, 302, 303, 307 or 308.");
        return None;
    }
    u16::try_from(status).ok()
}

fn host(text: &str) -> Result<String, String> {
    match host_and_port(text)? {
        (_, Some(port)) => Err(format!("Leave out the port and write port = {port}.")),
        (ip, None) if ip.contains(':') => Ok(format!("[{ip}]")),
        (name, None) => Ok(name),
    }
}

/// A path and, behind `?`, the query that takes the place of the client's.
fn path_and_query(text: &str) -> Result<String, String> {
    let (path, query) = text.split_once('?').map_or((text, ""), |(path, query)| (path, query));
    pattern::whole(path)?;
    // RFC 3986, 3.4, without what readers escape anew.
    let odd = |c: &char| !c.is_ascii_graphic() || "\"#<>\\^`{|}".contains(*c);
    match query.chars().find(odd) {
        Some(odd) => Err(format!("A query cannot have the character {odd:?}. Write it as %XX.")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_bring_its_query() {
        assert_eq!(path_and_query("/new?a=1&b=/?").unwrap(), "/new?a=1&b=/?");
        for text in ["new", "/a b", "/a?b c", "/a?b\r\nx: y", "/a#b", "/../a", "//x?\u{e9}"] {
            assert!(path_and_query(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_host_stands_as_it_will_in_the_location() {
        assert_eq!(host("WWW.Example.com").unwrap(), "www.example.com");
        assert_eq!(host("[::1]").unwrap(), "[::1]");
        assert!(host("a:8443").unwrap_err().contains("port = 8443"));
        assert!(host("a/b").is_err());
    }
}
