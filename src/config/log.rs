//! `[log]`, `[access_log]` and `[telemetry]`.

use std::path::PathBuf;

use super::reader::{Value, nearest_is};
use super::section::Section;
use crate::nearest::nearest;
use crate::proxy::settings::{AccessLog, LineFormat, Log, LogFormat, Telemetry};

const LEVEL: &str = "info";
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Everything: who wants less says so.
const SAMPLE: f64 = 1.0;

const SERVICE: &str = "ringgate";

/// Prometheus gives these labels a meaning of its own.
const RESERVED_LABELS: [&str; 2] = ["le", "quantile"];

pub(super) fn log(section: &mut Section<'_>) -> Log {
    let level = section.take("level", |value| {
        value.parse("a level such as \"info\"", |text| levels(text).map(|()| text.to_owned()))
    });
    let format = section.take("format", |value| {
        value.choice(&[("json", LogFormat::Json), ("pattern", LogFormat::Pattern)], &[])
    });
    Log {
        level: level.unwrap_or_else(|| LEVEL.to_owned()),
        // The first reader is a person at a terminal.
        format: format.unwrap_or(LogFormat::Pattern),
    }
}

/// Checks `LEVEL` or `MODULE=LEVEL`, several with commas between. The filter that reads it later
/// would take a misspelt level for the name of a module.
fn levels(text: &str) -> Result<(), String> {
    for directive in text.split(',').map(str::trim) {
        let (module, level) = directive.split_once('=').unwrap_or(("ringgate", directive));
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
        if module.is_empty() || !module.bytes().all(is_path) {
            return Err(format!("{module:?} is not the name of a module, as in ringgate=debug."));
        }
        if !LEVELS.contains(&level) {
            let meant = nearest(level, LEVELS).map(nearest_is).unwrap_or_default();
            let levels = LEVELS.join(", ");
            return Err(format!("{level:?} is not a level.{meant} The levels are {levels}."));
        }
    }
    Ok(())
}

pub(super) fn access_log(section: &mut Section<'_>) -> AccessLog {
    let formats = [
        ("json", LineFormat::Json),
        ("combined", LineFormat::Combined),
        ("httplog", LineFormat::Httplog),
    ];
    AccessLog {
        format: section
            .take("format", |value| value.choice(&formats, &[]))
            .unwrap_or(LineFormat::Json),
        file: section.take("file", file),
        sample: section.take("sample", Value::share).unwrap_or(SAMPLE),
    }
}

fn file(value: &Value<'_>) -> Option<PathBuf> {
    value.parse("a path", |text| match text {
        "" => Err("The path is empty. Leave the key out for standard output.".to_owned()),
        _ if text.contains('\0') => Err("A path cannot have a NUL.".to_owned()),
        path => Ok(PathBuf::from(path)),
    })
}

pub(super) fn telemetry(section: &mut Section<'_>) -> Telemetry {
    let service = section.take("service", |value| {
        value.parse("a string", |text| match text {
            "" => Err("The name is empty.".to_owned()),
            name => Ok(name.to_owned()),
        })
    });
    Telemetry {
        service: service.unwrap_or_else(|| SERVICE.to_owned()),
        tags: section.take("tags", tags).unwrap_or_default(),
    }
}

fn tags(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    let mut tags = Vec::new();
    for (name, at) in value.entries()? {
        if let Err(why) = label(name) {
            at.problem(why);
        }
        tags.push((name.to_owned(), at.text("a string").unwrap_or_default()));
    }
    Some(tags)
}

/// Checks the name of a Prometheus label.
fn label(name: &str) -> Result<(), &'static str> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !is_word || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("A tag's name has letters, digits and \"_\" only, and begins with no digit.");
    }
    if name.starts_with("__") || RESERVED_LABELS.contains(&name) {
        return Err("Prometheus keeps this name for itself.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_may_differ_by_module() {
        for text in ["info", "off", "warn,ringgate::proxy=debug", "info, ringgate=trace"] {
            assert_eq!(levels(text), Ok(()), "{text:?}");
        }
        assert!(levels("inof").unwrap_err().contains("\"info\""));
        for text in ["", "ringgate", "a b=info", "=info", "info,", "ringgate=loud"] {
            assert!(levels(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn tags_have_names_that_prometheus_allows() {
        assert_eq!(label("instance_1"), Ok(()));
        for name in ["", "1a", "a-b", "__name__", "le", "ü"] {
            assert!(label(name).is_err(), "{name:?}");
        }
    }
}
