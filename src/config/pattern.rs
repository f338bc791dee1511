//! Hosts and paths that a route matches.

use super::address::{host_and_port, host_name, plain_path};
use super::reader::Value;
use super::section::Section;
use crate::proxy::settings::{HostPattern, PathPattern, PathRegex};

/// `example.com` or `*.example.com`.
pub(super) fn host(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Err("Leave the key out to match every host.".to_owned());
    }
    if let Some(suffix) = text.strip_prefix("*.") {
        let suffix = suffix.to_ascii_lowercase();
        host_name(&suffix)?;
        return Ok(HostPattern::Suffix(format!(".{suffix}")));
    }
    if text.contains('*') {
        return Err(
            "A \"*\" stands for whole labels at the beginning, as in \"*.example.com\".".to_owned()
        );
    }
    if text.ends_with('.') {
        return Err("Leave out the dot at the end.".to_owned());
    }
    match host_and_port(text)? {
        (_, Some(_)) => Err("Leave out the port: hosts are compared without it.".to_owned()),
        // As it stands in a Host field.
        (ip, None) if ip.contains(':') => Ok(HostPattern::Exact(format!("[{ip}]"))),
        (name, None) => Ok(HostPattern::Exact(name)),
    }
}

/// A prefix, or a table that says how to compare.
pub(super) fn path(value: &Value<'_>) -> Option<PathPattern> {
    if value.is_string() {
        return value.parse("a path", prefix).map(PathPattern::Prefix);
    }
    value.section(kind_of_path).flatten()
}

/// What `{ exact = "/path" }` and `{ regex = "^/path" }` stand for.
fn kind_of_path(path: &mut Section<'_>) -> Option<PathPattern> {
    let exact = path.take("exact", |exact| exact.parse("a path such as \"/health\"", whole));
    let regex = path
        .take("regex", |regex| regex.parse("an expression such as \"^/v[12]/\"", PathRegex::new));
    let given = ["exact", "regex"].map(|key| path.at().child(key).is_present());
    match given {
        [false, false] => path.at().problem(
            "Write the prefix itself, { exact = \"/health\" } or { regex = \"^/v[12]/\" }.",
        ),
        [true, true] => path.at().problem("Keep one of exact and regex."),
        _ => {}
    }
    exact.map(PathPattern::Exact).or(regex.map(PathPattern::Regex))
}

/// A path without its trailing slash, so `/` is the empty string.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let path = whole(text)?;
    Ok(path.strip_suffix('/').unwrap_or(&path).to_owned())
}

pub(super) fn whole(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("A path begins with \"/\". Write \"/{text}\"."));
    }
    if text.contains(['?', '#']) {
        return Err("Only the path is compared: leave out what follows \"?\" or \"#\".".to_owned());
    }
    plain_path(text)?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lowered_to_lower_case() {
        assert_eq!(host("API.Example.com").unwrap(), HostPattern::Exact("api.example.com".into()));
        assert_eq!(host("*.Example.com").unwrap(), HostPattern::Suffix(".example.com".into()));
        assert_eq!(host("[::1]").unwrap(), HostPattern::Exact("[::1]".into()));
        assert_eq!(host("10.0.0.1").unwrap(), HostPattern::Exact("10.0.0.1".into()));
    }

    #[test]
    fn what_no_host_can_match_is_refused() {
        for text in ["", "*", "a.*", "*a.com", "*.", "a:80", "a.", "ü.com", "a b", "[::1]:80"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_prefix_loses_its_trailing_slash() {
        assert_eq!(prefix("/v1/").unwrap(), "/v1");
        assert_eq!(prefix("/v1").unwrap(), "/v1");
        assert_eq!(prefix("/").unwrap(), "");
    }

    #[test]
    fn what_no_path_can_match_is_refused() {
        for text in ["", "v1", "/a?b", "/a#b", "/a b", "/ü", "/../a", "/a/./b", "/%g0"] {
            assert!(whole(text).is_err(), "{text:?}");
        }
    }
}
