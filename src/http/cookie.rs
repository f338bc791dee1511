//! Cookies of a request (RFC 6265, section 4.2).

/// The value of the first cookie of that name in a Cookie field.
pub fn find<'a>(field: &'a [u8], name: &str) -> Option<&'a [u8]> {
    field.split(|byte| *byte == b';').find_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let field = b"ab=1; a=2;b=\"3\" ; a=4; c";
        assert_eq!(find(field, "a"), Some(&b"2"[..]));
        assert_eq!(find(field, "b"), Some(&b"\"3\""[..]));
        assert_eq!(find(field, "c"), None);
        assert_eq!(find(b"", "a"), None);
    }
}
