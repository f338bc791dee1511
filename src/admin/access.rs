//! Who may use the management API.
//!
//! With a token, whoever has it. Without one the listener's address has to be enough: one that
//! other machines reach may be read but changes nothing. A browser on the operator's own machine
//! can be made to send requests there by any page that it shows, so what looks like that is refused.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::api::{Api, peer};
use super::{Instance, error};

/// Lets a request through, or says why not and what to do.
pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    match refusal(&api, request.method(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(Refusal { status, why }) => {
            let path = request.uri().path();
            let (method, by) = (request.method(), peer(&request));
            tracing::warn!(%method, path, by, why, "refused a request to the API");
            let mut response = error(status, why, path);
            if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

struct Refusal {
    status: StatusCode,
    why: &'static str,
}

fn refusal(api: &Api, method: &Method, uri: &Uri, fields: &HeaderMap) -> Option<Refusal> {
    let refuse = |status, why| Some(Refusal { status, why });
    let has_token = match is_token(&*api.instance, fields) {
        Some(false) => {
            let why = "send the token of [admin] as \"Authorization: Bearer TOKEN\"";
            return refuse(StatusCode::UNAUTHORIZED, why);
        }
        token => token.is_some(),
    };
    // A page that gets its own name to mean this machine is of the same origin for the browser.
    if !has_token && api.is_local && !names_an_address(uri, fields) {
        let why = "use an IP address or \"localhost\" in the URL, or set token in [admin]";
        return refuse(StatusCode::FORBIDDEN, why);
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    if !has_token && !api.is_local {
        let why = "other machines can reach this address, so changes need a token: \
                   set token in [admin], or bind to 127.0.0.1";
        return refuse(StatusCode::FORBIDDEN, why);
    }
    if fields.contains_key(header::ORIGIN) || fields.contains_key("sec-fetch-site") {
        let why = "changes are not taken from browsers; use `ringgate endpoint` or curl";
        return refuse(StatusCode::FORBIDDEN, why);
    }
    if !is_json(fields) {
        let why = "send \"Content-Type: application/json\"";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    None
}

/// Whether the request has the token; `None` if none is configured.
fn is_token(instance: &dyn Instance, fields: &HeaderMap) -> Option<bool> {
    let given = fields.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let scheme = given.get(..7).unwrap_or_default();
    let token = if scheme.eq_ignore_ascii_case(b"bearer ") { &given[7..] } else { b"" };
    instance.is_admin_token(token)
}

/// Whether the host that was asked for is written as an address, or is this machine.
fn names_an_address(uri: &Uri, fields: &HeaderMap) -> bool {
    let host = fields.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = uri.authority().map(|authority| authority.as_str());
    let Some(host) = authority.or(host) else { return true };
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

fn is_json(fields: &HeaderMap) -> bool {
    let said = fields.get(header::CONTENT_TYPE).and_then(|said| said.to_str().ok());
    let kind = said.and_then(|said| said.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}
