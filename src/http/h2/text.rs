//! Heads as text: lines out, lines in.

use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use memchr::{memchr, memmem};

/// Adds a field line.
pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Text that cannot be said in HTTP/2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotExpressible;

/// Takes the first line off a head, without its CRLF.
pub(super) fn split_line(text: &mut Bytes) -> Result<Bytes, NotExpressible> {
    let end = memmem::find(text, b"\r\n").ok_or(NotExpressible)?;
    let mut line = text.split_to(end + 2);
    line.truncate(end);
    Ok(line)
}

/// Reads field lines up to an empty one, or to the end. Each goes to `each` with a name in lower
/// case; a value shares its memory with the text.
pub(super) fn each_field(
    mut text: Bytes,
    mut each: impl FnMut(HeaderName, HeaderValue) -> Result<(), NotExpressible>,
) -> Result<(), NotExpressible> {
    while !text.is_empty() {
        let line = split_line(&mut text)?;
        if line.is_empty() {
            return Ok(());
        }
        let colon = memchr(b':', &line).ok_or(NotExpressible)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| NotExpressible)?;
        let value = line.slice_ref(trim(&line[colon + 1..]));
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| NotExpressible)?;
        each(name, value)?;
    }
    Ok(())
}

/// Adds a field, within what a map can hold.
pub(super) fn add(
    fields: &mut HeaderMap,
    name: HeaderName,
    value: HeaderValue,
) -> Result<(), NotExpressible> {
    fields.try_append(name, value).map(drop).map_err(|_| NotExpressible)
}

/// Concerns one connection of HTTP/1 only: HTTP/2 has frames for it, and forbids the field
/// (RFC 9113, 8.2.2).
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

fn trim(value: &[u8]) -> &[u8] {
    crate::http::syntax::trim(value)
}
