//! Redirects: where a client is sent, and that it cannot choose where.

use super::error::ExchangeError;
use super::exchange::Exchange;
use super::forward::write_number;
use super::scratch::Scratch;
use super::settings::{Redirect, Route};
use crate::http::refusal::Refusal;
use crate::telemetry::record::Outcome;

impl Exchange<'_> {
    pub(super) async fn redirect(
        &mut self,
        route: &Route,
        redirect: &Redirect,
    ) -> Result<Outcome, ExchangeError> {
        let Scratch { head, request, path, host, .. } = &*self.scratch;
        let asked = Asked {
            host,
            path: route.change_prefix(path),
            query: request.query.map(|query| query.of(head)),
        };
        let mut location = Vec::new();
        write_location(redirect, &asked, &mut location)?;
        self.keep_alive &= self.keeps_after_answer();
        self.start_answer(redirect.status);
        self.answer_field("location", &location);
        self.finish_answer(b"").await?;
        Ok(Outcome::Answered)
    }
}

/// What the client asked for. Its bytes have been checked: there is no line end among them.
struct Asked<'a> {
    /// Without a port; empty if the request names none, as HTTP/1.0 may.
    host: &'a [u8],
    /// What stands in front, and the rest, which begins with a slash or is empty.
    path: (&'a str, &'a [u8]),
    query: Option<&'a [u8]>,
}

/// Without a scheme the reference is relative (RFC 9110, 10.2.2): the client knows by which
/// scheme, host and port it came, and we may not, behind another proxy.
fn write_location(
    redirect: &Redirect,
    asked: &Asked<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if let Some(scheme) = redirect.scheme {
        let host = redirect.host.as_ref().map_or(asked.host, |host| host.as_bytes());
        if host.is_empty() {
            return Err(Refusal::RedirectHostMissing);
        }
        out.extend_from_slice(scheme.name().as_bytes());
        out.extend_from_slice(b"://");
        out.extend_from_slice(host);
        if let Some(port) = redirect.port.filter(|&port| port != scheme.port()) {
            out.push(b':');
            write_number(out, u64::from(port));
        }
    }
    let (prefix, rest) = match &redirect.path {
        Some(path) => (path.as_str(), &b""[..]),
        None => asked.path,
    };
    // A relative reference that begins with two slashes names another host, which the client
    // would have chosen by its path. RFC 3986, 4.2; the same way out as in the URL standard.
    let first_two = prefix.bytes().chain(rest.iter().copied()).take(2);
    if redirect.scheme.is_none() && first_two.eq(*b"//") {
        out.extend_from_slice(b"/.");
    }
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(rest);
    if let Some(query) = asked.query.filter(|_| !prefix.contains('?')) {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::settings::Scheme;

    const NOWHERE: Redirect =
        Redirect { status: 308, scheme: None, host: None, port: None, path: None };

    fn asked(path: &str) -> Asked<'_> {
        Asked { host: b"a.example", path: ("", path.as_bytes()), query: Some(b"q=1") }
    }

    fn location(redirect: &Redirect, asked: &Asked<'_>) -> String {
        let mut out = Vec::new();
        write_location(redirect, asked, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_replaced_is_kept() {
        let https = Redirect { scheme: Some(Scheme::Https), ..NOWHERE };
        assert_eq!(location(&https, &asked("/x")), "https://a.example/x?q=1");
        let elsewhere = Redirect { host: Some("b".into()), port: Some(8443), ..https.clone() };
        assert_eq!(location(&elsewhere, &asked("/x")), "https://b:8443/x?q=1");
        let usual = Redirect { port: Some(443), ..https };
        assert_eq!(location(&usual, &asked("/x")), "https://a.example/x?q=1");
        let moved = Redirect { path: Some("/new".into()), ..NOWHERE };
        assert_eq!(location(&moved, &asked("/x")), "/new?q=1");
        let replaced = Redirect { path: Some("/new?a=b".into()), ..NOWHERE };
        assert_eq!(location(&replaced, &asked("/x")), "/new?a=b");
    }

    #[test]
    fn a_path_that_looks_like_a_host_stays_a_path() {
        assert_eq!(location(&NOWHERE, &asked("//evil.example")), "/.//evil.example?q=1");
        let https = Redirect { scheme: Some(Scheme::Https), ..NOWHERE };
        assert_eq!(location(&https, &asked("//evil")), "https://a.example//evil?q=1");
        let prefixed = Asked { path: ("/", b"/evil"), ..asked("") };
        assert_eq!(location(&NOWHERE, &prefixed), "/.//evil?q=1");
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        let nameless = Asked { host: b"", ..asked("/x") };
        let https = Redirect { scheme: Some(Scheme::Https), ..NOWHERE };
        let refused = write_location(&https, &nameless, &mut Vec::new());
        assert_eq!(refused, Err(Refusal::RedirectHostMissing));
        assert_eq!(location(&NOWHERE, &nameless), "/x?q=1");
    }
}
