//! Cookies: of a request (RFC 6265, section 4.2), and the name of one that a response sets.

/// The value of the first cookie of that name in a Cookie field.
pub fn find<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    all(field, name).next()
}

/// The values of all cookies of that name in a Cookie field.
pub fn all<'a>(field: &'a [u8], name: &str) -> impl Iterator<Item = &'a [u8]> {
    field.split(|byte| *byte == b';').filter_map(move |pair| value(pair, name))
}

/// Writes what a Cookie field has besides the cookies of that name, behind `before` if there is
/// anything.
pub fn write_others(field: &[u8], name: &str, before: &[u8], out: &mut Vec<u8>) -> bool {
    let mut separator = before;
    for pair in field.split(|byte| *byte == b';') {
        if value(pair, name).is_none() && !pair.trim_ascii().is_empty() {
            out.extend_from_slice(separator);
            out.extend_from_slice(pair.trim_ascii());
            separator = b"; ";
        }
    }
    separator != before
}

/// Whether a Set-Cookie field sets the cookie of that name.
pub fn sets(field: &[u8], name: &str) -> bool {
    let pair = field.split(|byte| *byte == b';').next();
    pair.is_some_and(|pair| value(pair, name).is_some())
}

fn value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let field = b"ab=1; a=2;b=\"3\" ; a=4; c";
        assert_eq!(find(field, "a"), Some(&b"2"[..]));
        assert_eq!(all(field, "a").collect::<Vec<_>>(), [b"2", b"4"]);
        assert_eq!(find(field, "b"), Some(&b"\"3\""[..]));
        assert_eq!(find(field, "c"), None);
        assert_eq!(find(b"", "a"), None);
    }

    #[test]
    fn a_cookie_is_left_out_wherever_it_stands() {
        for (field, rest) in [
            ("a=1; b=2; c", Some("> b=2; c")),
            ("b=2;a=1", Some("> b=2")),
            ("b=2; a=1; ; c=a=1", Some("> b=2; c=a=1")),
            ("ab=1", Some("> ab=1")),
            ("a=1; a=2", None),
            ("a=", None),
        ] {
            let mut out = Vec::new();
            assert_eq!(write_others(field.as_bytes(), "a", b"> ", &mut out), rest.is_some());
            assert_eq!(String::from_utf8_lossy(&out), rest.unwrap_or_default(), "{field}");
        }
    }

    #[test]
    fn a_cookie_is_set_by_its_whole_name() {
        assert!(sets(b"a=1; Path=/", "a"));
        assert!(sets(b" a=", "a"));
        assert!(!sets(b"ab=1; a=2", "a"));
        assert!(!sets(b"a", "a"));
    }
}
