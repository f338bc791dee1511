//! One request of HTTP/2, written by hand: its bytes are always the same.

use std::io::{self, Read, Write};

use super::{REPLY_BODY_BYTES, invalid};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// GET, http, `/bytes/128` and `127.0.0.1` (RFC 7541, A: 2, 6, and literals named by 4 and 1).
const HEAD: &[u8] = b"\x82\x86\x04\x0a/bytes/128\x01\x09127.0.0.1";

/// Also acknowledges what has to be, so that nothing is open but the connection.
pub(super) fn ask(mut connection: impl Read + Write) -> io::Result<()> {
    let request =
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_STREAM | END_HEADERS, 1, HEAD)];
    connection.write_all(&request.concat())?;
    let mut body = 0;
    loop {
        let (kind, flags, payload) = read_frame(&mut connection)?;
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let payload = if kind == PING { &payload[..] } else { &[] };
                connection.write_all(&frame(kind, ACK, 0, payload))?;
            }
            // `:status` 200 is entry 8; a change of the table's size may stand in front.
            HEADERS if !payload.contains(&0x88) => return Err(invalid("not a 200".to_owned())),
            DATA => body += payload.len(),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return match body {
                REPLY_BODY_BYTES => Ok(()),
                other => Err(invalid(format!("a body of {other} bytes"))),
            };
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn read_frame(connection: &mut impl Read) -> io::Result<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head)?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    connection.read_exact(&mut payload)?;
    Ok((head[3], head[4], payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose words are known beforehand, and what it was told.
    struct Script(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn answered(status: u8, body: usize) -> io::Result<Vec<u8>> {
        let said = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &[status]),
            frame(DATA, END_STREAM, 1, &vec![b'x'; body]),
        ];
        let mut script = Script(io::Cursor::new(said.concat()), Vec::new());
        ask(&mut script).map(|()| script.1)
    }

    #[test]
    fn a_whole_reply_is_read_and_the_settings_are_acknowledged() {
        let sent = answered(0x88, REPLY_BODY_BYTES).unwrap();
        assert!(sent.starts_with(PREFACE));
        assert!(sent.ends_with(&frame(SETTINGS, ACK, 0, &[])));
    }

    #[test]
    fn another_status_and_another_length_are_errors() {
        assert!(answered(0x8d, REPLY_BODY_BYTES).is_err());
        assert!(answered(0x88, 1).is_err());
    }
}
