//! Which keys the loader knows: it is asked, by giving it a key that it cannot know.
//!
//! Its message names the keys of that section. Each of them is then tried as a table, as a list of
//! tables and as tables with names; where the odd key is answered in the same way, there is another
//! section.

use std::collections::{BTreeMap, BTreeSet};

use ringgate::config::from_str;
use toml::{Table, Value};

/// Keys by section. The path of a section is as in `cluster.NAME.endpoint`; that of the whole file
/// is empty.
pub(crate) type Keys = BTreeMap<String, BTreeSet<String>>;

/// Near to no key, so that the message lists them all.
const ODD: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq";

pub(crate) fn known() -> Keys {
    let mut found = Keys::new();
    explore("", "@", &mut found);
    found
}

/// `@` in `document` stands for the content of the section at `path`.
fn explore(path: &str, document: &str, found: &mut Keys) {
    let Some(keys) = keys_of(&document.replace('@', &format!("{ODD} = 1"))) else { return };
    for key in &keys {
        let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let inner = |shape: &str| document.replace('@', &format!("{key} = {shape}"));
        explore(&place, &inner("{ @ }"), found);
        explore(&place, &inner("[{ @ }]"), found);
        explore(&format!("{place}.NAME"), &inner("{ NAME = { @ } }"), found);
    }
    found.insert(path.to_owned(), keys);
}

/// The keys beside the odd one; `None` if it stands in no section.
fn keys_of(document: &str) -> Option<BTreeSet<String>> {
    let report = from_str("docs.toml", document, &|_| None).err()?;
    let odd = report.problems.iter().find(|problem| problem.path.ends_with(ODD))?;
    let (_, list) = odd.text.split_once("The keys here are ")?;
    assert!(!list.contains('…'), "the message is cut, so this test cannot see all keys: {list}");
    Some(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// `document` with `line` added to the section at `path`. In a list, that is the first element
/// that has what the path goes on with, else the first.
pub(crate) fn with(mut document: Table, path: &str, line: Table) -> Table {
    let mut at = &mut document;
    let mut segments = path.split('.').peekable();
    while let Some(segment) = segments.next() {
        let next = segments.peek().copied().unwrap_or_default();
        at = match at.entry(segment).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(table) => table,
            Value::Array(list) => {
                let index = list.iter().position(|element| element.get(next).is_some());
                let element = list[index.unwrap_or(0)].as_table_mut();
                element.expect("sections are tables")
            }
            other => panic!("{path} leads to {other}"),
        };
    }
    at.extend(line);
    document
}
