//! The head of a request: its lines read and understood in one go.

use super::connection;
use super::framing;
use super::lines::{HeadLimits, Progress, Stop, read_fields};
use super::request_line::{self, Target, TargetForm};
use crate::http::authority::Authority;
use crate::http::field_name::FieldName;
use crate::http::fields::{Field, Fields};
use crate::http::message::{BodyLength, Method, Version};
use crate::http::refusal::Refusal;
use crate::http::span::Span;
use crate::http::syntax::members;

/// A request head. One value is used for all requests of a connection, and keeps its memory.
///
/// What the public fields say holds after [`RequestHead::parse`] returned `Ok(true)`, and until
/// it is called again. Spans are places in the bytes given to that call.
#[derive(Default, Debug)]
pub struct RequestHead {
    pub method: Method,
    pub method_text: Span,
    /// As sent, whatever its form.
    pub target: Span,
    pub form: TargetForm,
    /// Host and port that the request is for, from the target if that has them, else from Host.
    /// Empty only in HTTP/1.0.
    pub authority: Span,
    /// As sent. Empty in an absolute target without a path, which means `/`.
    pub path: Span,
    /// What follows the question mark, if there is one.
    pub query: Option<Span>,
    pub version: Version,
    pub fields: Fields,
    pub body: BodyLength,
    /// The client wants to go on using the connection.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    pub expects_continue: bool,
    /// The client asks for another protocol. Never with a body, and never for HTTP/2.
    pub upgrade: bool,
    /// The client says `TE: trailers`.
    pub accepts_trailers: bool,
    /// Bytes of the head, the empty line included: where the body begins.
    pub len: usize,
    progress: Progress,
}

impl RequestHead {
    /// Reads a head from the start of `bytes`. `Ok(false)`: it is not complete; call again with
    /// the same bytes and more behind them. After any other answer a new head begins.
    ///
    /// A head is refused as soon as it is known to pass a limit, complete or not.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<bool, Refusal> {
        if self.progress.is_fresh(bytes) {
            self.clear();
        }
        let mut progress = std::mem::take(&mut self.progress);
        let read = |progress: &mut Progress, window: &[u8]| self.read(progress, window, limits);
        let is_complete = progress.advance(bytes, limits, read)?;
        self.progress = progress;
        if is_complete {
            self.understand(bytes)?;
        }
        Ok(is_complete)
    }

    /// Forgets a head that was begun, so that the next call to `parse` begins another.
    pub fn clear(&mut self) {
        self.progress = Progress::default();
        self.fields.clear();
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
            let line = request_line::read(window)?;
            self.method_text = line.method;
            self.target = line.target;
            self.version = line.version;
            progress.end_start_line(line.next);
        }
        self.len = read_fields(window, progress, &mut self.fields, limits)?;
        Ok(())
    }

    fn understand(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.method = request_line::understand_method(self.method_text.of(bytes))?;
        let target = request_line::understand_target(bytes, self.target, self.method)?;
        self.refuse_twins(bytes)?;
        self.authority = self.understand_host(bytes, &target)?;
        self.form = target.form;
        self.path = target.path;
        self.query = target.query;

        let length = framing::stated_length(bytes, &self.fields, self.version)?;
        self.body = length.unwrap_or(BodyLength::Empty);
        self.expects_continue = self.understand_expect(bytes)?;

        let options = connection::read(bytes, &mut self.fields)?;
        self.keep_alive = options.keep_alive(self.version);
        self.upgrade = self.version == Version::Http11
            && self.body == BodyLength::Empty
            && options.names_upgrade(bytes, &self.fields);
        self.accepts_trailers = self.has_te_trailers(bytes);
        Ok(())
    }

    fn refuse_twins(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut others = self.fields.all(FieldName::Other);
        match others.any(|field| FieldName::has_twin(field.name.of(bytes))) {
            true => Err(Refusal::FieldNameTwin),
            false => Ok(()),
        }
    }

    /// Returns the authority in force (RFC 9112, 3.2 and 3.3). The RFC would have a proxy ignore
    /// a Host that differs from the target; but somebody else on the way may not.
    fn understand_host(&self, bytes: &[u8], target: &Target) -> Result<Span, Refusal> {
        let Some(field) = self.fields.first(FieldName::Host) else {
            return match self.version {
                Version::Http11 => Err(Refusal::HostMissing),
                Version::Http10 => Ok(target.authority),
            };
        };
        if self.fields.is_repeated(FieldName::Host) {
            return Err(Refusal::HostRepeated);
        }
        let host = Authority::parse(field.value.of(bytes)).ok_or(Refusal::HostInvalid)?;
        if target.form != TargetForm::Absolute {
            return Ok(field.value);
        }
        match Authority::parse(target.authority.of(bytes)) {
            Some(asked) if asked.is_same(&host, target.default_port) => Ok(target.authority),
            _ => Err(Refusal::HostDisagrees),
        }
    }

    /// Whether a 100 is waited for: not in HTTP/1.0, and not without a body (RFC 9110, 10.1.1).
    fn understand_expect(&self, bytes: &[u8]) -> Result<bool, Refusal> {
        let Some(field) = self.fields.first(FieldName::Expect) else { return Ok(false) };
        let is_continue = field.value.of(bytes).eq_ignore_ascii_case(b"100-continue");
        if !is_continue || self.fields.is_repeated(FieldName::Expect) {
            return Err(Refusal::ExpectationUnsupported);
        }
        Ok(self.version == Version::Http11 && !self.body.is_empty())
    }

    fn has_te_trailers(&self, bytes: &[u8]) -> bool {
        self.fields
            .all(FieldName::Te)
            .flat_map(|field| members(field.value.of(bytes)))
            .any(|member| member.eq_ignore_ascii_case(b"trailers"))
    }
}
