//! The head of a response: its lines read and understood in one go.

use super::connection;
use super::framing;
use super::lines::{HeadLimits, Progress, Stop, line_end, read_fields};
use crate::http::field_name::FieldName;
use crate::http::fields::{Field, Fields};
use crate::http::message::{BodyLength, Method, Version};
use crate::http::refusal::{Refusal, ResponseFault};
use crate::http::span::Span;
use crate::http::syntax::value_end;

/// A response head. Used like a [`RequestHead`](super::RequestHead).
#[derive(Default, Debug)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// May be empty, and may hold bytes above 0x7f.
    pub reason: Span,
    pub version: Version,
    pub fields: Fields,
    /// What follows this head. A response to HEAD, and a 304, may still state the length that the
    /// body would have had: in its fields.
    pub body: BodyLength,
    /// The connection can be used again after the body.
    pub keep_alive: bool,
    /// A 101: what follows is another protocol, named by Upgrade.
    pub upgrade: bool,
    /// Bytes of the head, the empty line included: where the body begins.
    pub len: usize,
    progress: Progress,
}

impl ResponseHead {
    /// Reads a head from the start of `bytes`, the answer to a request of `method`. `Ok(false)`:
    /// it is not complete; call again with the same bytes and more behind them. After any other
    /// answer a new head begins.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        limits: &HeadLimits,
        method: Method,
    ) -> Result<bool, ResponseFault> {
        if self.progress.is_fresh(bytes) {
            self.clear();
        }
        let mut progress = std::mem::take(&mut self.progress);
        let read = |progress: &mut Progress, window: &[u8]| self.read(progress, window, limits);
        let is_complete = progress.advance(bytes, limits, read)?;
        self.progress = progress;
        if is_complete {
            self.understand(bytes, method)?;
        }
        Ok(is_complete)
    }

    /// Forgets a head that was begun, so that the next call to `parse` begins another.
    pub fn clear(&mut self) {
        self.progress = Progress::default();
        self.fields.clear();
    }

    /// Whether another head follows this one, for the same request.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// The first field of that name.
    pub fn field(&self, known: FieldName) -> Option<&Field> {
        self.fields.first(known)
    }

    /// The value of the first field called `name`, in any case: for names that are not known.
    pub fn get<'a>(&self, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.fields.get(bytes, name)
    }

    fn read(
        &mut self,
        progress: &mut Progress,
        window: &[u8],
        limits: &HeadLimits,
    ) -> Result<(), Stop> {
        if !progress.has_start_line {
            let next = self.read_status_line(window)?;
            progress.end_start_line(next);
        }
        self.len = read_fields(window, progress, &mut self.fields, limits)?;
        Ok(())
    }

    /// Returns where the next line begins. `HTTP/1.1 200` without a space after it is accepted,
    /// against the letter of RFC 9112, 4: many servers send it, and it has one meaning only.
    fn read_status_line(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let (version, code) = version_and_code(bytes)?;
        self.version = version;
        self.status = code;
        match bytes.get(STATUS_BYTES) {
            None => Err(Stop::Partial),
            Some(b' ') => {
                let end = value_end(bytes, STATUS_BYTES + 1);
                self.reason = Span::new(STATUS_BYTES + 1, end);
                line_end(bytes, end)
            }
            Some(b'\r' | b'\n') => {
                self.reason = Span::default();
                line_end(bytes, STATUS_BYTES)
            }
            Some(_) => Err(Refusal::StatusLineInvalid.into()),
        }
    }

    fn understand(&mut self, bytes: &[u8], method: Method) -> Result<(), Refusal> {
        let stated = framing::stated_length(bytes, &self.fields, self.version)?;
        let options = connection::read(bytes, &mut self.fields)?;
        let has_body = method != Method::Head && !matches!(self.status, 100..=199 | 204 | 304);
        self.body = match stated {
            _ if !has_body => BodyLength::Empty,
            Some(length) => length,
            None => BodyLength::UntilClose,
        };
        self.keep_alive = options.keep_alive(self.version) && self.body != BodyLength::UntilClose;
        self.upgrade = self.status == 101;
        if self.upgrade && !options.names_upgrade(bytes, &self.fields) {
            return Err(Refusal::SwitchUnasked);
        }
        Ok(())
    }
}

/// Bytes of `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

fn version_and_code(bytes: &[u8]) -> Result<(Version, u16), Stop> {
    let shape = b"HTTP/d.d ddd";
    let is_right = |(&byte, &wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        _ => byte == wanted,
    };
    if !bytes.iter().zip(shape).all(is_right) {
        return Err(Refusal::StatusLineInvalid.into());
    }
    let Some(&[.., major, b'.', minor, b' ', hundreds, tens, ones]) =
        bytes.first_chunk::<STATUS_BYTES>()
    else {
        return Err(Stop::Partial);
    };
    let version = match (major, minor) {
        (b'1', b'0') => Version::Http10,
        (b'1', b'1') => Version::Http11,
        _ => return Err(Refusal::VersionUnsupported.into()),
    };
    let digits = [hundreds, tens, ones].map(|digit| u16::from(digit - b'0'));
    let code = digits.iter().fold(0, |sum, digit| sum * 10 + digit);
    if code < 100 {
        return Err(Refusal::StatusLineInvalid.into());
    }
    Ok((version, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 10 };

    fn parse(raw: &str, method: Method) -> Result<ResponseHead, Refusal> {
        let mut head = ResponseHead::default();
        match head.parse(raw.as_bytes(), &LIMITS, method) {
            Ok(is_complete) => {
                assert!(is_complete, "{raw}");
                Ok(head)
            }
            Err(ResponseFault(finding)) => Err(finding),
        }
    }

    fn body(status: u16, fields: &str, method: Method) -> Result<BodyLength, Refusal> {
        parse(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"), method).map(|head| head.body)
    }

    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

    #[test]
    fn the_status_line_is_taken_apart() {
        for (raw, status, reason, version) in [
            ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK", Version::Http11),
            ("HTTP/1.0 404 Not Found \u{e9}\r\n\r\n", 404, "Not Found \u{e9}", Version::Http10),
            ("HTTP/1.1 204 \r\n\r\n", 204, "", Version::Http11),
            ("HTTP/1.1 999\r\n\r\n", 999, "", Version::Http11),
        ] {
            let head = parse(raw, Method::Get).unwrap();
            let found = (head.status, head.reason.of(raw.as_bytes()), head.version, head.len);
            assert_eq!(found, (status, reason.as_bytes(), version, raw.len()));
        }
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for (raw, finding) in [
            ("HTTP/2.0 200 OK\r\n\r\n", Refusal::VersionUnsupported),
            ("HTTP/1.2 200 OK\r\n\r\n", Refusal::VersionUnsupported),
            ("http/1.1 200 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1  200 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1 20 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1 2000 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1 099 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1 200\tOK\r\n\r\n", Refusal::StatusLineInvalid),
            ("<html>", Refusal::StatusLineInvalid),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Refusal::StatusLineInvalid),
            ("HTTP/1.1 200 OK\nA: b\r\n\r\n", Refusal::LineFeedBare),
            ("HTTP/1.1 200\n\r\n", Refusal::LineFeedBare),
            ("HTTP/1.1 200 O\rK\r\n\r\n", Refusal::CarriageReturnBare),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Refusal::FieldValueInvalid),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Refusal::FieldNameSpace),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Refusal::FieldFolded),
            (
                "HTTP/1.1 200 OK\r\nConnection: set-cookie\r\n\r\n",
                Refusal::ConnectionNamesProtected,
            ),
        ] {
            assert_eq!(parse(raw, Method::Get).err(), Some(finding), "{raw:?}");
        }
    }

    #[test]
    fn a_head_over_its_limits_is_refused() {
        let raw = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(5000));
        assert_eq!(parse(&raw, Method::Get).err(), Some(Refusal::HeadTooLarge));
        let raw = format!("HTTP/1.1 200 {}", "b".repeat(5000));
        assert_eq!(parse(&raw, Method::Get).err(), Some(Refusal::StartLineTooLong));
        let raw = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(11));
        assert_eq!(parse(&raw, Method::Get).err(), Some(Refusal::FieldsTooMany));
    }

    #[test]
    fn the_fields_say_how_long_the_body_is() {
        assert_eq!(body(200, LENGTH, Method::Get), Ok(BodyLength::Fixed(5)));
        assert_eq!(body(200, CHUNKED, Method::Get), Ok(BodyLength::Chunked));
        assert_eq!(body(200, "", Method::Get), Ok(BodyLength::UntilClose));
        assert_eq!(body(205, "Content-Length: 0\r\n", Method::Get), Ok(BodyLength::Fixed(0)));
    }

    #[test]
    fn some_responses_have_no_body_whatever_they_say() {
        for fields in [LENGTH, CHUNKED, ""] {
            assert_eq!(body(200, fields, Method::Head), Ok(BodyLength::Empty));
            for status in [100, 103, 204, 304] {
                assert_eq!(body(status, fields, Method::Get), Ok(BodyLength::Empty));
            }
        }
    }

    #[test]
    fn a_length_that_is_uncertain_is_refused_even_without_a_body() {
        let both = [LENGTH, CHUNKED].concat();
        let twice = [LENGTH, LENGTH].concat();
        for method in [Method::Get, Method::Head] {
            assert_eq!(body(200, &both, method), Err(Refusal::LengthWithCoding));
            assert_eq!(body(200, &twice, method), Err(Refusal::LengthRepeated));
            let coding = "Transfer-Encoding: chunked, gzip\r\n";
            assert_eq!(body(200, coding, method), Err(Refusal::CodingAfterChunked));
            let coding = "Transfer-Encoding: gzip\r\n";
            assert_eq!(body(200, coding, method), Err(Refusal::CodingUnsupported));
        }
        let old = "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(old, Method::Get).err(), Some(Refusal::CodingInHttp10));
    }

    #[test]
    fn a_connection_is_kept_unless_its_end_is_that_of_the_body() {
        let keeps = |version: &str, fields: &str| {
            let raw = format!("HTTP/{version} 200 OK\r\n{fields}\r\n");
            parse(&raw, Method::Get).unwrap().keep_alive
        };
        assert!(keeps("1.1", LENGTH));
        assert!(!keeps("1.1", ""));
        assert!(!keeps("1.1", "Content-Length: 5\r\nConnection: close\r\n"));
        assert!(!keeps("1.0", LENGTH));
        assert!(keeps("1.0", "Content-Length: 5\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn a_101_says_what_it_switches_to() {
        let switch = |fields: &str| {
            let raw = format!("HTTP/1.1 101 X\r\n{fields}\r\n");
            parse(&raw, Method::Get).map(|head| (head.upgrade, head.is_interim()))
        };
        assert_eq!(switch("Connection: upgrade\r\nUpgrade: websocket\r\n"), Ok((true, false)));
        assert_eq!(switch("Connection: upgrade\r\nUpgrade: h2c\r\n"), Err(Refusal::SwitchUnasked));
        assert_eq!(switch("Upgrade: websocket\r\n"), Err(Refusal::SwitchUnasked));
        assert!(parse("HTTP/1.1 103 X\r\n\r\n", Method::Get).unwrap().is_interim());
    }
}
