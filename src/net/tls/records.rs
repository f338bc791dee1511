//! How content is cut into records.

use std::io::IoSlice;

/// Content of one record (RFC 8446, 5.1).
pub(super) const RECORD_MAX: usize = 16 << 10;

/// Pieces, less what has been put into records.
pub(super) struct Rest<'a, 'b> {
    pieces: &'b [IoSlice<'a>],
    /// How much of the first one is gone.
    offset: usize,
}

impl<'a, 'b> Rest<'a, 'b> {
    pub(super) fn new(pieces: &'b [IoSlice<'a>]) -> Self {
        Self { pieces, offset: 0 }
    }

    /// The content of the next record: where it lies, if it lies in one piece, else put together
    /// in `scratch`.
    pub(super) fn next_record<'s>(&mut self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'b: 's,
    {
        while let Some((piece, later)) = self.pieces.split_first() {
            let piece = &piece[self.offset..];
            let room = RECORD_MAX - scratch.len();
            let fits = piece.len() <= room;
            let count = piece.len().min(room);
            let is_all = later.is_empty() || !fits;
            if fits {
                (self.pieces, self.offset) = (later, 0);
            } else {
                self.offset += count;
            }
            if is_all && scratch.is_empty() {
                return &piece[..count];
            }
            scratch.extend_from_slice(&piece[..count]);
            if is_all {
                break;
            }
        }
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the records that pieces of these lengths are put into.
    fn records(pieces: &[usize]) -> Vec<usize> {
        let bytes: Vec<Vec<u8>> = pieces.iter().map(|length| vec![7; *length]).collect();
        let slices: Vec<IoSlice<'_>> = bytes.iter().map(|bytes| IoSlice::new(bytes)).collect();
        let mut rest = Rest::new(&slices);
        let mut lengths = Vec::new();
        loop {
            let mut scratch = Vec::new();
            match rest.next_record(&mut scratch).len() {
                0 => return lengths,
                length => lengths.push(length),
            }
        }
    }

    #[test]
    fn a_head_and_its_content_are_one_record() {
        assert_eq!(records(&[200, 128]), [328]);
        assert_eq!(records(&[200, 4000, 2]), [4202]);
    }

    #[test]
    fn records_are_filled() {
        assert!(records(&[]).is_empty());
        assert_eq!(records(&[RECORD_MAX]), [RECORD_MAX]);
        assert_eq!(records(&[RECORD_MAX + 1]), [RECORD_MAX, 1]);
        assert_eq!(records(&[200, 2 * RECORD_MAX, 5]), [RECORD_MAX, RECORD_MAX, 205]);
    }
}
