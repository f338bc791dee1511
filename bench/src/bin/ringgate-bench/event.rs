//! The stamped event: what the upstream writes into a stream and the stream client looks for.
//!
//! The stamp (CLOCK_MONOTONIC, ns) has always the same number of digits. Around it stands what a
//! model server sends for one LLM token, so that the size is realistic.

/// Digits of a stamp: enough for any u64.
const DIGITS: usize = 20;

const BEFORE: &[u8] =
    b"data: {\"id\":\"chatcmpl-9f2c1a7be04d\",\"object\":\"chat.completion.chunk\",\
\"model\":\"bench-model\",\"stamp\":\"";
const AFTER: &[u8] =
    b"\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

/// Bytes of one event.
pub(crate) const EVENT_BYTES: usize = BEFORE.len() + DIGITS + AFTER.len();

/// Appends the event stamped with `now` (ns).
pub(crate) fn write(output: &mut Vec<u8>, now: u64) {
    output.extend_from_slice(BEFORE);
    output.extend_from_slice(format!("{now:0DIGITS$}").as_bytes());
    output.extend_from_slice(AFTER);
}

/// Finds stamps in what arrives from a stream, cut anywhere.
///
/// Looks for events as such and so need not care how a gateway cuts the chunks round them.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The end of the last piece, as far as it may belong to an event not yet complete.
    rest: Vec<u8>,
}

impl Reader {
    /// Calls `found` with the stamp of each event that `piece` completes.
    pub(crate) fn read(&mut self, piece: &[u8], mut found: impl FnMut(u64)) {
        self.rest.extend_from_slice(piece);
        let mut done = 0;
        while let Some(start) = find(&self.rest[done..], BEFORE) {
            let stamp = done + start + BEFORE.len();
            let Some(digits) = self.rest.get(stamp..stamp + DIGITS) else {
                break;
            };
            if let Some(stamp) = number(digits) {
                found(stamp);
            }
            done = stamp + DIGITS;
        }
        let longest_part = BEFORE.len() + DIGITS - 1;
        let keep_from = self.rest.len().saturating_sub(longest_part).max(done);
        self.rest.drain(..keep_from);
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(pieces: &[&[u8]]) -> Vec<u64> {
        let mut reader = Reader::default();
        let mut stamps = Vec::new();
        for piece in pieces {
            reader.read(piece, |stamp| stamps.push(stamp));
        }
        stamps
    }

    #[test]
    fn stamps_are_found_wherever_the_stream_is_cut() {
        let mut stream = b"HTTP/1.1 200 OK\r\n\r\nb8\r\n".to_vec();
        write(&mut stream, 17);
        stream.extend_from_slice(b"\r\nb8\r\n");
        write(&mut stream, u64::MAX);
        for cut in 0..=stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(stamps(&[left, right]), [17, u64::MAX], "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(stamps(&bytes), [17, u64::MAX]);
    }

    #[test]
    fn what_is_kept_between_pieces_is_bounded() {
        let mut reader = Reader::default();
        for _ in 0..1000 {
            reader.read(&[b'x'; 4096], |_| {});
        }
        assert!(reader.rest.len() < EVENT_BYTES);
    }

    #[test]
    fn an_event_has_the_size_it_says() {
        let mut event = Vec::new();
        write(&mut event, 1);
        assert_eq!(event.len(), EVENT_BYTES);
    }
}
