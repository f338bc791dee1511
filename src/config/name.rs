//! Names that operators give, and references to them.

use super::reader::{Value, nearest_is, quoted};
use crate::nearest::nearest;

/// Names are labels of metrics and stand in every log line.
const NAME_BYTES_MAX: usize = 128;

/// The name of a listener or a cluster, which also stands in `NAME=ADDRESS` of the ready line.
pub(super) fn plain(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "A name has letters, digits, \"-\", \"_\" and \".\" only, at most \
         {NAME_BYTES_MAX} of them."
    ))
}

/// The name of a model, which clients send: any text on one line.
pub(super) fn model(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err("Patterns are not available in this version of Ringgate: write each model's \
                    whole name."
            .to_owned());
    }
    let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
    if fits && text.trim() == text && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "A model's name is one line of 1 to {NAME_BYTES_MAX} bytes, without spaces around."
    ))
}

/// The index of the one of `names` that the value gives. `what` they are is said if none fits.
pub(super) fn reference(value: &Value<'_>, names: &[String], what: &str) -> Option<usize> {
    value.parse("a name", |name| {
        if let Some(index) = names.iter().position(|known| known == name) {
            return Ok(index);
        }
        let known = || names.iter().map(String::as_str);
        let way_out = match nearest(name, known()) {
            Some(near) => nearest_is(near),
            None if names.is_empty() => format!(" The file has no {what}."),
            None => format!(" The file has {}.", quoted(known())),
        };
        Err(format!("No {what} has this name.{way_out}"))
    })
}
