//! What the two processes of a hand-over say to each other: named pieces of bytes.
//!
//! ```text
//! +-------------+--------------+------+-------+
//! | name: u8 n  | bytes: u32 m | n    | m     |    numbers in network order
//! +-------------+--------------+------+-------+
//! ```
//!
//! Who does not know a name passes the section over, so that either side may be the newer one.

use std::io::{self, Read, Write};

/// More than anything that crosses has: 1,024 workers on 200 addresses are 9 MiB of text.
const BYTES_MAX: u32 = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Section {
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into() }
    }

    /// # Errors
    ///
    /// The peer does not take it, or it is longer than a section may be.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let name = u8::try_from(self.name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let length = u32::try_from(self.bytes.len()).ok().filter(|length| *length <= BYTES_MAX);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let mut whole = Vec::with_capacity(5 + self.name.len() + self.bytes.len());
        whole.push(name);
        whole.extend_from_slice(&length.to_be_bytes());
        whole.extend_from_slice(self.name.as_bytes());
        whole.extend_from_slice(&self.bytes);
        to.write_all(&whole)
    }

    /// # Errors
    ///
    /// `UnexpectedEof` when the peer has gone; `InvalidData` when it speaks another language.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut lengths = [0; 5];
        from.read_exact(&mut lengths)?;
        let [name, length @ ..] = lengths;
        let length = u32::from_be_bytes(length);
        if length > BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = vec![0; usize::from(name)];
        from.read_exact(&mut text)?;
        let name = String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bytes = Vec::new();
        from.take(u64::from(length)).read_to_end(&mut bytes)?;
        match bytes.len() == length as usize {
            true => Ok(Self { name, bytes }),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The bytes as text for a log; what is not UTF-8 is replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let sections = [Section::new("end", ""), Section::new("tickets", vec![0, 255, 10])];
        let mut stream = Vec::new();
        for section in &sections {
            section.write(&mut stream).unwrap();
        }
        let mut rest = &stream[..];
        assert_eq!([(); 2].map(|()| Section::read(&mut rest).unwrap()), sections);
        let end = Section::read(&mut rest).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_section_that_breaks_off_is_no_section() {
        let mut stream = Vec::new();
        Section::new("sockets", "3 admin 127.0.0.1:9901").write(&mut stream).unwrap();
        for cut in 0..stream.len() {
            let error = Section::read(&mut &stream[..cut]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
        }
    }

    #[test]
    fn a_length_beyond_all_measure_is_not_believed() {
        let error = Section::read(&mut &[1, 255, 255, 255, 255, b'a'][..]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
