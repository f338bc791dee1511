//! HTTP/2 inside TLS, where both sides agree on it beforehand.

use super::*;
use crate::support::tls::{Authority, tls_of};

const NAME: &str = "docs.internal";

/// A gateway that takes HTTP/2 in clear and passes it on to this one in TLS.
fn in_front_of(private: &Gateway, authority: &Authority) -> Gateway {
    let tls = format!("tls = {{ ca = {:?}, server_name = {NAME:?} }}", authority.file());
    gateway_for_http2().workers(1).route_http2("/", private.address(), &tls).start()
}

fn private(authority: &Authority, lines: &str, origin: &Origin) -> Gateway {
    let tls = tls_of(&[&authority.issue("docs", &[NAME])]);
    gateway().listener(&format!("{tls}\n{lines}")).route("/", origin).start()
}

#[test]
fn both_sides_of_tls_agree_on_http_2() {
    let authority = Authority::new();
    let origin = origin()
        .reply_raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .start();
    let private = private(&authority, "", &origin);
    let front = in_front_of(&private, &authority);
    let mut client = client(&front);
    let body = vec![b'x'; 1 << 20];

    for _ in 0..3 {
        let reply = client.request("POST", "/", &[]).body(&body).read();
        assert_eq!((reply.text(), reply.trailers.len()), ("ok", 1));
    }

    assert_eq!(private.count("ringgate_http2_connections_total"), 1);
    assert_eq!(private.count("ringgate_http2_requests_total"), 3);
    assert!(origin.requests().iter().all(|request| request.body == body));
}

#[test]
fn who_agrees_on_http_1_only_gets_no_http_2() {
    let authority = Authority::new();
    let origin = origin().start();
    let private = private(&authority, "http2 = false", &origin);
    let front = in_front_of(&private, &authority);

    assert_eq!(client(&front).get("/").status, 502);

    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_client_of_tls_that_knows_no_http_2_is_served() {
    let authority = Authority::new();
    let origin = origin().start();
    let private = private(&authority, "", &origin);

    let mut old = authority.client().connect(private.address(), NAME);

    assert_eq!(old.get("/").text(), "hello");
    assert_eq!(private.count("ringgate_http2_connections_total"), 0);
}
