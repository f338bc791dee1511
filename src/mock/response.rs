//! The head of an answer.
//!
//! It has no Date: the mock behaves as if it had no clock (RFC 9110, 6.6.1), so that the same
//! request gets the same bytes every time.

use crate::http::message::BodyLength;

pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) body: BodyLength,
    /// The methods that the resource takes, where the request had another one.
    pub(super) allow: Option<&'a str>,
    /// What Connection says, if it has to say something.
    pub(super) connection: Option<&'static str>,
}

impl Head<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.write_status(out);
        out.extend_from_slice(b"content-type: ");
        out.extend_from_slice(self.content_type.as_bytes());
        self.write_length(out);
        if let Some(methods) = self.allow {
            out.extend_from_slice(b"\r\nallow: ");
            out.extend_from_slice(methods.as_bytes());
        }
        if let Some(option) = self.connection {
            out.extend_from_slice(b"\r\nconnection: ");
            out.extend_from_slice(option.as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn write_status(&self, out: &mut Vec<u8>) {
        if self.status == 200 {
            return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(self.status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(reason(self.status).as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn write_length(&self, out: &mut Vec<u8>) {
        match self.body {
            BodyLength::Fixed(bytes) => {
                out.extend_from_slice(b"\r\ncontent-length: ");
                out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
            }
            BodyLength::Empty => out.extend_from_slice(b"\r\ncontent-length: 0"),
            BodyLength::Chunked => out.extend_from_slice(b"\r\ntransfer-encoding: chunked"),
            BodyLength::UntilClose => {}
        }
    }
}

/// RFC 9110, 15. The others are left empty, as RFC 9112, 4 allows.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        _ => "",
    }
}
