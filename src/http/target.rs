//! Paths, normalised once and in one way: what is matched is what is forwarded.
//!
//! Escapes of unreserved characters are decoded, the others are written in upper case, and dot
//! segments are resolved (RFC 3986, 6.2.2). Refused is what servers are known to read in two
//! ways: an encoded slash or NUL, a backslash in either form, dot segments that lead above the
//! root or have a parameter. Empty segments, as in `//v1`, stay.

use memchr::{memchr_iter, memrchr};

use super::refusal::Refusal;
use super::syntax::path_end;

/// Normalises the path of an origin or absolute target. Returns whether it had to be changed; if
/// so, it is in `out`, whose former content is lost either way.
pub fn normalise(path: &[u8], out: &mut Vec<u8>) -> Result<bool, Refusal> {
    if is_plain(path) {
        return Ok(false);
    }
    out.clear();
    // An absolute target may have no path; that is the root (RFC 9110, 4.2.3).
    let segments = match path {
        [] => path,
        [b'/', segments @ ..] => segments,
        _ => return Err(Refusal::PathInvalid),
    };
    let mut segments = segments.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        push_segment(segment, segments.peek().is_none(), out)?;
    }
    Ok(out != path)
}

/// Whether the path is normal at first glance: no escape, no backslash, no segment that starts
/// with a dot, no byte that is out of place.
fn is_plain(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path_end(path) == path.len()
        && memchr_iter(b'.', path).all(|dot| path[dot - 1] != b'/')
}

fn push_segment(segment: &[u8], is_last: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let start = out.len();
    out.push(b'/');
    decode(segment, out)?;
    match &out[start + 1..] {
        b"." => out.truncate(start),
        b".." => {
            out.truncate(start);
            let parent = memrchr(b'/', out).ok_or(Refusal::PathAboveRoot)?;
            out.truncate(parent);
        }
        [b'.', b';', ..] | [b'.', b'.', b';', ..] => return Err(Refusal::PathDotParameter),
        _ => return Ok(()),
    }
    // A dot segment at the end names a directory.
    if is_last {
        out.push(b'/');
    }
    Ok(())
}

/// Appends a segment with its escapes normalised.
fn decode(mut segment: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    loop {
        let (plain, rest) = segment.split_at(path_end(segment));
        out.extend_from_slice(plain);
        segment = match rest {
            [] => return Ok(()),
            [b'%', high, low, rest @ ..] => {
                push_escape(*high, *low, out)?;
                rest
            }
            [b'%', ..] => return Err(Refusal::PathEscapeInvalid),
            [b'\\', ..] => return Err(Refusal::PathBackslash),
            _ => return Err(Refusal::PathInvalid),
        };
    }
}

fn push_escape(high: u8, low: u8, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let digit = |byte: u8| (byte as char).to_digit(16).ok_or(Refusal::PathEscapeInvalid);
    let value = (digit(high)? << 4 | digit(low)?) as u8;
    match value {
        b'/' => Err(Refusal::PathSlashEncoded),
        0 => Err(Refusal::PathNulEncoded),
        b'\\' => Err(Refusal::PathBackslash),
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
            out.push(value);
            Ok(())
        }
        _ => {
            out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn normal(path: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut out = b"left over".to_vec();
        Ok(if normalise(path, &mut out)? { out } else { path.to_vec() })
    }

    #[test]
    fn equal_paths_become_one() {
        let cases = [
            ("/", "/"),
            ("", "/"),
            ("/v1/chat", "/v1/chat"),
            ("//v1//chat/", "//v1//chat/"),
            ("/%7euser/%41%2D%2e%5f", "/~user/A-._"),
            ("/a%3ab%e2%82%ac", "/a%3Ab%E2%82%AC"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a//..", "/a/"),
            ("/.well-known/x..y/...", "/.well-known/x..y/..."),
            ("/index.html", "/index.html"),
            ("/a;b=1/c,d", "/a;b=1/c,d"),
            ("/100%25", "/100%25"),
        ];
        for (path, expected) in cases {
            assert_eq!(normal(path.as_bytes()).unwrap(), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn paths_that_servers_read_in_two_ways_are_refused() {
        let cases: [(&[u8], Refusal); 19] = [
            (b"/a%2fb", Refusal::PathSlashEncoded),
            (b"/a%2Fb", Refusal::PathSlashEncoded),
            (b"/a%00", Refusal::PathNulEncoded),
            (b"/a%5cb", Refusal::PathBackslash),
            (b"/a\\b", Refusal::PathBackslash),
            (b"/..", Refusal::PathAboveRoot),
            (b"/a/../../b", Refusal::PathAboveRoot),
            (b"/%2e%2e/etc", Refusal::PathAboveRoot),
            (b"/a/..;/b", Refusal::PathDotParameter),
            (b"/a/.;x=1/b", Refusal::PathDotParameter),
            (b"/%", Refusal::PathEscapeInvalid),
            (b"/%4", Refusal::PathEscapeInvalid),
            (b"/%zz", Refusal::PathEscapeInvalid),
            (b"/%+1", Refusal::PathEscapeInvalid),
            (b"/a%4/b", Refusal::PathEscapeInvalid),
            (b"/a b", Refusal::PathInvalid),
            (b"/\xc3\xa9", Refusal::PathInvalid),
            (b"/a#b", Refusal::PathInvalid),
            (b"a/b", Refusal::PathInvalid),
        ];
        for (path, refusal) in cases {
            assert_eq!(normal(path), Err(refusal), "{}", path.escape_ascii());
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        let mut out = Vec::new();
        assert_eq!(normalise(b"/v1/chat/completions.json", &mut out), Ok(false));
        assert_eq!(out.capacity(), 0);
    }

    proptest! {
        #[test]
        fn a_normal_path_is_normal(path in "/([a.;]|/|%2[0-9a-fA-F]|%[4-7][0-9a-f]){0,12}") {
            if let Ok(once) = normal(path.as_bytes()) {
                prop_assert_eq!(normal(&once), Ok(once.clone()));
                prop_assert!(!once.split(|&b| b == b'/').any(|s| s == b"." || s == b".."));
            }
        }

        #[test]
        fn any_bytes_get_an_answer(path in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(once[0], b'/');
            }
        }
    }
}
