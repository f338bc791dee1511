//! Heads on their way through: what is left out, what is added.

use super::client_address::ClientFields;
use super::limits::fields;
use super::security_fields::SecurityFields;
use super::settings::HeaderEdits;
use super::sticky::SetCookie;
use crate::http::cookie;
use crate::http::field_name::FieldName;
use crate::http::fields::{Field, Fields};
use crate::http::h1::{BodyEncoder, RequestHead, ResponseHead};
use crate::http::message::{BodyLength, Version};
use crate::net::tls::ClientCertificate;
use crate::policy::limit::Level;

/// How a body is framed on the connection that a head goes out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body, and no word about one.
    None,
    Length(u64),
    Chunked,
    /// Until the connection closes; to clients of HTTP/1.0 only.
    UntilClose,
    /// No body follows, but the head says what length it would have (HEAD, 304). With 204 there
    /// is nothing to say (RFC 9110, 8.6).
    AsStated,
}

impl Framing {
    /// The same framing again, for a request.
    pub(super) fn of_request(body: BodyLength) -> Self {
        match body {
            BodyLength::Empty => Self::None,
            BodyLength::Fixed(length) => Self::Length(length),
            BodyLength::Chunked | BodyLength::UntilClose => Self::Chunked,
        }
    }

    /// For a response: clients of HTTP/1.0 know no chunks.
    pub(super) fn of_response(head: &ResponseHead, version: Version) -> Self {
        match (head.body, version) {
            (BodyLength::Empty, _) if head.status == 204 => Self::None,
            (BodyLength::Empty, _) => Self::AsStated,
            (BodyLength::Fixed(length), _) => Self::Length(length),
            (_, Version::Http11) => Self::Chunked,
            (_, Version::Http10) => Self::UntilClose,
        }
    }

    /// How content is written under this framing.
    pub(super) fn encoder(self) -> BodyEncoder {
        match self {
            Self::Chunked => BodyEncoder::Chunked,
            Self::None | Self::Length(_) | Self::UntilClose | Self::AsStated => {
                BodyEncoder::Identity
            }
        }
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Length(length) => {
                out.extend_from_slice(b"content-length: ");
                write_number(out, length);
                out.extend_from_slice(b"\r\n");
            }
            Self::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Self::None | Self::UntilClose | Self::AsStated => {}
        }
    }
}

/// A request head for an endpoint of a cluster.
pub(super) struct ClusterRequest<'a> {
    /// The bytes that `head` points into.
    pub(super) bytes: &'a [u8],
    pub(super) head: &'a RequestHead,
    /// Path and query as they go out.
    pub(super) path: &'a [u8],
    pub(super) new_prefix: &'a str,
    pub(super) framing: Framing,
    pub(super) client: ClientFields<'a>,
    pub(super) certificate: Option<&'a ClientCertificate>,
    pub(super) edits: &'a HeaderEdits,
    /// The name of the cookie that is between the client and us.
    pub(super) hidden_cookie: Option<&'a str>,
    /// The client waits for 100 (Continue) from the endpoint.
    pub(super) expect: bool,
    /// The endpoint may switch to one of the protocols that the client's Upgrade names.
    pub(super) upgrade: bool,
}

impl ClusterRequest<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { bytes, head, .. } = *self;
        out.extend_from_slice(head.method_text.of(bytes));
        out.push(b' ');
        out.extend_from_slice(self.new_prefix.as_bytes());
        out.extend_from_slice(self.path);
        if let Some(query) = head.query {
            out.push(b'?');
            out.extend_from_slice(query.of(bytes));
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if !replaces(self.edits, b"host") {
            write_field(out, "host", self.client.authority);
        }
        let trusted = self.client.client.is_told_by_trusted();
        copy_fields(out, bytes, head.fields.as_slice(), self.edits, |field| match field.known {
            FieldName::Host
            | FieldName::ContentLength
            | FieldName::TransferEncoding
            | FieldName::Expect => false,
            FieldName::Cookie => self.hidden_cookie.is_none(),
            // Written below, with what a trusted client said in front.
            FieldName::Forwarded
            | FieldName::XForwardedFor
            | FieldName::XForwardedProto
            | FieldName::XForwardedHost
            | FieldName::XRealIp => false,
            FieldName::XForwardedPort
            | FieldName::XForwardedPrefix
            | FieldName::XForwardedServer => trusted,
            known => {
                let name = field.name.of(bytes);
                (trusted || !is_forwarding(known, name)) && !is_client_certificate(known, name)
            }
        });
        if let Some(name) = self.hidden_cookie {
            self.write_other_cookies(name, out);
        }
        self.framing.write(out);
        if self.expect {
            out.extend_from_slice(b"expect: 100-continue\r\n");
        }
        if self.upgrade {
            write_upgrade(out, bytes, &head.fields);
        }
        if head.accepts_trailers {
            out.extend_from_slice(b"te: trailers\r\n");
        }
        self.client.write(self.edits, out);
        self.write_certificate(out);
        out.extend_from_slice(b"via: 1.1 ringgate\r\n");
        write_set(out, self.edits);
        out.extend_from_slice(b"\r\n");
    }

    fn write_other_cookies(&self, hidden: &str, out: &mut Vec<u8>) {
        if replaces(self.edits, b"cookie") {
            return;
        }
        for field in self.head.fields.all(FieldName::Cookie).filter(|field| !field.hop_by_hop) {
            if cookie::write_others(field.value.of(self.bytes), hidden, b"cookie: ", out) {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Who the client is by a verified certificate. Nobody but Ringgate says this.
    fn write_certificate(&self, out: &mut Vec<u8>) {
        let Some(ClientCertificate { subject, fingerprint }) = self.certificate else { return };
        for (name, value) in [(CERT_SUBJECT, subject), (CERT_FINGERPRINT, fingerprint)] {
            if !replaces(self.edits, name.as_bytes()) {
                write_field(out, name, value.as_bytes());
            }
        }
    }
}

/// What endpoints are told of a verified client certificate.
const CERT_SUBJECT: &str = "x-client-cert-subject";
const CERT_FINGERPRINT: &str = "x-client-cert-fingerprint";

/// Whether it is one of the fields that endpoints believe about a client's certificate. Many
/// servers read `_` as `-`, so that counts as the same.
pub(super) fn is_client_certificate(known: FieldName, name: &[u8]) -> bool {
    let is = |field: &str| {
        let alike = |(a, b): (&u8, u8)| a.to_ascii_lowercase() == b || (*a == b'_' && b == b'-');
        name.len() == field.len() && name.iter().zip(field.bytes()).all(alike)
    };
    known == FieldName::Other && (is(CERT_SUBJECT) || is(CERT_FINGERPRINT))
}

/// A response head for the client.
pub(super) struct Response<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) head: &'a ResponseHead,
    pub(super) framing: Framing,
    pub(super) version: Version,
    pub(super) keep_alive: bool,
    pub(super) edits: &'a HeaderEdits,
    pub(super) security: SecurityFields,
    /// Of a sticky cluster.
    pub(super) cookie: Option<SetCookie<'a>>,
    /// What is left of a limit, and whether an AI client is to be told.
    pub(super) level: Option<(Level, bool)>,
}

impl Response<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { bytes, head, .. } = *self;
        write_status_line(out, head.status, head.reason.of(bytes));
        let as_stated = self.framing == Framing::AsStated;
        copy_fields(out, bytes, head.fields.as_slice(), self.edits, |field| match field.known {
            FieldName::ContentLength => as_stated,
            FieldName::TransferEncoding => false,
            FieldName::SetCookie => keeps_cookie(self.cookie, bytes, field),
            _ => true,
        });
        if let Some(cookie) = self.cookie {
            cookie.write(out);
        }
        self.framing.write(out);
        write_connection(out, self.version, self.keep_alive);
        self.security.write(self.edits, |name| head.get(bytes, name).is_some(), out);
        if let Some((level, ai)) = &self.level {
            fields::write(level, *ai, |name, value| {
                // The endpoint may have limits of its own, and the client may know them.
                if head.get(bytes, name).is_none() && !replaces(self.edits, name.as_bytes()) {
                    write_field(out, name, value);
                }
            });
        }
        write_set(out, self.edits);
        out.extend_from_slice(b"\r\n");
    }

    /// An interim response (1xx): it has no body and ends nothing.
    pub(super) fn write_interim(&self, out: &mut Vec<u8>) {
        let Self { bytes, head, .. } = *self;
        write_status_line(out, head.status, head.reason.of(bytes));
        copy_fields(out, bytes, head.fields.as_slice(), self.edits, |field| {
            !matches!(field.known, FieldName::ContentLength | FieldName::TransferEncoding)
        });
        out.extend_from_slice(b"\r\n");
    }
}

/// A response head after which the connection speaks another protocol (101).
pub(super) struct Switch<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) head: &'a ResponseHead,
    pub(super) edits: &'a HeaderEdits,
    /// Of a sticky cluster.
    pub(super) cookie: Option<SetCookie<'a>>,
}

impl Switch<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { bytes, head, .. } = *self;
        write_status_line(out, head.status, head.reason.of(bytes));
        copy_fields(out, bytes, head.fields.as_slice(), self.edits, |field| match field.known {
            // No body follows, whatever they say (RFC 9110, 8.6).
            FieldName::ContentLength | FieldName::TransferEncoding => false,
            FieldName::SetCookie => keeps_cookie(self.cookie, bytes, field),
            _ => true,
        });
        if let Some(cookie) = self.cookie {
            cookie.write(out);
        }
        write_upgrade(out, bytes, &head.fields);
        write_set(out, self.edits);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether an endpoint's Set-Cookie goes on: not where it would take the place of ours.
fn keeps_cookie(cookie: Option<SetCookie<'_>>, bytes: &[u8], field: &Field) -> bool {
    cookie.is_none_or(|cookie| !cookie.replaces(field.value.of(bytes)))
}

/// The same protocols on the next connection (RFC 9110, 7.8).
fn write_upgrade(out: &mut Vec<u8>, bytes: &[u8], fields: &Fields) {
    if let Some(field) = fields.first(FieldName::Upgrade) {
        out.extend_from_slice(b"connection: upgrade\r\n");
        write_field(out, "upgrade", field.value.of(bytes));
    }
}

/// RFC 9112, 4. The version is always ours.
pub(super) fn write_status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Says what the client cannot know from the version alone.
pub(super) fn write_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (Version::Http11, true) | (Version::Http10, false) => {}
        (Version::Http11, false) => out.extend_from_slice(b"connection: close\r\n"),
        (Version::Http10, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
    }
}

/// Copies the fields that `keeps` wants, that are not for one hop only, and that `edits` leaves.
///
/// Neighbouring fields are copied as the run of bytes they are: the parser has seen to it that a
/// line is a name, a colon, a value and CRLF.
pub(super) fn copy_fields(
    out: &mut Vec<u8>,
    bytes: &[u8],
    fields: &[Field],
    edits: &HeaderEdits,
    keeps: impl Fn(&Field) -> bool,
) {
    let edited = !edits.is_empty();
    let mut run: Option<(usize, usize)> = None;
    for field in fields {
        let kept =
            !field.hop_by_hop && keeps(field) && !(edited && replaces(edits, field.name.of(bytes)));
        if !kept {
            flush_run(out, bytes, run.take());
            continue;
        }
        run = Some((run.map_or(field.name.start(), |(start, _)| start), field.value.end()));
    }
    flush_run(out, bytes, run);
}

fn flush_run(out: &mut Vec<u8>, bytes: &[u8], run: Option<(usize, usize)>) {
    if let Some((start, end)) = run {
        out.extend_from_slice(&bytes[start..end]);
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether it is one of the X-Forwarded-* fields that the engine has no use for, such as
/// X-Forwarded-User: servers behind a gateway believe them all.
pub(super) fn is_forwarding(known: FieldName, name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"x-forwarded-";
    known == FieldName::Other
        && name.len() > PREFIX.len()
        && name[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
}

/// Whether the edits set or remove this field.
pub(super) fn replaces(edits: &HeaderEdits, name: &[u8]) -> bool {
    let mut names = edits.set.iter().map(|(name, _)| name).chain(&edits.remove);
    names.any(|edited| edited.as_bytes().eq_ignore_ascii_case(name))
}

/// Writes the fields that the edits set or add.
pub(super) fn write_set(out: &mut Vec<u8>, edits: &HeaderEdits) {
    for (name, value) in edits.set.iter().chain(&edits.add) {
        write_field(out, name, value.as_bytes());
    }
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
