//! Notices the first event of an answer that is a stream of server-sent events.

const NAME: &[u8] = b"data:";

/// Watches the bytes of an answer until its first `data:` line is complete. Comments and other
/// fields do not count: a server may send them long before the model has said anything.
#[derive(Debug, Default)]
pub struct FirstEvent {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The line so far is this many bytes of `data:`, and no others.
    Name(usize),
    /// In a line that is none of ours.
    OtherLine,
    DataLine,
    Passed,
}

impl Default for State {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl FirstEvent {
    /// Looks at the next bytes and says whether the first event ends in them. Says yes once.
    pub fn ends_in(&mut self, piece: &[u8]) -> bool {
        if self.state == State::Passed {
            return false;
        }
        for &byte in piece {
            self.state = self.state.next(byte);
            if self.state == State::Passed {
                return true;
            }
        }
        false
    }
}

impl State {
    fn next(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Passed, _) | (Self::DataLine, b'\r' | b'\n') => Self::Passed,
            (_, b'\r' | b'\n') => Self::Name(0),
            (Self::Name(read), _) if byte == NAME[read] => match read + 1 {
                read if read == NAME.len() => Self::DataLine,
                read => Self::Name(read),
            },
            (Self::DataLine, _) => Self::DataLine,
            (Self::Name(_) | Self::OtherLine, _) => Self::OtherLine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass until the event is noticed, fed in pieces of a size.
    fn noticed_after(stream: &str, piece_bytes: usize) -> Option<usize> {
        let mut first_event = FirstEvent::default();
        let pieces = stream.as_bytes().chunks(piece_bytes);
        let ends: Vec<bool> = pieces.map(|piece| first_event.ends_in(piece)).collect();
        assert!(ends.iter().filter(|ends| **ends).count() <= 1, "says yes once");
        ends.iter().position(|ends| *ends).map(|index| (index + 1) * piece_bytes)
    }

    #[test]
    fn the_first_data_line_counts_whatever_the_line_ends() {
        for stream in ["data: {}\n\ndata: x\n\n", "data: {}\r\n\r\n", "data: {}\rdata:\r\r"] {
            assert_eq!(noticed_after(stream, 1), Some("data: {}\n".len()), "{stream:?}");
        }
    }

    #[test]
    fn comments_and_other_fields_do_not_count() {
        let before = ": keep-alive\n\nretry: 5\r\nxdata: 1\ndat: 2\ndata\nevent: ping\n";
        let stream = format!("{before}data:\n");
        assert_eq!(noticed_after(&stream, 1), Some(stream.len()));
        assert_eq!(noticed_after(before, 1), None);
    }

    #[test]
    fn a_line_that_goes_on_is_no_event_yet() {
        assert_eq!(noticed_after("data: {\"a\":1}", 1), None);
    }

    #[test]
    fn it_is_noticed_in_the_piece_that_ends_it_however_the_stream_is_cut() {
        let stream = ": c\r\n\r\nevent: a\r\ndata: {}\r\n\r\nevent: b\r\ndata: {}\r\n\r\n";
        let exact = noticed_after(stream, 1).unwrap();
        for piece_bytes in 1..=stream.len() {
            let piece_end = exact.div_ceil(piece_bytes) * piece_bytes;
            assert_eq!(noticed_after(stream, piece_bytes), Some(piece_end));
        }
    }
}
