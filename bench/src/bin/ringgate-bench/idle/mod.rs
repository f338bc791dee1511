//! Opens keep-alive connections, makes one request on each, and holds them idle.

mod http2;
mod tls;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const REQUEST: &[u8] = b"GET /bytes/128 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
const REPLY_BODY_BYTES: usize = 128;
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// What is spoken on the connections.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/1.1 in TLS, with whoever answers.
    Tls,
    /// Without TLS.
    Http2,
}

/// Prints `holding N`, holds until standard input ends, then prints how many are still open: a
/// gateway that closes idle connections would look thrifty.
pub(crate) fn hold(protocol: Protocol, port: u16, count: usize) -> io::Result<()> {
    let open = opener(protocol)?;
    let held = (0..count)
        .map(|_| {
            let connection = connect(port)?;
            open(&connection)?;
            connection.set_nonblocking(true)?;
            Ok(connection)
        })
        .collect::<io::Result<Vec<_>>>()?;
    println!("holding {}", held.len());
    io::copy(&mut io::stdin(), &mut io::sink())?;
    let open = held.iter().filter(|connection| is_open(connection)).count();
    println!("{{\"connections\": {}, \"open\": {open}}}", held.len());
    Ok(())
}

/// Makes one request on a new connection and reads all that comes of it.
type Opener = Box<dyn Fn(&TcpStream) -> io::Result<()>>;

fn opener(protocol: Protocol) -> io::Result<Opener> {
    Ok(match protocol {
        Protocol::Http1 => Box::new(|connection| ask(connection)),
        Protocol::Tls => {
            let client = tls::Client::new()?;
            // Its state ends here: a connection that is idle to the end needs it no more.
            Box::new(move |connection| ask(client.over(connection)?))
        }
        Protocol::Http2 => Box::new(|connection| http2::ask(connection)),
    })
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(REPLY_TIMEOUT))?;
    Ok(connection)
}

fn ask(mut connection: impl Read + Write) -> io::Result<()> {
    connection.write_all(REQUEST)?;
    read_reply(&mut BufReader::with_capacity(1024, connection))
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(invalid(format!("not a 200: {line:?}")));
    }
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    reader.read_exact(&mut [0; REPLY_BODY_BYTES])
}

fn invalid(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn is_open(connection: &TcpStream) -> bool {
    let finding = (&mut &*connection).read(&mut [0; 1]);
    matches!(finding, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_to_its_last_byte() {
        let body = "b".repeat(REPLY_BODY_BYTES);
        let mut reply = io::Cursor::new(format!("HTTP/1.1 200 OK\r\nserver: x\r\n\r\n{body}"));
        read_reply(&mut reply).unwrap();
        assert_eq!(reply.position(), reply.get_ref().len() as u64);
    }

    #[test]
    fn a_refusal_and_a_cut_reply_are_errors() {
        assert!(read_reply(&mut io::Cursor::new("HTTP/1.1 503 No\r\n\r\n")).is_err());
        assert!(read_reply(&mut io::Cursor::new("HTTP/1.1 200 OK\r\n\r\nshort")).is_err());
    }
}
