//! What requests and responses have in common: method, version, length of the body.

/// A request method, told by one compare later on. Methods are case-sensitive (RFC 9110, 9.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
    Options,
    Trace,
    Connect,
    /// Any other token; its text is in the head.
    Other,
}

impl Method {
    /// `text` must be a token.
    pub fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"POST" => Self::Post,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// As metrics name it: in words of RFC 9110 only, whatever a client invents.
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "other",
        }
    }

    /// Whether a request may be sent twice without the client's consent (RFC 9110, 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Connect | Self::Other)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// How the end of a body is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum BodyLength {
    /// There is no body, and nothing in the head promises one to this reader.
    #[default]
    Empty,
    /// Content-Length, in bytes. Zero where the sender said so.
    Fixed(u64),
    Chunked,
    /// Responses only: what comes until the connection is closed.
    UntilClose,
}

impl BodyLength {
    /// Whether no byte of body follows the head.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Empty | Self::Fixed(0))
    }
}
