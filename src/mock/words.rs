//! What the mock models say: always the same words, one for each LLM token.

/// Repeated as often as needed. Has nothing that a JSON string must escape.
const TEXT: &str = " Every ring has a gate and every gate has a ring, so the words go round once \
                    more and come back the same as they left.";
const COUNT: usize = count();
/// Where each word of [`TEXT`] begins, with the space before it, and where the last one ends.
const STARTS: [usize; COUNT + 1] = starts();

const fn count() -> usize {
    let mut words = 0;
    let mut at = 0;
    while at < TEXT.len() {
        words += (TEXT.as_bytes()[at] == b' ') as usize;
        at += 1;
    }
    words
}

const fn starts() -> [usize; COUNT + 1] {
    let mut starts = [TEXT.len(); COUNT + 1];
    let mut word = 0;
    let mut at = 0;
    while at < TEXT.len() {
        if TEXT.as_bytes()[at] == b' ' {
            starts[word] = at;
            word += 1;
        }
        at += 1;
    }
    starts
}

/// The LLM token of this index, from 0.
pub(super) fn token(index: usize) -> &'static str {
    let word = index % COUNT;
    let text = &TEXT[STARTS[word]..STARTS[word + 1]];
    if index == 0 { text.trim_ascii_start() } else { text }
}

/// Appends the first `tokens` LLM tokens.
pub(super) fn push_text(out: &mut Vec<u8>, tokens: usize) {
    let Some(others) = tokens.checked_sub(1) else { return };
    out.extend_from_slice(token(0).as_bytes());
    let first_round = others.min(COUNT - 1);
    out.extend_from_slice(&TEXT.as_bytes()[STARTS[1]..STARTS[1 + first_round]]);
    let rest = others - first_round;
    for _ in 0..rest / COUNT {
        out.extend_from_slice(TEXT.as_bytes());
    }
    out.extend_from_slice(&TEXT.as_bytes()[..STARTS[rest % COUNT]]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_tokens_in_a_row() {
        for tokens in 0..3 * COUNT {
            let mut text = Vec::new();
            push_text(&mut text, tokens);
            let joined: String = (0..tokens).map(token).collect();
            assert_eq!(String::from_utf8(text).unwrap(), joined);
        }
    }

    #[test]
    fn a_text_has_one_word_for_each_token_and_needs_no_escapes() {
        let mut text = Vec::new();
        push_text(&mut text, 100);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.split(' ').count(), 100);
        assert!(text.starts_with("Every ring"));
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
        );
    }
}
