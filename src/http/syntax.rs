//! Which bytes may stand where (RFC 9110, 5.6), and quick searches for the first that may not.

/// `tchar` of RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Where the token that begins at `from` ends: at the length of `bytes` if that is all token.
pub(super) fn token_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(rest.len())
}

/// Where a field name ends, if it is one at all: at the first colon, space or control character.
pub(super) fn name_end(bytes: &[u8], from: usize) -> usize {
    let in_word = |word| below(word, b'!') | equal(word, b':');
    find(bytes, from, in_word, |&byte| byte <= b' ' || byte == b':')
}

/// Compares a name with one in lower case that holds only letters, digits and hyphens.
pub(super) fn is_name(name: &[u8], lower: &[u8]) -> bool {
    let is_word = |(name, lower): (&[u8; 8], &[u8; 8])| {
        fold(u64::from_le_bytes(*name)) == u64::from_le_bytes(*lower)
    };
    let (name_words, lower_words) = (name.as_chunks().0.iter(), lower.as_chunks().0.iter());
    name.len() == lower.len()
        && match name.last_chunk().zip(lower.last_chunk()) {
            // The last word overlaps the one before.
            Some(last) => is_word(last) && name_words.zip(lower_words).all(is_word),
            None => name.iter().zip(lower).all(|(&name, &lower)| fold_byte(name) == lower),
        }
}

/// Where a field value or reason phrase ends: at the first control character except tab.
pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        at = find(bytes, at, |word| below(word, b' ') | equal(word, DELETE), u8::is_ascii_control);
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

/// Where a request target ends: at the first byte that is not visible ASCII, or at `#`.
pub(super) fn target_end(bytes: &[u8], from: usize) -> usize {
    let in_word =
        |word| below(word, b'!') | equal(word, DELETE) | equal(word, b'#') | (word & each(0x80));
    find(bytes, from, in_word, |&byte| !byte.is_ascii_graphic() || byte == b'#')
}

/// Where a path stops being plain: at the first byte that is out of place in one, or that begins
/// an escape, or at a backslash.
pub(super) fn path_end(bytes: &[u8]) -> usize {
    let stops = b"%\\#?";
    let in_word = |word| {
        let stop = stops.iter().fold(0, |hits, &stop| hits | equal(word, stop));
        stop | below(word, b'!') | equal(word, DELETE) | (word & each(0x80))
    };
    find(bytes, 0, in_word, |byte| !byte.is_ascii_graphic() || stops.contains(byte))
}

/// Without the spaces and tabs at either end.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The members of a comma-separated list (RFC 9110, 5.6.1), trimmed; empty ones too. Quoted
/// strings are not looked into: a comma in one splits it, and its halves are no tokens.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim)
}

const DELETE: u8 = 0x7f;

/// The first byte from `from` on that is a hit. Eight bytes at a time: `in_word` sets the high
/// bit of every byte that is a hit, and may set others after the first (in memory order).
fn find(
    bytes: &[u8],
    from: usize,
    in_word: impl Fn(u64) -> u64,
    is_hit: impl Fn(&u8) -> bool,
) -> usize {
    let mut at = from;
    let mut rest = bytes.get(from..).unwrap_or_default();
    while let Some((block, after)) = rest.split_first_chunk::<8>() {
        let hits = in_word(u64::from_le_bytes(*block));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
        rest = after;
    }
    at + rest.iter().position(is_hit).unwrap_or(rest.len())
}

/// Makes letters lower case, and keeps hyphens and digits. What becomes of other bytes is neither.
fn fold(word: u64) -> u64 {
    word | (word & each(0x40)) >> 1
}

fn fold_byte(byte: u8) -> u8 {
    byte | (byte & 0x40) >> 1
}

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Marks the bytes below `bound`, exact up to the first: a borrow runs towards later bytes only.
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(each(bound)) & !word & each(0x80)
}

/// Marks the bytes that equal `byte`, exact up to the first.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ each(byte), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slow(bytes: &[u8], is_hit: impl Fn(u8) -> bool) -> usize {
        bytes.iter().position(|&byte| is_hit(byte)).unwrap_or(bytes.len())
    }

    proptest! {
        #[test]
        fn searches_by_words_find_what_searches_by_bytes_find(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            padding in 0..30_usize,
        ) {
            let mut padded = vec![b'a'; padding];
            padded.extend(bytes);
            prop_assert_eq!(
                value_end(&padded, 0),
                slow(&padded, |b| (b < 0x20 && b != b'\t') || b == 0x7f)
            );
            prop_assert_eq!(
                target_end(&padded, 0),
                slow(&padded, |b| !(0x21..=0x7e).contains(&b) || b == b'#')
            );
            prop_assert_eq!(
                name_end(&padded, 0),
                slow(&padded, |b| b <= b' ' || b == b':')
            );
            prop_assert_eq!(
                path_end(&padded),
                slow(&padded, |b| !(0x21..=0x7e).contains(&b) || b"#?%\\".contains(&b))
            );
        }
    }

    #[test]
    fn names_are_equal_in_any_case_and_in_no_other_way() {
        for name in ["te", "date", "via-1-x", "keep-alive", "x-forwarded-for-9"] {
            assert!(is_name(name.to_ascii_uppercase().as_bytes(), name.as_bytes()));
            for at in 0..name.len() {
                let mut other = name.as_bytes().to_vec();
                for byte in 0..=255 {
                    other[at] = byte;
                    let is_same = other.eq_ignore_ascii_case(name.as_bytes());
                    assert_eq!(is_name(&other, name.as_bytes()), is_same);
                }
            }
        }
        assert!(!is_name(b"dat", b"date") && !is_name(b"keep-alive1", b"keep-alive"));
    }

    #[test]
    fn a_token_has_no_separators() {
        let separators = b" \t\r\n\"(),/:;<=>?@[\\]{}\x7f\x80\xff\0";
        assert!(separators.iter().all(|&byte| !is_token_byte(byte)));
        assert_eq!((0..=255).filter(|&byte| is_token_byte(byte)).count(), 62 + 15);
    }

    #[test]
    fn a_list_is_split_at_commas_and_trimmed() {
        let found: Vec<_> = members(b" a ,, b\t").collect();
        assert_eq!(found, [&b"a"[..], b"", b"b"]);
    }
}
