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
