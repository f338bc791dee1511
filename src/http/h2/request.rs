//! Request heads.

use ::http::header::{self, HeaderMap, HeaderValue};
use ::http::uri::{self, Authority as UriAuthority, PathAndQuery, Scheme};
use ::http::{Method, Request, Uri};
use bytes::Bytes;

use super::text::{NotExpressible, add, each_field, is_of_connection, split_line, write_line};
use crate::http::authority::Authority;
use crate::http::refusal::Refusal;
use crate::http::websocket;

/// Writes the HTTP/1.1 head that says what `request` says. `has_content`: its stream goes on.
///
/// The text has yet to be read by [`RequestHead`](crate::http::h1::RequestHead), which finds most
/// of what can be wrong. Here is found what the text could not show any more.
pub fn write_request(
    request: &Request<()>,
    has_content: bool,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let uri = request.uri();
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    // Without a path there is CONNECT only, which is refused by its name.
    out.extend_from_slice(uri.path_and_query().map_or("*", PathAndQuery::as_str).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_host(uri, request.headers(), out)?;
    write_fields(request.headers(), out)?;
    if has_content && !request.headers().contains_key(header::CONTENT_LENGTH) {
        write_line(out, "transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes the HTTP/1.1 head that asks to switch to WebSocket, for a CONNECT that asks for it as
/// `protocol` (RFC 8441). The answer is checked by `key`.
pub fn write_websocket_request(
    request: &Request<()>,
    protocol: &[u8],
    key: [u8; 16],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let (true, Some(target)) =
        (protocol.eq_ignore_ascii_case(b"websocket"), request.uri().path_and_query())
    else {
        return Err(Refusal::MethodUnsupported);
    };
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(target.as_str().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_host(request.uri(), request.headers(), out)?;
    write_fields(request.headers(), out)?;
    out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
    websocket::push_key(key, out);
    out.extend_from_slice(b"\r\n\r\n");
    Ok(())
}

/// `:authority` is what Host is in HTTP/1.1. A request may have both if they agree
/// (RFC 9113, 8.3.1).
fn write_host(uri: &Uri, fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let is_http = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    if uri.scheme().is_some_and(|scheme| !is_http(scheme)) {
        return Err(Refusal::TargetScheme);
    }
    let Some(authority) = uri.authority() else {
        fields
            .get_all(header::HOST)
            .iter()
            .for_each(|host| write_line(out, "host", host.as_bytes()));
        return Ok(());
    };
    write_line(out, "host", authority.as_str().as_bytes());
    let mut hosts = fields.get_all(header::HOST).iter();
    let Some(host) = hosts.next() else { return Ok(()) };
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    let default_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let said = Authority::parse(host.as_bytes()).ok_or(Refusal::HostInvalid)?;
    match Authority::parse(authority.as_str().as_bytes()) {
        Some(asked) if asked.is_same(&said, default_port) => Ok(()),
        _ => Err(Refusal::HostDisagrees),
    }
}

fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Refusal> {
    for name in fields.keys().filter(|&name| name != header::HOST) {
        let mut values = fields.get_all(name).iter();
        if name == header::COOKIE {
            write_cookie(values, out)?;
            continue;
        }
        values.try_for_each(|value| {
            write_line(out, name.as_str(), whole(value)?);
            Ok(())
        })?;
    }
    Ok(())
}

/// A client may send its cookies in pieces, which are one field in HTTP/1.1 (RFC 9113, 8.2.3).
fn write_cookie<'a>(
    crumbs: impl Iterator<Item = &'a HeaderValue>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let mut before: &[u8] = b"cookie: ";
    for crumb in crumbs {
        out.extend_from_slice(before);
        out.extend_from_slice(whole(crumb)?);
        before = b"; ";
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The value, if it is the same with its ends trimmed, as a reader of text does
/// (RFC 9113, 8.2.1).
fn whole(value: &HeaderValue) -> Result<&[u8], Refusal> {
    match value.as_bytes() {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => Err(Refusal::FieldValuePadded),
        value => Ok(value),
    }
}

/// Reads the head of a request that goes to a server of HTTP/2.
pub fn read_request(text: &[u8], scheme: Scheme) -> Result<Request<()>, NotExpressible> {
    let mut text = Bytes::copy_from_slice(text);
    let line = split_line(&mut text)?;
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(NotExpressible);
    };
    let method = Method::from_bytes(method).map_err(|_| NotExpressible)?;
    let target = PathAndQuery::from_maybe_shared(line.slice_ref(target));

    let mut fields = HeaderMap::new();
    let mut authority = None;
    each_field(text, |name, value| match name {
        header::HOST => {
            let host = UriAuthority::try_from(value.as_bytes()).map_err(|_| NotExpressible)?;
            authority = Some(host);
            Ok(())
        }
        name if is_of_connection(&name) => Ok(()),
        name => add(&mut fields, name, value),
    })?;

    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority.ok_or(NotExpressible)?);
    parts.path_and_query = Some(target.map_err(|_| NotExpressible)?);
    let uri = Uri::from_parts(parts).map_err(|_| NotExpressible)?;

    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = fields;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{HeadLimits, RequestHead, TargetForm};
    use crate::http::message::BodyLength;
    use crate::http::upgrade;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20 };

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn text(request: &Request<()>, has_content: bool) -> Result<String, Refusal> {
        let mut out = Vec::new();
        write_request(request, has_content, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    /// What the engine makes of it.
    fn understood(request: &Request<()>, has_content: bool) -> Result<RequestHead, Refusal> {
        let text = text(request, has_content)?;
        let mut head = RequestHead::default();
        assert!(head.parse(text.as_bytes(), &LIMITS)?, "{text}");
        Ok(head)
    }

    #[test]
    fn a_request_is_the_head_that_says_the_same() {
        let request =
            request("POST", "https://a.example/b?c=d", &[("x-a", "1"), ("te", "trailers")]);
        assert_eq!(
            text(&request, true).unwrap(),
            "POST /b?c=d HTTP/1.1\r\nhost: a.example\r\nx-a: 1\r\nte: trailers\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        let head = understood(&request, true).unwrap();
        assert_eq!((head.form, head.body), (TargetForm::Origin, BodyLength::Chunked));
        assert!(head.accepts_trailers);
        assert_eq!(understood(&request, false).unwrap().body, BodyLength::Empty);
    }

    #[test]
    fn a_stated_length_is_kept() {
        let request = request("POST", "http://a/", &[("content-length", "5")]);
        assert_eq!(understood(&request, true).unwrap().body, BodyLength::Fixed(5));
    }

    #[test]
    fn crumbs_of_a_cookie_are_one_field() {
        let crumbs = [("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3")];
        let text = text(&request("GET", "http://a/", &crumbs), false).unwrap();
        assert!(text.contains("\r\ncookie: a=1; c=3\r\nx-b: 2\r\n"), "{text}");
    }

    #[test]
    fn host_and_authority_have_to_agree() {
        let host = |uri: &str, hosts: &[&str]| {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            understood(&request("GET", uri, &fields), false).map(|head| head.fields.len())
        };
        assert_eq!(host("http://a/", &[]), Ok(1));
        assert_eq!(host("http://a/", &["A:80"]), Ok(1));
        assert_eq!(host("https://a:443/", &["a"]), Ok(1));
        assert_eq!(host("/", &["a"]), Ok(1));
        assert_eq!(host("/", &[]), Err(Refusal::HostMissing));
        assert_eq!(host("/", &["a", "a"]), Err(Refusal::HostRepeated));
        assert_eq!(host("http://a/", &["a", "a"]), Err(Refusal::HostRepeated));
        assert_eq!(host("http://a/", &["b"]), Err(Refusal::HostDisagrees));
        assert_eq!(host("http://a/", &["a:443"]), Err(Refusal::HostDisagrees));
        assert_eq!(host("http://a/", &["a b"]), Err(Refusal::HostInvalid));
        assert_eq!(host("http://user@a/", &[]), Err(Refusal::HostInvalid));
    }

    #[test]
    fn what_http_1_refuses_is_refused() {
        let finding = |method: &str, uri: &str, fields: &[(&str, &str)]| {
            understood(&request(method, uri, fields), false).unwrap_err()
        };
        assert_eq!(finding("CONNECT", "a:80", &[]), Refusal::MethodUnsupported);
        assert_eq!(finding("TRACE", "http://a/", &[]), Refusal::MethodRefused);
        assert_eq!(finding("get", "http://a/", &[]), Refusal::MethodCase);
        assert_eq!(finding("GET", "ftp://a/", &[]), Refusal::TargetScheme);
        let twin = [("content_length", "5")];
        assert_eq!(finding("GET", "http://a/", &twin), Refusal::FieldNameTwin);
        let lengths = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(finding("GET", "http://a/", &lengths), Refusal::LengthRepeated);
        for padded in [" a", "a ", "\ta", "a\t", " "] {
            let fields = [("x-a", padded)];
            assert_eq!(finding("GET", "http://a/", &fields), Refusal::FieldValuePadded);
            let crumbs = [("cookie", padded)];
            assert_eq!(finding("GET", "http://a/", &crumbs), Refusal::FieldValuePadded);
        }
    }

    #[test]
    fn an_extended_connect_asks_for_a_websocket() {
        let connect = request("CONNECT", "https://a/chat?b", &[("sec-websocket-version", "13")]);
        let mut out = Vec::new();
        write_websocket_request(&connect, b"WebSocket", [0; 16], &mut out).unwrap();
        let mut head = RequestHead::default();
        assert_eq!(head.parse(&out, &LIMITS), Ok(true));
        assert_eq!(upgrade::asked(&head, &out), Some(&b"websocket"[..]));
        assert_eq!(head.path.of(&out), b"/chat");
        for protocol in [&b"h2c"[..], b"connect-udp", b"websocket\r\nx: y"] {
            let written = write_websocket_request(&connect, protocol, [0; 16], &mut Vec::new());
            assert_eq!(written, Err(Refusal::MethodUnsupported));
        }
    }

    #[test]
    fn no_field_can_end_its_line() {
        for byte in (0..0x20).chain([0x7f]).filter(|&byte| byte != b'\t') {
            assert!(HeaderValue::from_bytes(&[b'a', byte, b'b']).is_err(), "{byte}");
            assert!(header::HeaderName::from_bytes(&[b'a', byte, b'b']).is_err(), "{byte}");
        }
    }

    #[test]
    fn a_request_to_a_server_is_what_its_text_says() {
        let text = b"PUT /a?b HTTP/1.1\r\nhost: c:81\r\nX-A:  1\r\ntransfer-encoding: chunked\r\n\
            te: trailers\r\nconnection: close\r\nx-a: 2\r\n\r\n";
        let request = read_request(text, Scheme::HTTP).unwrap();
        assert_eq!(request.method(), "PUT");
        assert_eq!(request.uri(), "http://c:81/a?b");
        let fields: Vec<_> =
            request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(fields, [("x-a", "1"), ("x-a", "2"), ("te", "trailers")]);
        let asterisk = b"OPTIONS * HTTP/1.1\r\nhost: c\r\n\r\n";
        assert_eq!(read_request(asterisk, Scheme::HTTP).unwrap().uri().path(), "*");
    }

    #[test]
    fn what_cannot_be_said_is_not_said_differently() {
        for text in [
            &b"GET /<a> HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1",
            b"GET\r\nhost: a\r\n\r\n",
        ] {
            assert!(read_request(text, Scheme::HTTP).is_err(), "{text:?}");
        }
    }
}
