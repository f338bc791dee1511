//! The boundary, from a Content-Type.

use super::parameters::{Parameter, Parameters, is_foreign_charset, is_token};
use super::{MultipartFault, MultipartProblem};

/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// What separates the parts of a body: 1 to 70 of the characters that RFC 2046 allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// Reads the value of a Content-Type field, which must be multipart/form-data with exactly one
    /// boundary.
    pub fn of_content_type(content_type: &[u8]) -> Result<Self, MultipartFault> {
        let fault = MultipartFault { at: 0, problem: MultipartProblem::ContentType };
        Self::read(content_type).ok_or(fault)
    }

    /// A Content-Type that says this boundary and nothing else. The client's own may hold what
    /// readers take in different ways, such as `boundary*`, or a charset for the names of parts.
    pub fn content_type(&self) -> Vec<u8> {
        let quote: &[u8] = if self.0.iter().all(|byte| is_token(*byte)) { b"" } else { b"\"" };
        [b"multipart/form-data; boundary=", quote, &self.0, quote].concat()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn read(content_type: &[u8]) -> Option<Self> {
        let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
        let (media_type, rest) = content_type.split_at(end);
        if !media_type.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let mut boundary = None;
        for parameter in Parameters::of(rest) {
            let Parameter { name, value } = parameter?;
            if is_foreign_charset(name, value) {
                return None;
            }
            let is_ours = name.eq_ignore_ascii_case(b"boundary");
            if is_ours && boundary.replace(value).is_some() {
                return None;
            }
        }
        boundary.filter(|boundary| is_boundary(boundary)).map(|boundary| Self(boundary.to_vec()))
    }
}

fn is_boundary(text: &[u8]) -> bool {
    let is_boundary_character =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    (1..=BOUNDARY_MAX).contains(&text.len())
        && text.iter().all(is_boundary_character)
        && !text.ends_with(b" ")
}
