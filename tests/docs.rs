//! The book says what the program does: its examples load, and its tables list exactly what the
//! code has.
//!
//! A block headed "toml" in `docs/` or the README is a whole file. One headed "toml fragment" is
//! read behind [`PRELUDE`], which gives it a listener `public` and a cluster `web`.

#[path = "docs/keys.rs"]
mod keys;
#[path = "docs/markdown.rs"]
mod markdown;
#[path = "docs/report.rs"]
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ringgate::config::{Loaded, from_str};
use ringgate::http::refusal::Refusal;

use self::markdown::{Page, Table};

const PRELUDE: &str = r#"
[[listener]]
name = "public"
bind = "127.0.0.1:8080"

[cluster.web]
[[cluster.web.endpoint]]
address = "127.0.0.1:3000"
"#;

/// A file in which every section is there, with no more than it needs.
const BARE: &str = r#"
[[listener]]
name = "public"
bind = "127.0.0.1:8080"

[[route]]
path = "/api"
cluster = "NAME"

[[route]]
respond = {}

[[route]]
redirect = { scheme = "https" }

[cluster.NAME]
sticky = { cookie = "a" }
health_check = {}
outlier = {}
[[cluster.NAME.endpoint]]
address = "127.0.0.1:3000"

[model.NAME]
sticky = { cookie = "b" }
health_check = {}
breaker = {}
[[model.NAME.endpoint]]
provider = "vllm"
url = "http://127.0.0.1:8000/v1"

[access_log]
"#;

fn load(text: &str) -> Loaded {
    from_str("docs.toml", text, &|_| None).unwrap_or_else(|report| panic!("{report}\n\n{text}"))
}

fn page(path: &str) -> Page {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Page::read(&fs::read_to_string(path).expect("the page is part of the repository"))
}

/// The pages of the book, by file name.
fn book() -> BTreeMap<String, Page> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let entries = fs::read_dir(folder).expect("the book is part of the repository");
    let names = entries.map(|entry| entry.expect("the folder can be listed").file_name());
    let names = names.map(|name| name.into_string().expect("names are UTF-8"));
    let pages = names.filter(|name| name.ends_with(".md"));
    pages.map(|name| (name.clone(), page(&format!("docs/{name}")))).collect()
}

/// The sections that a table of configuration.md is about: it is headed with their paths; the whole
/// file's has the heading "Section".
fn sections_of(table: &Table) -> Vec<String> {
    match table.header[0].as_str() {
        "Section" => vec![String::new()],
        heading => heading.split(", ").filter_map(markdown::code).map(str::to_owned).collect(),
    }
}

#[test]
fn every_example_loads() {
    let mut checked = 0;
    let pages = book().into_values().chain([page("README.md")]);
    for block in pages.flat_map(|page| page.blocks) {
        match block.info.as_str() {
            "toml" => drop(load(&block.text)),
            "toml fragment" => drop(load(&format!("{PRELUDE}{}", block.text))),
            info => {
                assert!(!info.starts_with("toml"), "{info:?} is neither a file nor a fragment");
                continue;
            }
        }
        checked += 1;
    }
    assert!(checked >= 4, "only {checked} examples");
}

#[test]
fn the_configuration_page_lists_every_key_and_no_other() {
    let mut documented = keys::Keys::new();
    for table in page("docs/configuration.md").tables {
        for section in sections_of(&table) {
            let names = table.column(0).map(|cell| markdown::code(cell).expect("keys are code"));
            let earlier = documented.insert(section.clone(), names.map(str::to_owned).collect());
            assert!(earlier.is_none(), "two tables for {section:?}");
        }
    }
    assert_eq!(documented, keys::known());
}

#[test]
fn every_default_that_is_written_as_a_value_is_the_default() {
    let bare: toml::Table = BARE.parse().expect("it is TOML");
    let settings = load(BARE).settings;
    let mut checked = 0;
    for table in page("docs/configuration.md").tables {
        for (section, row) in sections_of(&table)
            .iter()
            .filter(|section| !section.is_empty())
            .flat_map(|section| table.rows.iter().map(move |row| (section, row)))
        {
            assert_eq!(table.header[2], "default");
            let Some(default) = markdown::code(&row[2]) else { continue };
            let key = markdown::code(&row[0]).expect("keys are code");
            let line: toml::Table = format!("{key} = {default}").parse().expect("it is TOML");
            let explicit = keys::with(bare.clone(), section, line);
            assert_eq!(load(&explicit.to_string()).settings, settings, "{section}.{key}");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} defaults");
}

#[test]
fn the_metrics_page_lists_every_family_with_its_type_and_labels_and_no_other() {
    let mut documented = report::Families::new();
    for table in page("docs/metrics.md").tables.iter().filter(|t| t.header[0] == "metric") {
        for row in &table.rows {
            let name = markdown::code(&row[0]).expect("names are code");
            let labels = row[2].split(", ").filter(|label| !label.is_empty());
            let family = (row[1].clone(), labels.map(str::to_owned).collect());
            assert!(documented.insert(name.to_owned(), family).is_none(), "{name} is there twice");
        }
    }
    assert_eq!(documented, report::families());
}

#[test]
fn metrics_are_mentioned_by_names_that_they_have() {
    let families = report::families();
    let mut mentioned = 0;
    for (name, page) in book() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = page.text.split(|c| !is_part(c));
        for word in words.filter(|word| word.starts_with("ringgate_")) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| word.strip_suffix(s));
            let family = family.unwrap_or(word);
            assert!(families.contains_key(family), "{name} mentions {word}");
            mentioned += 1;
        }
    }
    assert!(mentioned > families.len() / 2);
}

#[test]
fn the_metrics_page_lists_every_key_of_the_access_log_and_no_other() {
    let page = page("docs/metrics.md");
    let table = page.tables.iter().find(|table| table.header[0] == "key").expect("it is there");
    let keys = table.column(0).map(|cell| markdown::code(cell).expect("keys are code"));
    let documented: BTreeSet<String> = keys.map(str::to_owned).collect();
    assert_eq!(documented, report::access_log_keys());
}

#[test]
fn the_refusals_page_lists_every_reason_with_its_status_and_words_and_no_other() {
    let page = page("docs/refusals.md");
    let mut documented = Vec::new();
    for table in page.tables.iter().filter(|table| table.header[0] == "reason") {
        for row in &table.rows {
            let label = markdown::code(&row[0]).expect("reasons are code");
            documented.push((label.to_owned(), row[1].clone(), row[2].clone()));
            assert!(!row[3].is_empty(), "{label} has no why");
        }
    }
    let row = |refusal: Refusal| {
        let (label, words) = (refusal.label(), refusal.explanation());
        (label.to_owned(), refusal.status().to_string(), words.to_owned())
    };
    let mut known: Vec<_> = Refusal::ALL.into_iter().map(row).collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}

#[test]
fn links_within_the_book_lead_somewhere() {
    let book = book();
    for (name, page) in &book {
        for link in page.links.iter().filter(|link| !link.contains('/')) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { name } else { target };
            let found = book.get(target).unwrap_or_else(|| panic!("{name} links to {link}"));
            let is_there = anchor.is_empty() || found.anchors.iter().any(|known| known == anchor);
            assert!(is_there, "{name} links to {link}; there are {:?}", found.anchors);
        }
    }
}
