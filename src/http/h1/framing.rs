//! How long a body is, by the fields of its head (RFC 9112, 6).
//!
//! Stricter than the RFC, which lets a reader mend some of it: what one reader mends, the next one
//! understands differently, and that is request smuggling.

use crate::http::field_name::FieldName;
use crate::http::fields::Fields;
use crate::http::message::{BodyLength, Version};
use crate::http::refusal::Refusal;
use crate::http::syntax::{is_token, members};

/// The length that the fields state; `None` if they state none.
pub(super) fn stated_length(
    bytes: &[u8],
    fields: &Fields,
    version: Version,
) -> Result<Option<BodyLength>, Refusal> {
    let has_coding = fields.has(FieldName::TransferEncoding);
    let Some(length) = fields.first(FieldName::ContentLength) else {
        if !has_coding {
            return Ok(None);
        }
        check_coding(bytes, fields, version)?;
        return Ok(Some(BodyLength::Chunked));
    };
    if has_coding {
        return Err(Refusal::LengthWithCoding);
    }
    if fields.is_repeated(FieldName::ContentLength) {
        return Err(Refusal::LengthRepeated);
    }
    content_length(length.value.of(bytes)).map(|bytes| Some(BodyLength::Fixed(bytes)))
}

/// Sums of a length and a head must not overflow, in this program or one that uses signed numbers.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// Digits only. Leading zeros are refused too: some readers take them for octal.
fn content_length(text: &[u8]) -> Result<u64, Refusal> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::LengthInvalid);
    }
    if text.len() > 1 && text[0] == b'0' {
        return Err(Refusal::LengthInvalid);
    }
    text.iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .filter(|&length| length <= LENGTH_MAX)
        .ok_or(Refusal::LengthTooLarge)
}

/// Only `chunked`, once, in HTTP/1.1: other codings are the business of the two ends.
fn check_coding(bytes: &[u8], fields: &Fields, version: Version) -> Result<(), Refusal> {
    if version == Version::Http10 {
        return Err(Refusal::CodingInHttp10);
    }
    let mut is_chunked = false;
    for field in fields.all(FieldName::TransferEncoding) {
        for coding in members(field.value.of(bytes)) {
            check_one_coding(coding, is_chunked)?;
            is_chunked = true;
        }
    }
    Ok(())
}

fn check_one_coding(coding: &[u8], is_chunked: bool) -> Result<(), Refusal> {
    match coding {
        _ if !is_token(coding) => Err(Refusal::CodingInvalid),
        _ if !coding.eq_ignore_ascii_case(b"chunked") && is_chunked => {
            Err(Refusal::CodingAfterChunked)
        }
        _ if !coding.eq_ignore_ascii_case(b"chunked") => Err(Refusal::CodingUnsupported),
        _ if is_chunked => Err(Refusal::CodingRepeated),
        _ => Ok(()),
    }
}
