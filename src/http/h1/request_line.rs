//! The first line of a request (RFC 9112, 3), and the parts of its target.

use memchr::memchr;

use super::lines::{Stop, line_end};
use crate::http::authority::Authority;
use crate::http::message::{Method, Version};
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::syntax::{target_end, token_end};

/// Which form the request target has (RFC 9112, 3.2). The fourth, a bare authority, belongs to
/// CONNECT.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `*`, for OPTIONS only.
    Asterisk,
}

/// The line's words, before they are understood.
pub(super) struct RequestLine {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) version: Version,
    /// Where the next line begins.
    pub(super) next: usize,
}

/// Longer than any registered method; `UPDATEREDIRECTREF` has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

/// Reads the request line from the start of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Result<RequestLine, Stop> {
    let line = skip_empty_line(bytes)?;
    let method = method(bytes, line)?;
    let target = target(bytes, method.end() + 1)?;
    let (version, next) = version(bytes, target.end() + 1)?;
    Ok(RequestLine { method, target, version, next })
}

/// One empty line is skipped: old clients send it after a body (RFC 9112, 2.2).
fn skip_empty_line(bytes: &[u8]) -> Result<usize, Stop> {
    match bytes {
        [b'\r' | b'\n', ..] => {}
        _ => return Ok(0),
    }
    let line = line_end(bytes, 0)?;
    match bytes.get(line) {
        Some(b'\r' | b'\n') => Err(Refusal::EmptyLinesRepeated.into()),
        _ => Ok(line),
    }
}

fn method(bytes: &[u8], line: usize) -> Result<Span, Stop> {
    let end = token_end(bytes, line);
    if end - line > METHOD_BYTES_MAX {
        return Err(Refusal::MethodTooLong.into());
    }
    match bytes.get(end) {
        None => Err(Stop::Partial),
        Some(b' ') if end > line => Ok(Span::new(line, end)),
        Some(b' ' | b'\t') => Err(Refusal::RequestLineSpacing.into()),
        Some(b'\r' | b'\n') => Err(early_end(bytes, end)),
        Some(_) => Err(Refusal::MethodInvalid.into()),
    }
}

fn target(bytes: &[u8], start: usize) -> Result<Span, Stop> {
    let end = target_end(bytes, start);
    match bytes.get(end) {
        None => Err(Stop::Partial),
        Some(b' ') if end > start => Ok(Span::new(start, end)),
        Some(b' ' | b'\t') => Err(Refusal::RequestLineSpacing.into()),
        Some(b'\r' | b'\n') => Err(early_end(bytes, end)),
        Some(b'#') => Err(Refusal::TargetFragment.into()),
        Some(_) => Err(Refusal::TargetInvalid.into()),
    }
}

/// The line ends where more words should follow.
fn early_end(bytes: &[u8], at: usize) -> Stop {
    match line_end(bytes, at) {
        Ok(_) => Refusal::VersionMissing.into(),
        Err(stop) => stop,
    }
}

/// Returns the version and where the next line begins.
fn version(bytes: &[u8], start: usize) -> Result<(Version, usize), Stop> {
    match bytes.get(start..).unwrap_or_default() {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b'\r', b'\n', ..] => {
            Ok((Version::Http11, start + 10))
        }
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b'\r', b'\n', ..] => {
            Ok((Version::Http10, start + 10))
        }
        _ => Err(no_version(bytes, start)),
    }
}

#[cold]
fn no_version(bytes: &[u8], start: usize) -> Stop {
    let end = target_end(bytes, start);
    match bytes.get(end) {
        None => return Stop::Partial,
        Some(b' ' | b'\t') => return Refusal::RequestLineSpacing.into(),
        Some(b'\r' | b'\n') => {}
        Some(_) => return Refusal::VersionInvalid.into(),
    }
    if let Err(stop) = line_end(bytes, end) {
        return stop;
    }
    match &bytes[start..end] {
        [] => Refusal::RequestLineSpacing.into(),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::VersionUnsupported.into()
        }
        _ => Refusal::VersionInvalid.into(),
    }
}

/// Which method `text` is. Refused are those that a gateway does not serve, and spellings that a
/// lenient server takes for a known method while this reader does not.
pub(super) fn understand_method(text: &[u8]) -> Result<Method, Refusal> {
    match Method::of(text) {
        Method::Connect => Err(Refusal::MethodUnsupported),
        Method::Trace => Err(Refusal::MethodRefused),
        Method::Other if is_known_in_upper_case(text) => Err(Refusal::MethodCase),
        method => Ok(method),
    }
}

fn is_known_in_upper_case(text: &[u8]) -> bool {
    // Known methods have at most seven bytes.
    let mut upper = [0; 7];
    let Some(upper) = upper.get_mut(..text.len()) else { return false };
    upper.copy_from_slice(text);
    upper.make_ascii_uppercase();
    Method::of(upper) != Method::Other
}

/// The parts of a target.
#[derive(Default)]
pub(super) struct Target {
    pub(super) form: TargetForm,
    pub(super) authority: Span,
    /// What a port in the authority is compared with.
    pub(super) default_port: u16,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
}

pub(super) fn understand_target(
    bytes: &[u8],
    target: Span,
    method: Method,
) -> Result<Target, Refusal> {
    match target.of(bytes) {
        [b'/', ..] => Ok(path_and_query(bytes, target, Target::default())),
        b"*" if method == Method::Options => {
            Ok(Target { form: TargetForm::Asterisk, path: target, ..Target::default() })
        }
        text => absolute(bytes, target, text),
    }
}

fn absolute(bytes: &[u8], target: Span, text: &[u8]) -> Result<Target, Refusal> {
    let colon = memchr(b':', text).ok_or(Refusal::TargetForm)?;
    let (scheme, rest) = text.split_at(colon);
    if !rest.starts_with(b"://") {
        return Err(Refusal::TargetForm);
    }
    let default_port = match () {
        () if scheme.eq_ignore_ascii_case(b"http") => 80,
        () if scheme.eq_ignore_ascii_case(b"https") => 443,
        () => return Err(Refusal::TargetScheme),
    };

    let start = target.start() + colon + 3;
    let rest = &rest[3..];
    let end = start + rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let authority = Span::new(start, end);
    Authority::parse(authority.of(bytes)).ok_or(Refusal::TargetAuthority)?;

    let parts = Target { form: TargetForm::Absolute, authority, default_port, ..Target::default() };
    Ok(path_and_query(bytes, Span::new(end, target.end()), parts))
}

/// Splits what is left of a target at the first question mark.
fn path_and_query(bytes: &[u8], rest: Span, parts: Target) -> Target {
    match memchr(b'?', rest.of(bytes)) {
        None => Target { path: rest, query: None, ..parts },
        Some(length) => {
            let mark = rest.start() + length;
            let query = Some(Span::new(mark + 1, rest.end()));
            Target { path: Span::new(rest.start(), mark), query, ..parts }
        }
    }
}
