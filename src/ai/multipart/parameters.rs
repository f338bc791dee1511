//! The parameters of a field value: `; name=value; name="value"`.

/// A parameter; the value is without its quotes.
pub(super) struct Parameter<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Goes through the parameters; `None` stands for a malformed one and is the last.
pub(super) struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// `rest` is what follows the first item: empty, or beginning with a semicolon.
    pub(super) fn of(rest: &'a [u8]) -> Self {
        Self { rest: rest.trim_ascii_end() }
    }

    fn read(&mut self) -> Option<Parameter<'a>> {
        let rest = self.rest.trim_ascii_start().strip_prefix(b";")?.trim_ascii_start();
        let (name, rest) = split_token(rest)?;
        let rest = rest.strip_prefix(b"=")?;
        let (value, rest) = match rest.strip_prefix(b"\"") {
            Some(quoted) => split_quoted(quoted)?,
            None => split_token(rest)?,
        };
        self.rest = rest;
        Some(Parameter { name, value })
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Option<Parameter<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.read();
        if parameter.is_none() {
            self.rest = &[];
        }
        Some(parameter)
    }
}

fn split_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| !is_token(*byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Splits at the closing quote. A backslash before a quote is refused: some readers take the quote
/// as part of the text, others as its end.
fn split_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'"', text)?;
    let value = &text[..end];
    (!value.ends_with(b"\\")).then_some((value, &text[end + 1..]))
}

/// A character of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a parameter says that text is in another charset than it is read in here. Some readers
/// decode the names and values of fields by it, and in UTF-7 or EBCDIC they become others.
pub(super) fn is_foreign_charset(name: &[u8], value: &[u8]) -> bool {
    let is_known = |charset: &&str| value.eq_ignore_ascii_case(charset.as_bytes());
    let is_ours = ["utf-8", "utf8", "us-ascii"].iter().any(is_known);
    has_prefix(name, b"charset*") || name.eq_ignore_ascii_case(b"charset") && !is_ours
}

/// In any letter case. With a `*` at its end, for the spellings of RFC 2231.
pub(super) fn has_prefix(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
