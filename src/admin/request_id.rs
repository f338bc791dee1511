//! A name for each request, to find its traces by.

use std::hash::{BuildHasher, RandomState};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ones are not echoed.
const ID_BYTES_MAX: usize = 128;

/// Puts the request's id on its answer; gives it one if it has none, or one that could do harm in
/// a log.
pub(super) async fn add(request: Request, next: Next) -> Response {
    let id = request.headers().get(X_REQUEST_ID).filter(|id| is_harmless(id)).cloned();
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_REQUEST_ID, id.unwrap_or_else(new_id));
    response
}

fn is_harmless(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// 64 random bits: the keys of a fresh [`RandomState`] are random. Enough to tell requests of
/// operators apart, not to keep a secret.
fn new_id() -> HeaderValue {
    let id = format!("{:016x}", RandomState::new().hash_one(0));
    HeaderValue::try_from(id).expect("hexadecimal digits are a field value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_differ() {
        assert_ne!(new_id(), new_id());
    }

    #[test]
    fn only_plain_ids_are_echoed() {
        let is_harmless = |id: &str| super::is_harmless(&HeaderValue::from_str(id).unwrap());
        assert!(is_harmless("01HF-a_b.c:d"));
        assert!(is_harmless(&"a".repeat(ID_BYTES_MAX)));
        for id in ["", "a b", "a\"", "<x>", "é", &"a".repeat(ID_BYTES_MAX + 1)] {
            assert!(!is_harmless(id), "{id}");
        }
    }
}
