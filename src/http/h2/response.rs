//! Response heads.

use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;

use super::text::{NotExpressible, add, each_field, is_of_connection, split_line, write_line};

/// Reads the head of a response, interim or final, that goes to a client of HTTP/2.
pub fn read_response(text: &[u8]) -> Result<Response<()>, NotExpressible> {
    let mut text = Bytes::copy_from_slice(text);
    let line = split_line(&mut text)?;
    let code = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let code = code.ok_or(NotExpressible)?;
    let status = StatusCode::from_bytes(code).map_err(|_| NotExpressible)?;
    let mut fields = HeaderMap::new();
    each_field(text, |name, value| match is_of_connection(&name) {
        true => Ok(()),
        false => add(&mut fields, name, value),
    })?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    Ok(response)
}

/// Writes the HTTP/1.1 head that says what a server of HTTP/2 has said. It has yet to be read by
/// [`ResponseHead`](crate::http::h1::ResponseHead); where it states no length, the body ends with
/// the stream.
pub fn write_response(response: &Response<()>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status().as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        write_line(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{HeadLimits, ResponseHead};
    use crate::http::message::{BodyLength, Method};

    #[test]
    fn a_response_is_what_its_text_says() {
        let text = b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nset-cookie: a\r\nconnection: close\r\n\
            transfer-encoding: chunked\r\nset-cookie: b\r\ncontent-length: 5\r\n\r\n";
        let response = read_response(text).unwrap();
        assert_eq!(response.status(), 404);
        let fields: Vec<_> =
            response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        let cookies = [("set-cookie", "a"), ("set-cookie", "b")];
        assert_eq!(fields, [("x-a", "1"), cookies[0], cookies[1], ("content-length", "5")]);
    }

    #[test]
    fn values_keep_every_byte_that_the_engine_lets_through() {
        let response = read_response(b"HTTP/1.1 103 \r\nlink:\t<\xe9>;a\tb \r\n\r\n").unwrap();
        assert_eq!(response.status(), 103);
        assert_eq!(response.headers()["link"].as_bytes(), b"<\xe9>;a\tb");
    }

    #[test]
    fn text_that_is_no_head_is_an_error() {
        for text in [&b"HTTP/1.1 20\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"] {
            assert!(read_response(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_a_server_says_is_read_by_the_engine() {
        let response = Response::builder().status(200);
        let response = response.header("content-type", "application/grpc").body(()).unwrap();
        let mut out = Vec::new();
        write_response(&response, &mut out);
        let mut head = ResponseHead::default();
        let limits = HeadLimits { bytes: 4096, fields: 20 };
        assert_eq!(head.parse(&out, &limits, Method::Post), Ok(true));
        assert_eq!((head.status, head.body), (200, BodyLength::UntilClose));
        assert_eq!(head.get(&out, "content-type"), Some(&b"application/grpc"[..]));
    }
}
