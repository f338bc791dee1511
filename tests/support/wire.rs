//! HTTP/1.1 messages as a plain reader of the RFC sees them. Shares nothing with `src/http`, so
//! that a misreading there is noticed here.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use super::PATIENCE;
use super::tls::Tls;

/// Lines, each ended by CRLF. A body is appended to the result.
#[macro_export]
macro_rules! wire {
    ($($line:expr)*) => {{
        let mut bytes: Vec<u8> = Vec::new();
        $( bytes.extend_from_slice($line.as_ref()); bytes.extend_from_slice(b"\r\n"); )*
        bytes
    }};
}

/// Why no whole message could be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Broken {
    /// The stream ended before the first byte of a message.
    Closed,
    /// The stream ended within a message.
    Cut,
    Reset,
    TimedOut,
    /// The peer says something that is not HTTP.
    Malformed(String),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::UnexpectedEof => Self::Cut,
            _ => Self::Reset,
        }
    }
}

/// Start line and fields, without what they mean.
#[derive(Clone, Default)]
pub struct Head {
    /// As it came, the empty line included.
    pub raw: Vec<u8>,
    pub start_line: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn read(raw: Vec<u8>) -> Result<Self, Broken> {
        // Bytes above ASCII become the characters of the same number, so that none is lost.
        let text: String = raw.iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start_line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { raw, start_line, fields })
    }

    /// The value of the only field of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "more than one {name}: {all:?}");
        all.first().copied()
    }

    /// The values of all fields of that name, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The word of the start line: 0 is the method, or a response's version.
    pub fn word(&self, index: usize) -> &str {
        self.start_line.split(' ').nth(index).unwrap_or_default()
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    fn length(&self) -> Result<Option<usize>, Broken> {
        let parse = |text: &str| text.parse().map_err(|_| malformed("Content-Length", text));
        self.get("content-length").map(parse).transpose()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

fn field(line: &str) -> Result<(String, String), Broken> {
    let (name, value) = line.split_once(':').ok_or_else(|| malformed("field", line))?;
    if name.is_empty() || name.contains([' ', '\t']) {
        return Err(malformed("field name", name));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn malformed(what: &str, text: &str) -> Broken {
    Broken::Malformed(format!("{what}: {text:?}"))
}

/// What a message carries behind its head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub content: Vec<u8>,
    /// Of a chunked body.
    pub trailers: Vec<(String, String)>,
}

/// One side of a connection, and what it has received but not yet read.
pub struct Wire {
    stream: TcpStream,
    /// Between us and the stream, if it is private.
    tls: Option<Tls>,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY is settable");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout is settable");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout is settable");
        Self { stream, tls: None, buffer: Vec::new() }
    }

    /// Over TLS, whose handshake may still have to be done.
    pub fn private(stream: TcpStream, tls: Tls) -> Self {
        Self { tls: Some(tls), ..Self::new(stream) }
    }

    pub fn tls(&mut self) -> &mut Tls {
        self.tls.as_mut().expect("a private connection")
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.stream, bytes),
            None => self.stream.write_all(bytes),
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&mut self.stream);
        }
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Makes the close of this connection a reset.
    pub fn reset_on_close(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option's value is a `linger` that lives during the call.
        let result = unsafe {
            libc::setsockopt(
                self.stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of::<libc::linger>() as libc::socklen_t,
            )
        };
        assert_eq!(result, 0, "SO_LINGER is settable");
    }

    /// Waits until there is something to read, and leaves it unread.
    pub fn peek(&self) -> io::Result<usize> {
        self.stream.peek(&mut [0])
    }

    /// Receives something; 0 at the end of the stream.
    fn receive(&mut self) -> Result<usize, Broken> {
        let mut piece = [0; 16 * 1024];
        let count = match &mut self.tls {
            Some(tls) => tls.read(&mut self.stream, &mut piece)?,
            None => self.stream.read(&mut piece)?,
        };
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    fn receive_some(&mut self) -> Result<(), Broken> {
        match self.receive()? {
            0 if self.buffer.is_empty() => Err(Broken::Closed),
            0 => Err(Broken::Cut),
            _ => Ok(()),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    /// Exactly that many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Result<Vec<u8>, Broken> {
        while self.buffer.len() < count {
            self.receive_some().map_err(within_message)?;
        }
        Ok(self.take(count))
    }

    /// All bytes to the end, and how the end came: a close is `Closed` or, behind bytes, `Cut`.
    pub fn read_to_end(&mut self) -> (Vec<u8>, Broken) {
        loop {
            if let Err(end) = self.receive_some() {
                return (self.take(self.buffer.len()), end);
            }
        }
    }

    /// Everything up to and with `end`.
    fn read_until(&mut self, end: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut looked_at = 0;
        loop {
            let rest = &self.buffer[looked_at..];
            if let Some(found) = rest.windows(end.len()).position(|window| window == end) {
                return Ok(self.take(looked_at + found + end.len()));
            }
            looked_at = self.buffer.len().saturating_sub(end.len() - 1);
            self.receive_some()?;
        }
    }

    pub fn read_head(&mut self) -> Result<Head, Broken> {
        Head::read(self.read_until(b"\r\n\r\n")?)
    }

    /// A CRLF-ended line, without its end.
    fn read_line(&mut self) -> Result<String, Broken> {
        let mut line = self.read_until(b"\r\n").map_err(within_message)?;
        line.truncate(line.len() - 2);
        Ok(line.iter().map(|&byte| char::from(byte)).collect())
    }

    /// The next chunk, which is empty at the end of the body.
    pub fn read_chunk(&mut self) -> Result<Vec<u8>, Broken> {
        let line = self.read_line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("chunk size", &line))?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut chunk = self.read_exactly(size + 2)?;
        if !chunk.ends_with(b"\r\n") {
            return Err(malformed("chunk end", &line));
        }
        chunk.truncate(size);
        Ok(chunk)
    }

    /// What follows the last chunk.
    pub fn read_trailers(&mut self) -> Result<Vec<(String, String)>, Broken> {
        let mut trailers = Vec::new();
        loop {
            match self.read_line()? {
                line if line.is_empty() => return Ok(trailers),
                line => trailers.push(field(&line)?),
            }
        }
    }

    fn read_chunked(&mut self) -> Result<Body, Broken> {
        let mut body = Body::default();
        loop {
            let chunk = self.read_chunk()?;
            if chunk.is_empty() {
                body.trailers = self.read_trailers()?;
                return Ok(body);
            }
            body.content.extend_from_slice(&chunk);
        }
    }

    /// RFC 9112, section 6.3, for a request.
    pub fn read_request_body(&mut self, head: &Head) -> Result<Body, Broken> {
        if head.is_chunked() {
            return self.read_chunked();
        }
        let content = self.read_exactly(head.length()?.unwrap_or(0))?;
        Ok(Body { content, ..Body::default() })
    }

    /// RFC 9112, section 6.3, for a response to a request with `method`.
    pub fn read_response_body(&mut self, head: &Head, method: &str) -> Result<Body, Broken> {
        let status = head.word(1);
        if method == "HEAD" || status.starts_with('1') || matches!(status, "204" | "304") {
            return Ok(Body::default());
        }
        if head.is_chunked() {
            return self.read_chunked();
        }
        let content = match head.length()? {
            Some(length) => self.read_exactly(length)?,
            None => match self.read_to_end() {
                (content, Broken::Closed | Broken::Cut) => content,
                (_, broken) => return Err(broken),
            },
        };
        Ok(Body { content, ..Body::default() })
    }
}

/// A close behind a head is not the end between messages.
fn within_message(broken: Broken) -> Broken {
    match broken {
        Broken::Closed => Broken::Cut,
        broken => broken,
    }
}
