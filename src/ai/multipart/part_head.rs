//! The head of a part: which field it is.

use memchr::memmem;

use super::MultipartProblem;
use super::parameters::{Parameter, Parameters, has_prefix, is_foreign_charset, is_token};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct PartHead<'a> {
    pub(super) name: &'a [u8],
    /// Neither a file nor encoded: the content is the value as it stands.
    pub(super) is_plain_value: bool,
}

impl<'a> PartHead<'a> {
    /// Reads a head up to and including its blank line.
    pub(super) fn read(head: &'a [u8]) -> Result<Self, MultipartProblem> {
        let mut disposition = None;
        let mut is_encoded = false;
        let mut rest = head;
        while rest != b"\r\n" {
            let (name, value, after) = split_field(rest).ok_or(MultipartProblem::BrokenHead)?;
            rest = after;
            if name.eq_ignore_ascii_case(b"content-disposition") {
                if disposition.replace(value).is_some() {
                    return Err(MultipartProblem::NotOneName);
                }
            } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
                is_encoded |= !is_identity(value);
            } else if name.eq_ignore_ascii_case(b"content-type") {
                // Old readers take its parts for parts of the form (RFC 7578, 4.3).
                if has_prefix(value, b"multipart/") {
                    return Err(MultipartProblem::Nested);
                }
                is_encoded |= has_foreign_charset(value);
            }
        }
        let disposition = disposition.ok_or(MultipartProblem::NotOneName)?;
        let (name, is_file) = read_disposition(disposition)?;
        Ok(Self { name, is_plain_value: !is_file && !is_encoded })
    }
}

/// Splits off the first line, as a name and a value. A folded line has no name, so it is refused.
fn split_field(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    let (line, rest) = text.split_at(end + 1);
    let line = line.strip_suffix(b"\r\n")?;
    if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
        return None;
    }
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at(colon);
    let is_name = !name.is_empty() && name.iter().all(|byte| is_token(*byte));
    is_name.then(|| (name, value[1..].trim_ascii(), rest))
}

/// The name of a `form-data` disposition, and whether it has a file name.
fn read_disposition(value: &[u8]) -> Result<(&[u8], bool), MultipartProblem> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (kind, rest) = value.split_at(end);
    if !kind.trim_ascii().eq_ignore_ascii_case(b"form-data") {
        return Err(MultipartProblem::BrokenHead);
    }
    let mut found = None;
    let mut is_file = false;
    for parameter in Parameters::of(rest) {
        let Parameter { name, value } = parameter.ok_or(MultipartProblem::BrokenHead)?;
        if name.eq_ignore_ascii_case(b"name") {
            // A backslash is an escape to some readers and itself to others; some undo the
            // encoded words of mail (RFC 2047), which begin so.
            let is_plain = !value.contains(&b'\\') && memmem::find(value, b"=?").is_none();
            if found.replace(value).is_some() || !is_plain {
                return Err(MultipartProblem::NotOneName);
            }
        } else if has_prefix(name, b"name*") {
            // RFC 2231 spellings of a name, which RFC 7578 forbids and some readers still decode.
            return Err(MultipartProblem::NotOneName);
        } else if has_prefix(name, b"filename") {
            is_file = true;
        }
    }
    Ok((found.ok_or(MultipartProblem::NotOneName)?, is_file))
}

fn is_identity(coding: &[u8]) -> bool {
    [&b"7bit"[..], b"8bit", b"binary"].iter().any(|name| coding.eq_ignore_ascii_case(name))
}

fn has_foreign_charset(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    Parameters::of(&content_type[end..]).any(|parameter| match parameter {
        Some(Parameter { name, value }) => is_foreign_charset(name, value),
        None => true,
    })
}
