//! As much of WebSocket (RFC 6455) as a gateway needs: to check a handshake, and to know between
//! which bytes a frame of its own may stand. Messages are not read.

use super::base64::push_base64;
use super::sha1::sha1;

/// RFC 6455, 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Sixteen bytes in base64.
const KEY_BYTES: usize = 24;

/// Whether a Sec-WebSocket-Key is one (RFC 6455, 4.1).
pub fn is_key(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    value.len() == KEY_BYTES
        && value.ends_with(b"==")
        && value[..KEY_BYTES - 2].iter().all(is_digit)
}

/// Appends a Sec-WebSocket-Key made of random bytes: for a client that needs none, as over HTTP/2
/// (RFC 8441, 5).
pub fn push_key(random: [u8; 16], out: &mut Vec<u8>) {
    push_base64(out, &random);
}

/// Whether a Sec-WebSocket-Accept is the answer to this key (RFC 6455, 4.2.2).
pub fn accepts(accept: &[u8], key: &[u8]) -> bool {
    let mut expected = Vec::with_capacity(28);
    push_base64(&mut expected, &sha1(&[key, GUID].concat()));
    accept == expected
}

/// A Close that says "going away" (RFC 6455, 7.4.1: 1001), as a server sends it.
pub const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xE9];

/// The same as a client sends it, masked. The mask keeps clients from choosing the bytes that
/// intermediaries see (RFC 6455, 10.3); nobody has chosen these.
pub const GOING_AWAY_MASKED: &[u8] = &[0x88, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xE9];

/// Longest header of a frame: two bytes, a length of eight, a mask of four.
const HEADER_BYTES_MAX: usize = 14;

const CLOSE: u8 = 8;

/// Follows the frames of one direction by their headers.
#[derive(Default, Debug)]
pub struct Frames {
    /// The beginning of a header that is not complete.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Of the frame that is under way.
    payload_left: u64,
    in_close: bool,
    closed: bool,
}

impl Frames {
    /// Whether the bytes so far are whole frames, so that another may follow.
    pub fn is_at_border(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    /// Whether a whole Close has passed: no more frames follow it.
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Follows all of these bytes.
    pub fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.pass_frame(rest);
            rest = &rest[count..];
        }
    }

    /// Follows the bytes to the end of the frame that is under way, none at a border, and says
    /// how many these are.
    pub fn pass_to_border(&mut self, bytes: &[u8]) -> usize {
        if self.is_at_border() { 0 } else { self.pass_frame(bytes) }
    }

    /// Follows the bytes to the end of the present or next frame.
    fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.payload_left == 0 {
            let Some(&byte) = bytes.get(at) else { return at };
            at += 1;
            if self.take_header_byte(byte) && self.payload_left == 0 {
                self.end_frame();
                return at;
            }
        }
        let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
        let count = left.min(bytes.len() - at);
        self.payload_left -= count as u64;
        if self.payload_left == 0 {
            self.end_frame();
        }
        at + count
    }

    /// Whether the header is complete with that.
    fn take_header_byte(&mut self, byte: u8) -> bool {
        self.header[self.header_len] = byte;
        self.header_len += 1;
        let header = &self.header[..self.header_len];
        let [first, second, rest @ ..] = header else { return false };
        let mask_len = if second & 0x80 == 0 { 0 } else { 4 };
        let (short, length_len) = match second & 0x7F {
            126 => (0, 2),
            127 => (0, 8),
            short => (u64::from(short), 0),
        };
        if rest.len() < length_len + mask_len {
            return false;
        }
        let length = rest[..length_len].iter();
        self.payload_left = length.fold(short, |sum, &byte| sum << 8 | u64::from(byte));
        self.in_close = first & 0x0F == CLOSE;
        self.header_len = 0;
        true
    }

    fn end_frame(&mut self) {
        self.closed |= self.in_close;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_rfc() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_key(key));
        assert!(accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", key));
        assert!(!accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo", key));
        assert!(!accepts(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"dGhlIHNhbXBsZSBub25jZA=="));
        let mut made = Vec::new();
        push_key(*b"the sample nonce", &mut made);
        assert_eq!(made, key);
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        for value in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=a", "dGhlIHNhb==="] {
            assert!(!is_key(value.as_bytes()), "{value}");
        }
        assert!(!is_key(b"dGhlIHNhbXBs ZSBub25jZQ=="));
        assert!(!is_key(b"dGhlIHNhbXBs-SBub25jZA=="));
    }

    /// A frame with a payload of this length.
    fn frame(opcode: u8, masked: bool, len: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![opcode];
        match u16::try_from(len) {
            Ok(short) if short < 126 => frame.push(mask | short as u8),
            Ok(length) => {
                frame.push(mask | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(mask | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        // 0xFF where a header would be misread.
        let rest = if masked { 4 + len } else { len };
        frame.extend(std::iter::repeat_n(0xFF, rest));
        frame
    }

    #[test]
    fn our_own_frames_are_a_close_each() {
        for close in [GOING_AWAY, GOING_AWAY_MASKED] {
            let mut frames = Frames::default();
            frames.pass(close);
            assert!(frames.has_closed() && frames.is_at_border());
            assert_eq!(close[close.len() - 2..], 1001_u16.to_be_bytes());
        }
    }

    #[test]
    fn a_border_is_between_frames_only() {
        for masked in [false, true] {
            for len in [0, 1, 125, 126, 65_535, 65_536] {
                let frame = frame(0x82, masked, len);
                let mut frames = Frames::default();
                for cut in [1, 2, 3, 9, 13, frame.len() - 1] {
                    let cut = cut.min(frame.len() - 1);
                    frames = Frames::default();
                    frames.pass(&frame[..cut]);
                    assert!(!frames.is_at_border(), "{len} {masked} {cut}");
                }
                let behind = [&[0xFF][..], b"next frame"].concat();
                frames.pass(&frame[frame.len() - 1..]);
                assert!(frames.is_at_border());
                assert_eq!(frames.pass_to_border(&behind), 0);
            }
        }
    }

    #[test]
    fn a_close_counts_when_it_is_whole() {
        let mut frames = Frames::default();
        let close = frame(0x88, true, 2);
        frames.pass(&close[..7]);
        assert!(!frames.has_closed());
        frames.pass(&close[7..]);
        assert!(frames.has_closed());

        let mut frames = Frames::default();
        frames.pass(&frame(0x88, false, 0));
        assert!(frames.has_closed());
    }

    #[test]
    fn the_largest_length_is_no_border_for_long() {
        let mut frames = Frames::default();
        frames.pass(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(frames.pass_to_border(&[0; 1000]), 1000);
        assert!(!frames.is_at_border());
    }

    proptest! {
        #[test]
        fn borders_do_not_depend_on_how_bytes_arrive(
            lens in proptest::collection::vec((0..300_usize, any::<bool>()), 1..6),
            step in 1..40_usize,
            stop in any::<proptest::sample::Index>(),
        ) {
            let whole: Vec<Vec<u8>> =
                lens.iter().map(|(len, masked)| frame(0x01, *masked, *len)).collect();
            let bytes = whole.concat();
            let stop = stop.index(bytes.len() + 1);
            let mut frames = Frames::default();
            bytes[..stop].chunks(step).for_each(|piece| frames.pass(piece));
            // The end of the frame that `stop` lies in.
            let ends = whole.iter().scan(0, |end, frame| { *end += frame.len(); Some(*end) });
            let border = std::iter::once(0).chain(ends).find(|end| *end >= stop).unwrap();
            let mut at = stop;
            while !frames.is_at_border() {
                let next = (at + step).min(bytes.len());
                at += frames.pass_to_border(&bytes[at..next]);
            }
            prop_assert_eq!(at, border);
        }

        #[test]
        fn any_bytes_are_followed(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            prop_assert!(frames.pass_to_border(&bytes) <= bytes.len());
        }
    }
}
