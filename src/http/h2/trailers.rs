//! Trailers: the fields behind a body.

use ::http::HeaderMap;
use bytes::Bytes;

use super::text::{NotExpressible, add, each_field, write_line};
use crate::http::field_name::FieldName;
use crate::http::h1::TRAILER_BYTES_MAX;
use crate::http::refusal::Refusal;

/// Writes the trailers that may be forwarded, each with its CRLF: by the rule of
/// [`BodyDecoder::trailers`](crate::http::h1::BodyDecoder::trailers).
pub fn write_trailers(fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let start = out.len();
    for (name, value) in fields {
        if FieldName::is_trailer(name.as_str().as_bytes()) {
            write_line(out, name.as_str(), value.as_bytes());
        }
    }
    match out.len() - start > TRAILER_BYTES_MAX {
        true => Err(Refusal::TrailersTooLarge),
        false => Ok(()),
    }
}

/// Reads trailer lines, as of [`write_trailers`] or of a chunked body.
pub fn read_trailers(lines: &[u8]) -> Result<HeaderMap, NotExpressible> {
    let mut fields = HeaderMap::new();
    each_field(Bytes::copy_from_slice(lines), |name, value| add(&mut fields, name, value))?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn trailers_are_kept_unless_they_could_do_harm() {
        let fields = map(&[
            ("grpc-status", "0"),
            ("content-length", "9"),
            ("authorization", "a"),
            ("x_real_ip", "b"),
            ("x-sum", "1"),
        ]);
        let mut lines = Vec::new();
        write_trailers(&fields, &mut lines).unwrap();
        assert_eq!(lines, b"grpc-status: 0\r\nx-sum: 1\r\n");
        assert_eq!(read_trailers(&lines).unwrap(), map(&[("grpc-status", "0"), ("x-sum", "1")]));
    }

    #[test]
    fn large_trailers_are_refused() {
        let fields = map(&[("x-a", &"b".repeat(TRAILER_BYTES_MAX))]);
        assert_eq!(write_trailers(&fields, &mut Vec::new()), Err(Refusal::TrailersTooLarge));
    }
}
