//! Reading of request heads, as far as the upstream must understand them.

/// A request head, without its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// Bytes of the body.
    pub(crate) content_length: usize,
}

/// The upstream answers gateways, which write well-formed heads and lengths; all else is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Request<'a> {
    pub(crate) fn parse(head: &'a [u8]) -> Result<Self, Malformed> {
        let head = std::str::from_utf8(head).map_err(|_| Malformed)?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Malformed);
        };
        let mut content_length = 0;
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                content_length = value.trim().parse().map_err(|_| Malformed)?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Malformed);
            }
        }
        Ok(Self { method, target, content_length })
    }
}

/// Length of the head at the start of `input`, with its empty line.
pub(crate) fn head_length(input: &[u8]) -> Option<usize> {
    input.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_method_target_and_length() {
        let head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(
            Request::parse(head),
            Ok(Request { method: "POST", target: "/v1/chat/completions", content_length: 12 })
        );
    }

    #[test]
    fn what_the_upstream_cannot_frame_is_refused() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET /\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: ten\r\n\r\n",
        ] {
            assert_eq!(Request::parse(head.as_bytes()), Err(Malformed), "{head:?}");
        }
    }

    #[test]
    fn a_head_ends_after_its_empty_line() {
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r\nbody"), Some(18));
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r"), None);
    }
}
