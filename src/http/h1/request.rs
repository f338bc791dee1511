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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 10 };

    fn understood(raw: &str) -> RequestHead {
        let mut head = RequestHead::default();
        assert_eq!(head.parse(raw.as_bytes(), &LIMITS), Ok(true), "{raw}");
        head
    }

    fn get(fields: &str) -> (RequestHead, String) {
        let raw = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        (understood(&raw), raw)
    }

    fn text(raw: &str, span: Span) -> &str {
        std::str::from_utf8(span.of(raw.as_bytes())).unwrap()
    }

    #[test]
    fn the_parts_of_a_request_are_found() {
        let raw = "\r\nPUT /a/b?c=d?e HTTP/1.1\r\nHost: A.example:81\r\nX-B: \t c d \t\r\n\r\nbody";
        let head = understood(raw);
        assert_eq!((head.method, text(raw, head.method_text)), (Method::Put, "PUT"));
        assert_eq!((head.form, text(raw, head.target)), (TargetForm::Origin, "/a/b?c=d?e"));
        assert_eq!(text(raw, head.authority), "A.example:81");
        assert_eq!(text(raw, head.path), "/a/b");
        assert_eq!(head.query.map(|query| text(raw, query)), Some("c=d?e"));
        assert_eq!(head.get(raw.as_bytes(), "x-b"), Some(&b"c d"[..]));
        assert_eq!(head.get(raw.as_bytes(), "x-c"), None);
        assert_eq!(&raw[head.len..], "body");
    }

    #[test]
    fn an_absolute_target_is_taken_apart() {
        let raw = "GET https://a.example:443?b HTTP/1.1\r\nHost: A.example\r\n\r\n";
        let head = understood(raw);
        assert_eq!(head.form, TargetForm::Absolute);
        assert_eq!(text(raw, head.authority), "a.example:443");
        assert_eq!(text(raw, head.path), "");
        assert_eq!(head.query.map(|query| text(raw, query)), Some("b"));
    }

    #[test]
    fn an_empty_query_is_not_the_same_as_none() {
        let raw = "GET /? HTTP/1.0\r\n\r\n";
        assert_eq!(understood(raw).query.map(|query| text(raw, query)), Some(""));
        assert_eq!(understood("GET / HTTP/1.0\r\n\r\n").query, None);
    }

    #[test]
    fn the_client_decides_whether_the_connection_is_kept() {
        let keeps = |version: &str, connection: &str| {
            let raw = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
            understood(&raw).keep_alive
        };
        assert!(keeps("1.1", ""));
        assert!(keeps("1.1", "Connection: x\r\n"));
        assert!(!keeps("1.1", "Connection: x, Close\r\n"));
        assert!(!keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
        assert!(!keeps("1.0", ""));
        assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
        assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
        assert!(!keeps("1.0", "Proxy-Connection: keep-alive\r\n"));
    }

    #[test]
    fn fields_of_this_connection_are_marked() {
        let (head, raw) =
            get("X-A: 1\r\nConnection: x-a, X-B\r\nx-b: 2\r\nTE: x\r\nX-C: 3\r\nX-A: 4\r\n");
        let marked = head.fields.iter().filter(|field| field.hop_by_hop);
        let names: Vec<_> = marked.map(|field| text(&raw, field.name)).collect();
        assert_eq!(names, ["X-A", "Connection", "x-b", "TE", "X-A"]);
    }

    #[test]
    fn fields_that_are_hop_by_hop_are_marked_unnamed() {
        let (head, _) = get("Keep-Alive: 5\r\nProxy-Connection: x\r\nHTTP2-Settings: x\r\n\
             Upgrade: h2c\r\nProxy-Authorization: x\r\nProxy: x\r\nTE: x\r\nTrailer: x\r\n");
        let kept: Vec<_> = head.fields.iter().filter(|field| !field.hop_by_hop).collect();
        assert!(kept.iter().map(|field| field.known).eq([FieldName::Host, FieldName::Trailer]));
    }

    #[test]
    fn only_another_protocol_is_an_upgrade() {
        let upgrades = |fields: &str| get(fields).0.upgrade;
        assert!(upgrades("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"));
        assert!(upgrades("Connection: upgrade\r\nUpgrade: a/1, b\r\n"));
        assert!(!upgrades("Upgrade: websocket\r\n"));
        assert!(!upgrades("Connection: upgrade\r\n"));
        for http in ["h2c", "H2C", "websocket, h2c", "HTTP/2.0", "h2", "a b", "", "a/", "a,"] {
            let fields = format!("Connection: upgrade\r\nUpgrade: {http}\r\n");
            assert!(!upgrades(&fields), "{http}");
        }
        assert!(!upgrades("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"));
        assert!(!upgrades("Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 0\r\n"));
    }

    #[test]
    fn a_100_is_waited_for_only_with_a_body() {
        let waits = |version: &str, length: &str| {
            let raw =
                format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: 100-Continue\r\n{length}\r\n");
            understood(&raw).expects_continue
        };
        assert!(waits("1.1", "Content-Length: 1\r\n"));
        assert!(waits("1.1", "Transfer-Encoding: chunked\r\n"));
        assert!(!waits("1.1", "Content-Length: 0\r\n"));
        assert!(!waits("1.1", ""));
        assert!(!waits("1.0", "Content-Length: 1\r\n"));
    }

    #[test]
    fn trailers_are_accepted_by_a_member_of_te() {
        assert!(get("TE: gzip;q=0.5 , Trailers\r\n").0.accepts_trailers);
        assert!(!get("TE: trailers;q=0.5\r\n").0.accepts_trailers);
        assert!(!get("X-TE: trailers\r\n").0.accepts_trailers);
    }

    #[test]
    fn a_head_leaves_nothing_to_the_next_one() {
        let mut head = RequestHead::default();
        let first = b"PUT http://b/?c HTTP/1.1\r\nHost: b\r\nX-A: 1\r\nTE: trailers\r\nExpect: 100-continue\r\n\
            Connection: close\r\nContent-Length: 5\r\n\r\n";
        let second = b"GET / HTTP/1.0\r\n\r\n";
        let fresh = understood("GET / HTTP/1.0\r\n\r\n");
        for begun in [&first[..], &first[..60], b"GET / HTTP/1.1\r\nHost: \r\n\r\n"] {
            let answer = head.parse(begun, &LIMITS);
            if answer == Ok(false) {
                head.clear();
            }
            assert_eq!(head.parse(second, &LIMITS), Ok(true));
            assert_eq!(format!("{head:?}"), format!("{fresh:?}"), "after {answer:?}");
        }
    }

    #[test]
    fn a_limit_counts_the_whole_head_and_nothing_behind_it() {
        let raw = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n and a body that does not count";
        let parse =
            |bytes, fields| RequestHead::default().parse(raw, &HeadLimits { bytes, fields });
        assert_eq!(parse(27, 1), Ok(true));
        assert_eq!(parse(26, 1), Err(Refusal::HeadTooLarge));
        assert_eq!(parse(16, 1), Err(Refusal::HeadTooLarge));
        assert_eq!(parse(15, 1), Err(Refusal::StartLineTooLong));
        assert_eq!(parse(0, 1), Err(Refusal::StartLineTooLong));
        assert_eq!(parse(27, 0), Err(Refusal::FieldsTooMany));
    }
}
