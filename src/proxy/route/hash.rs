//! Tables whose keys come from the configuration.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by names that only the operator chooses. A client can choose what is looked up, but not
/// what it is compared with, so the hash need not be keyed; the standard library's keyed one takes
/// longer than all the rest of a lookup.
#[derive(Debug)]
pub(super) struct Names<T> {
    by_name: HashMap<Box<[u8]>, T, BuildHasherDefault<Words>>,
    /// Bytes of the longest name: what is longer is not worth hashing.
    longest: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { by_name: HashMap::default(), longest: 0 }
    }
}

impl<T> Names<T> {
    pub(super) fn get(&self, name: &[u8]) -> Option<&T> {
        if name.len() > self.longest { None } else { self.by_name.get(name) }
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    pub(super) fn get_or_insert_with(&mut self, name: &[u8], new: impl FnOnce() -> T) -> &mut T {
        self.longest = self.longest.max(name.len());
        self.by_name.entry(name.into()).or_insert_with(new)
    }
}

/// Multiplies and rotates, eight bytes at a time.
#[derive(Default)]
struct Words(u64);

/// 2^64 divided by the golden ratio, which spreads neighbours widely (Knuth, volume 3, 6.4); odd.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.write_u64(u64::from_le_bytes(word.try_into().expect("chunks of eight")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    }

    /// The length of a slice.
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    /// Multiplying moves what differs upwards, and tables look at the low bits too.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_all_of_its_bytes() {
        let mut names = Names::default();
        for (value, name) in ["", "a", "ab", "abcdefgh", "abcdefghi", "a\0"].iter().enumerate() {
            *names.get_or_insert_with(name.as_bytes(), || 0) = value;
        }
        assert_eq!(names.get(b""), Some(&0));
        assert_eq!(names.get(b"a"), Some(&1));
        assert_eq!(names.get(b"a\0"), Some(&5));
        assert_eq!(names.get(b"abcdefghi"), Some(&4));
        assert_eq!(names.get(b"abcdefghj"), None);
        assert_eq!(names.get(b"abcdefghij"), None);
    }

    #[test]
    fn names_that_differ_in_a_number_are_spread() {
        let hash = |number: u32| {
            let mut words = Words::default();
            words.write(format!("tenant-{number:05}.example.com").as_bytes());
            words.finish()
        };
        let low: std::collections::HashSet<_> = (0..4096).map(|n| hash(n) % 4096).collect();
        // 4096 balls thrown into 4096 boxes at random leave 63 % of them with one.
        assert!(low.len() > 4096 / 2, "{}", low.len());
    }
}
