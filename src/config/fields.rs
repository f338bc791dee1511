//! HTTP names and values in the configuration: fields, methods, header edits.

use super::address::host_and_port;
use super::reader::Value;
use super::section::Section;
use crate::proxy::settings::HeaderEdits;

/// Fields that frame a message or belong to one connection (RFC 9110, section 7.6.1; RFC 9112,
/// section 6). Ringgate writes them itself: an edit here could smuggle a request.
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Says why a field cannot be set or removed somewhere.
type Refusal = fn(&str) -> Option<&'static str>;

pub(super) fn refuse_framing(name: &str) -> Option<&'static str> {
    // Many servers read `_` as `-`, so the twin would do the same harm.
    FRAMING.contains(&name.replace('_', "-").as_str()).then_some(
        "This field frames the message or belongs to one connection: Ringgate writes it itself.",
    )
}

/// Where Ringgate sends Host itself.
pub(super) fn refuse_framing_and_host(name: &str) -> Option<&'static str> {
    match name {
        "host" => Some("Ringgate writes the Host field itself here."),
        _ => refuse_framing(name),
    }
}

fn refuse_nothing(_: &str) -> Option<&'static str> {
    None
}

/// Field names with their values, names in lower case, in file order.
pub(super) fn pairs(value: &Value<'_>, refuse: Refusal) -> Option<Vec<(String, String)>> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (written, at) in value.entries()? {
        // The value may be a credential, whatever the field's name is.
        let at = at.hidden();
        let content = at.parse("a string", field_value);
        let Some(name) = checked_name(&at, written, refuse) else { continue };
        if is_among(&pairs, &name) {
            at.problem("This field is there twice: the case of letters does not count.");
            continue;
        }
        pairs.push((name, content.unwrap_or_default()));
    }
    Some(pairs)
}

/// Fields to match on.
pub(super) fn conditions(value: &Value<'_>) -> Option<Vec<(String, String)>> {
    pairs(value, refuse_nothing)
}

fn checked_name(at: &Value<'_>, written: &str, refuse: Refusal) -> Option<String> {
    let name = match field_name(written) {
        Ok(name) => name,
        Err(why) => {
            at.problem(why);
            return None;
        }
    };
    if let Some(why) = refuse(&name) {
        at.problem(why);
        return None;
    }
    Some(name)
}

/// `request_headers`.
pub(super) fn request_edits(edits: &mut Section<'_>) -> HeaderEdits {
    let set = edits.take("set", |set| {
        let pairs = pairs(set, refuse_framing)?;
        let host = pairs.iter().find(|(name, _)| name == "host");
        if let Some(Err(why)) = host.map(|(_, host)| host_and_port(host)) {
            set.problem(format_args!("The new Host is not a host with an optional port. {why}"));
        }
        Some(pairs)
    });
    edits_of(edits, set, refuse_framing_and_host)
}

/// `response_headers`.
pub(super) fn response_edits(edits: &mut Section<'_>) -> HeaderEdits {
    let set = edits.take("set", |set| pairs(set, refuse_framing));
    edits_of(edits, set, refuse_framing)
}

/// `refuse`: what can neither be added nor removed.
fn edits_of(
    edits: &mut Section<'_>,
    set: Option<Vec<(String, String)>>,
    refuse: Refusal,
) -> HeaderEdits {
    let set = set.unwrap_or_default();
    let add = edits.take("add", |add| {
        let pairs = pairs(add, refuse)?;
        if let Some((name, _)) = pairs.iter().find(|(name, _)| is_among(&set, name)) {
            add.problem(format_args!(
                "{name:?} is set as well. Setting it replaces what was there."
            ));
        }
        Some(pairs)
    });
    let remove = edits.take("remove", |list| names(list, &set, refuse));
    HeaderEdits { set, add: add.unwrap_or_default(), remove: remove.unwrap_or_default() }
}

fn is_among(pairs: &[(String, String)], name: &str) -> bool {
    pairs.iter().any(|(other, _)| other == name)
}

fn names(list: &Value<'_>, set: &[(String, String)], refuse: Refusal) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for at in list.elements("a list of field names")? {
        let Some(written) = at.text("a field name") else { continue };
        let Some(name) = checked_name(&at, &written, refuse) else { continue };
        if is_among(set, &name) {
            at.problem("This field is set as well. Setting it replaces what was there.");
        }
        names.push(name);
    }
    Some(names)
}

/// A list of methods, at least one.
pub(super) fn methods(list: &Value<'_>) -> Option<Vec<String>> {
    let elements = list.elements("a list of methods such as [\"GET\", \"POST\"]")?;
    if elements.is_empty() {
        list.problem("No method would ever match. Leave the key out to match all of them.");
    }
    Some(elements.iter().filter_map(|at| at.parse("a method such as \"GET\"", method)).collect())
}

fn method(text: &str) -> Result<String, String> {
    if !is_token(text) {
        return Err("This is not a method such as \"GET\".".to_owned());
    }
    let upper = text.to_ascii_uppercase();
    if upper != text {
        return Err(format!("Methods are written in capitals. Write {upper:?}."));
    }
    Ok(upper)
}

/// A field name in lower case (RFC 9110, section 5.1).
pub(super) fn field_name(text: &str) -> Result<String, String> {
    if !is_token(text) {
        return Err("A field name has letters, digits and !#$%&'*+-.^_`|~ only.".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

/// A field value (RFC 9110, section 5.5), without the obsolete bytes above ASCII.
pub(super) fn field_value(text: &str) -> Result<String, String> {
    if let Some(odd) = text.chars().find(|c| !matches!(c, ' '..='~' | '\t')) {
        return Err(format!("A field value cannot have the character {odd:?}."));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err("A field value does not begin or end with a space.".to_owned());
    }
    Ok(text.to_owned())
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_names_are_tokens_in_lower_case() {
        assert_eq!(field_name("X-Canary").unwrap(), "x-canary");
        for text in ["", "x y", "x:", "x\r\n", "ü"] {
            assert!(field_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn field_values_cannot_begin_another_line() {
        assert_eq!(field_value("a b\tc").unwrap(), "a b\tc");
        assert_eq!(field_value("").unwrap(), "");
        for text in ["a\r\nb", "a\nb", "a\0", " a", "a\t", "ü", "\u{7f}"] {
            assert!(field_value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn framing_fields_are_refused_with_their_underscore_twins() {
        assert!(refuse_framing("content-length").is_some());
        assert!(refuse_framing("transfer_encoding").is_some());
        assert!(refuse_framing("host").is_none());
        assert!(refuse_framing_and_host("host").is_some());
        assert!(refuse_framing("x-a").is_none());
    }

    #[test]
    fn methods_are_capital_tokens() {
        assert_eq!(method("PROPFIND").unwrap(), "PROPFIND");
        assert!(method("get").unwrap_err().contains("\"GET\""));
        assert!(method("G T").is_err());
    }
}
