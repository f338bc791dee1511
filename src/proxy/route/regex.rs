//! Regular expressions that paths are compared with.

use regex::bytes::{Regex, RegexBuilder};

/// A path's expression has a handful of words.
const SOURCE_BYTES_MAX: usize = 1024;
/// Bytes of a compiled expression: enough for any of that length, but for repetitions of
/// repetitions.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// Bytes that one search at a time may remember states in. Beyond it searches get slower, not
/// larger.
const CACHE_BYTES_MAX: usize = 256 << 10;
const NESTING_MAX: u32 = 32;

/// An expression in the syntax of the crate `regex`, which takes time in proportion to the path,
/// whatever the expression. Paths are ASCII, so classes such as `\d` and `\w` are as well.
#[derive(Debug, Clone)]
pub struct PathRegex(Regex);

impl PathRegex {
    /// # Errors
    ///
    /// A sentence about why the expression cannot be used.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(format!("An expression has at most {SOURCE_BYTES_MAX} bytes."));
        }
        let regex = RegexBuilder::new(source)
            .unicode(false)
            .size_limit(COMPILED_BYTES_MAX)
            .dfa_size_limit(CACHE_BYTES_MAX)
            .nest_limit(NESTING_MAX)
            .build();
        regex.map(Self).map_err(|error| explain(&error))
    }

    pub fn source(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it occurs anywhere in `path`: `^` and `$` tie it to the ends.
    pub fn is_match(&self, path: &[u8]) -> bool {
        self.0.is_match(path)
    }
}

/// The last line of a syntax error says what is wrong; those before draw the expression.
fn explain(error: &regex::Error) -> String {
    if matches!(error, regex::Error::CompiledTooBig(_)) {
        return "The expression is too large once compiled. Repeat less in it.".to_owned();
    }
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default();
    let why = why.strip_prefix("error: ").unwrap_or(why);
    format!("This is not a regular expression: {why}.")
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_anywhere_unless_it_is_tied() {
        let matches =
            |source: &str, path: &str| PathRegex::new(source).unwrap().is_match(path.as_bytes());
        assert!(matches("/v[12]/", "/api/v1/x"));
        assert!(!matches("^/v[12]/", "/api/v1/x"));
        assert!(matches(r"^/\d+$", "/42"));
        assert!(!matches(r"^/\d+$", "/42/"));
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        assert!(PathRegex::new("a(b").unwrap_err().contains("unclosed group"));
        assert!(PathRegex::new(r"(a)\1").unwrap_err().contains("backreferences"));
        assert!(PathRegex::new(&"a".repeat(1025)).unwrap_err().contains("1024 bytes"));
        assert!(PathRegex::new("((a{100}){100}){100}").unwrap_err().contains("too large"));
        assert!(PathRegex::new(&"(".repeat(100)).is_err());
    }

    #[test]
    fn an_expression_made_to_explode_takes_its_linear_time() {
        let regex = PathRegex::new("^/(a+)+$").unwrap();
        let path = format!("/{}!", "a".repeat(16 << 10));
        assert!(!regex.is_match(path.as_bytes()));
    }
}
