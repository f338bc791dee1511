//! `errors`: files that clients get in place of Ringgate's own sentences.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::reader::Value;
use crate::proxy::settings::{ErrorPage, ErrorPages};

/// Sent from memory with every error, to a client that wanted something else.
const PAGE_BYTES_MAX: u64 = 256 << 10;

const TYPES: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
];

/// A table of status = file. The files are read now, so that a missing one is found by a check.
pub(super) fn pages(table: &Value<'_>) -> Option<ErrorPages> {
    let entries = table.entries()?;
    Some(ErrorPages(entries.iter().filter_map(|(status, file)| page(status, file)).collect()))
}

fn page(status: &str, file: &Value<'_>) -> Option<ErrorPage> {
    let status = status.parse().ok().filter(|status| (400..=599).contains(status));
    if status.is_none() {
        file.problem("The key is the status of an error, from 400 to 599.");
    }
    let path = file.file("a path such as \"/etc/ringgate/503.html\"")?;
    let content_type = content_type(&path);
    if content_type.is_none() {
        file.problem("The name must end in .html, .json or .txt, which says what the file holds.");
    }
    let body = read(&path).map_err(|why| file.problem(why)).ok()?;
    Some(ErrorPage { status: status?, content_type: content_type?, body })
}

fn content_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    TYPES.iter().find(|(known, _)| *known == extension).map(|(_, content_type)| *content_type)
}

fn read(path: &Path) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(PAGE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            format!(
                "Cannot read the file: {error}.\nA relative path starts at the directory of the \
                 configuration file."
            )
        })?;
    if bytes.len() as u64 > PAGE_BYTES_MAX {
        return Err("The file is longer than 256 KiB: keep a page of errors small.".to_owned());
    }
    Ok(bytes.into())
}
