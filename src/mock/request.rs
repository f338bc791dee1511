//! A request with its whole body.

use std::io;

use super::link::{Link, trim};
use crate::http::field_name::FieldName;
use crate::http::h1::{BodyDecoder, HeadLimits, RequestHead};
use crate::http::message::{BodyLength, Method};
use crate::http::refusal::Refusal;
use crate::http::span::Span;

const HEAD_LIMITS: HeadLimits = HeadLimits { bytes: 16 * 1024, fields: 100 };
/// Largest body that is held.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One value is used for all requests of a connection, and keeps its memory.
#[derive(Default)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    /// What the head's spans point into.
    bytes: Vec<u8>,
    pub(super) body: Vec<u8>,
    spans: Vec<Span>,
}

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Unread {
    /// The client has closed the connection between two requests, or it broke.
    Ended,
    Refused(Refusal),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Request {
    /// Reads the next request of a connection.
    pub(super) async fn read(&mut self, link: &mut Link) -> Result<(), Unread> {
        self.read_head(link).await?;
        self.read_body(link).await
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.method == Method::Head
    }

    pub(super) fn method(&self) -> &str {
        text(self.head.method_text.of(&self.bytes))
    }

    pub(super) fn path(&self) -> &str {
        text(self.head.path.of(&self.bytes))
    }

    pub(super) fn query(&self) -> &str {
        self.head.query.map(|query| text(query.of(&self.bytes))).unwrap_or_default()
    }

    /// The value of a field by its name, for names that the engine does not know.
    pub(super) fn has(&self, name: &str) -> bool {
        self.head.get(&self.bytes, name).is_some()
    }

    pub(super) fn content_type(&self) -> &[u8] {
        let field = self.head.field(FieldName::ContentType);
        field.map(|field| field.value.of(&self.bytes)).unwrap_or_default()
    }

    async fn read_head(&mut self, link: &mut Link) -> Result<(), Unread> {
        while link.input().is_empty() || !self.head.parse(link.input(), &HEAD_LIMITS)? {
            let has_begun = !link.input().is_empty();
            if !link.receive().await? {
                return Err(if has_begun { Refusal::HeadIncomplete.into() } else { Unread::Ended });
            }
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&link.input()[..self.head.len]);
        link.consume(self.head.len);
        Ok(())
    }

    async fn read_body(&mut self, link: &mut Link) -> Result<(), Unread> {
        trim(&mut self.body);
        if self.head.body.is_empty() {
            return Ok(());
        }
        if matches!(self.head.body, BodyLength::Fixed(bytes) if bytes > BODY_BYTES_MAX as u64) {
            return Err(Refusal::BodyTooLarge.into());
        }
        // Who sends the body unasked does not need to be asked (RFC 9110, 10.1.1).
        if self.head.expects_continue && link.input().is_empty() {
            link.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut decoder = BodyDecoder::new(self.head.body);
        while !self.decode(&mut decoder, link)? {
            if link.input().is_empty() && !link.receive().await? {
                return Err(Refusal::BodyIncomplete.into());
            }
        }
        Ok(())
    }

    /// Takes the body that is there; whether it has ended.
    fn decode(&mut self, decoder: &mut BodyDecoder, link: &mut Link) -> Result<bool, Refusal> {
        self.spans.clear();
        let decoded = decoder.decode(link.input(), 0, &mut self.spans)?;
        let length: usize = self.spans.iter().map(|span| span.len()).sum();
        if self.body.len() + length > BODY_BYTES_MAX {
            return Err(Refusal::BodyTooLarge);
        }
        for span in &self.spans {
            self.body.extend_from_slice(span.of(link.input()));
        }
        link.consume(decoded.consumed);
        Ok(decoded.ended)
    }
}

/// Methods and targets are ASCII where they mean anything to the mock.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
