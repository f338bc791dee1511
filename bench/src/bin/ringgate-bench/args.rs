//! `--name value` pairs; too few to want a library.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

#[derive(Debug)]
pub(crate) struct Args(HashMap<String, String>);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArgsError {
    NotAnOption(String),
    WithoutValue(String),
    Missing(&'static str),
    NotANumber(&'static str, String),
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, ArgsError> {
        let mut options = HashMap::new();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                return Err(ArgsError::NotAnOption(word));
            };
            let value = words.next().ok_or_else(|| ArgsError::WithoutValue(word.clone()))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    pub(crate) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, ArgsError> {
        let text = self.0.get(name).ok_or(ArgsError::Missing(name))?;
        text.parse().map_err(|_| ArgsError::NotANumber(name, text.clone()))
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnOption(word) => write!(f, "expected an option, got \"{word}\""),
            Self::WithoutValue(word) => write!(f, "{word} wants a value"),
            Self::Missing(name) => write!(f, "--{name} is missing"),
            Self::NotANumber(name, text) => write!(f, "--{name} wants a number, got \"{text}\""),
        }
    }
}

impl Error for ArgsError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, ArgsError> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn an_option_is_found_by_its_name_and_read_as_the_wanted_type() {
        let args = parse("--port 18900 --count 1000").unwrap();
        assert_eq!(args.number::<u16>("port"), Ok(18900));
        assert_eq!(args.number::<usize>("count"), Ok(1000));
    }

    #[test]
    fn what_is_wrong_with_the_command_line_is_named() {
        assert_eq!(parse("port").unwrap_err(), ArgsError::NotAnOption("port".into()));
        assert_eq!(parse("--port").unwrap_err(), ArgsError::WithoutValue("--port".into()));
        let args = parse("--port 70000").unwrap();
        assert_eq!(args.number::<u16>("count"), Err(ArgsError::Missing("count")));
        assert_eq!(args.number::<u16>("port"), Err(ArgsError::NotANumber("port", "70000".into())));
    }
}
