//! Reads `refusals.txt`, for the tests of the engine and the end-to-end tests. The format is
//! described at the top of that file.

/// One case of the file.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) raw: Vec<u8>,
    /// One word for each message, such as `ok` or `400 bare_line_feed`.
    pub(crate) outcome: String,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut open: Option<Case> = None;
    for line in include_str!("refusals.txt").lines().map(str::trim_end) {
        match open.take() {
            Some(mut case) => match line.strip_prefix("= ") {
                Some(outcome) => cases.push(Case { outcome: outcome.to_owned(), ..case }),
                None => {
                    unescape(line, &mut case.raw);
                    open = Some(case);
                }
            },
            None if line.is_empty() || line.starts_with('#') => {}
            None => {
                let name = line.strip_prefix('[').and_then(|line| line.strip_suffix(']'));
                let name = name.unwrap_or_else(|| panic!("not a name in brackets: {line}"));
                open = Some(Case { name: name.to_owned(), raw: vec![], outcome: String::new() });
            }
        }
    }
    assert!(open.is_none(), "the last case has no outcome");
    cases
}

fn unescape(mut text: &str, raw: &mut Vec<u8>) {
    while let Some((plain, escape)) = text.split_once('\\') {
        raw.extend_from_slice(plain.as_bytes());
        let (kind, rest) = escape.split_at(1);
        text = match kind {
            "r" => push(b'\r', raw, rest),
            "n" => push(b'\n', raw, rest),
            "t" => push(b'\t', raw, rest),
            "\\" => push(b'\\', raw, rest),
            "x" => {
                let byte = u8::from_str_radix(&rest[..2], 16).expect("two digits after \\x");
                push(byte, raw, &rest[2..])
            }
            "(" => repeat(rest, raw),
            _ => panic!("unknown escape: \\{escape}"),
        };
    }
    raw.extend_from_slice(text.as_bytes());
}

fn push<'a>(byte: u8, raw: &mut Vec<u8>, rest: &'a str) -> &'a str {
    raw.push(byte);
    rest
}

/// `N TEXT)`.
fn repeat<'a>(text: &'a str, raw: &mut Vec<u8>) -> &'a str {
    let (inside, rest) = text.split_once(')').expect("a bracket that closes \\(");
    let (count, text) = inside.split_once(' ').expect("a count and a text in \\(");
    let mut once = Vec::new();
    unescape(text, &mut once);
    raw.extend(once.repeat(count.parse().expect("a count in \\(")));
    rest
}
