//! A value of the file that knows where it stands and reports what is wrong with it.
//!
//! Reading never stops at a problem. A reader that cannot make sense of a value records why and
//! returns `None`; its caller goes on with a stand-in. That is sound because settings leave this
//! module only if no problem was recorded.

use std::cell::{OnceCell, RefCell};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::expand::{Surroundings, expand};
use super::problem::{Finding, Place, Report};
use super::unavailable;
use crate::nearest::nearest;
use crate::net::tls::Roots;

/// Longer values are cut where they are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// Longer lists of names are cut where they are shown.
const SHOWN_NAMES_MAX: usize = 32;

/// The file being read, and what was found in it so far.
pub(super) struct Source<'a> {
    text: &'a str,
    surroundings: Surroundings<'a>,
    /// In a cell, since every value of the file refers to it.
    report: RefCell<Report>,
    /// Read when they are first wanted.
    system_roots: OnceCell<Result<Arc<Roots>, String>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &str, text: &'a str, surroundings: Surroundings<'a>) -> Self {
        let report = Report { file: file.to_owned(), ..Report::default() };
        let report = RefCell::new(report);
        Self { text, surroundings, report, system_roots: OnceCell::new() }
    }

    /// Everything found, in the order of the file.
    pub(super) fn into_report(self) -> Report {
        let mut report = self.report.into_inner();
        report.sort();
        report
    }

    /// Records a problem with the text itself, before there are values.
    pub(super) fn syntax_problem(&self, offset: usize, message: &str) {
        let place = Some(Place::of(offset, self.text));
        let text = format!("This is not TOML: {message}.");
        let mut report = self.report.borrow_mut();
        // What follows on the same line is a consequence more often than another problem.
        let same_line = |finding: &Finding| {
            finding.place.map(|place| place.line) == place.map(|place| place.line)
        };
        if !report.problems.iter().any(same_line) {
            report.problems.push(Finding { place, path: String::new(), value: None, text });
        }
    }
}

/// One value of the file, or the place where it would be.
#[derive(Clone)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    /// As in `route[3].cluster`; empty for the whole file.
    path: String,
    /// The path without indices and names, as in `route.cluster`.
    kind: String,
    /// Where it begins, in bytes; where it is missing, where its section begins.
    offset: usize,
    content: Content<'a>,
    hidden: bool,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Missing,
    Document(&'a DeTable<'a>),
    Value(&'a DeValue<'a>),
}

impl<'a> Value<'a> {
    /// The whole file.
    pub(super) fn document(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            path: String::new(),
            kind: String::new(),
            offset: 0,
            content: Content::Document(table),
            hidden: false,
        }
    }

    /// Keeps the value out of messages: it may be a credential.
    pub(super) fn hidden(&self) -> Self {
        Self { hidden: true, ..self.clone() }
    }

    /// Hides the value if it is `secret` as the file has it, or once expanded.
    pub(super) fn hidden_if(&self, secret: impl Fn(&str) -> bool) -> Self {
        let Content::Value(DeValue::String(written)) = self.content else { return self.clone() };
        let expanded = expand(written, &self.source.surroundings);
        let is_secret = secret(written) || expanded.is_ok_and(|text| secret(&text));
        if is_secret { self.hidden() } else { self.clone() }
    }

    /// Whether nothing read so far is a problem.
    pub(super) fn is_all_well(&self) -> bool {
        self.source.report.borrow().problems.is_empty()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The line it begins on, from 1.
    pub(super) fn line(&self) -> usize {
        Place::of(self.offset, self.source.text).line
    }

    pub(super) fn is_present(&self) -> bool {
        !matches!(self.content, Content::Missing)
    }

    /// Records a problem with this value: whole sentences that say what is wrong and the way out.
    pub(super) fn problem(&self, text: impl Display) {
        let finding = self.finding(text);
        self.source.report.borrow_mut().problems.push(finding);
    }

    pub(super) fn warning(&self, text: impl Display) {
        let finding = self.finding(text);
        self.source.report.borrow_mut().warnings.push(finding);
    }

    fn finding(&self, text: impl Display) -> Finding {
        Finding {
            place: Some(Place::of(self.offset, self.source.text)),
            path: self.path.clone(),
            value: if self.hidden { None } else { self.shown() },
            text: text.to_string(),
        }
    }

    fn shown(&self) -> Option<String> {
        let Content::Value(value) = self.content else { return None };
        match value {
            DeValue::String(text) if text.chars().count() > SHOWN_CHARS_MAX => {
                let beginning: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                Some(format!("{beginning:?}…"))
            }
            DeValue::String(text) => Some(format!("{text:?}")),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Datetime(time) => Some(time.to_string()),
            DeValue::Array(_) | DeValue::Table(_) => None,
        }
    }

    fn wrong_type(&self, expected: &str) {
        let Content::Value(value) = self.content else { return };
        let found = match value {
            DeValue::Integer(_) => "an integer",
            DeValue::Array(_) => "a list",
            DeValue::String(_) => "a string",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Table(_) => "a table",
        };
        self.problem(format_args!("Expected {expected}, found {found}."));
    }
}

/// Readers of single values.
impl<'a> Value<'a> {
    /// A string with its references expanded. `expected` says what it is, with an example.
    pub(super) fn text(&self, expected: &str) -> Option<String> {
        let Content::Value(DeValue::String(written)) = self.content else {
            self.wrong_type(expected);
            return None;
        };
        expand(written, &self.source.surroundings).map_err(|why| self.problem(why)).ok()
    }

    /// The name of a file. Relative ones begin at the directory of the configuration.
    pub(super) fn file(&self, expected: &str) -> Option<PathBuf> {
        Some(self.source.surroundings.directory.join(self.text(expected)?))
    }

    /// The authorities that this system trusts; reports here if there are none.
    pub(super) fn system_roots(&self) -> Option<Arc<Roots>> {
        let read = || Roots::of_system(self.source.surroundings.env).map(Arc::new);
        let roots = self.source.system_roots.get_or_init(read).clone();
        roots.map_err(|why| self.problem(why)).ok()
    }

    /// A string that `parse` makes sense of; its error is a sentence for the operator.
    pub(super) fn parse<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(expected)?;
        let parsed = parse(&text);
        parsed.map_err(|why| self.problem(why + &self.expansion(&text))).ok()
    }

    /// What the value became, where that is not what the file says and not secret.
    fn expansion(&self, text: &str) -> String {
        match self.content {
            Content::Value(DeValue::String(written)) if !self.hidden && **written != *text => {
                let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                format!("\nWith its references expanded it is {shown:?}.")
            }
            _ => String::new(),
        }
    }

    /// One of the `known` words. Those `not_yet` available are refused as such.
    pub(super) fn choice<T: Copy>(&self, known: &[(&str, T)], not_yet: &[&str]) -> Option<T> {
        let names = || known.iter().map(|(name, _)| *name);
        self.parse("a string", |text| {
            if let Some((_, chosen)) = known.iter().find(|(name, _)| *name == text) {
                return Ok(*chosen);
            }
            let choices = match quoted(names()) {
                one if known.len() == 1 => format!("The only choice is {one}."),
                several => format!("The choices are {several}."),
            };
            if not_yet.contains(&text) {
                return Err(format!("{} {choices}", unavailable::MESSAGE));
            }
            let meant = nearest(text, names()).map(nearest_is).unwrap_or_default();
            Err(format!("Not one of the choices.{meant} {choices}"))
        })
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let Content::Value(DeValue::Integer(number)) = self.content else {
            self.wrong_type("a whole number");
            return None;
        };
        let parsed = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let in_range = parsed.filter(|number| range.contains(number));
        if in_range.is_none() {
            let (least, most) = range.into_inner();
            self.problem(format_args!("Give a whole number from {least} to {most}."));
        }
        in_range
    }

    /// A share from 0 to 1.
    pub(super) fn share(&self) -> Option<f64> {
        let share =
            self.float("a number from 0.0 to 1.0")?.filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            self.problem("Give a number from 0.0 (none) to 1.0 (all).");
        }
        share
    }

    /// A number with a fraction.
    pub(super) fn number(&self, range: RangeInclusive<f64>) -> Option<f64> {
        let in_range = self.float("a number")?.filter(|number| range.contains(number));
        if in_range.is_none() {
            let (least, most) = range.into_inner();
            self.problem(format_args!("Give a number from {least} to {most}."));
        }
        in_range
    }

    /// `None` for another type, which is reported; `Some(None)` for a number beyond all floats.
    fn float(&self, expected: &str) -> Option<Option<f64>> {
        match self.content {
            Content::Value(DeValue::Float(number)) => Some(number.as_str().parse().ok()),
            Content::Value(DeValue::Integer(number)) => Some(number.as_str().parse().ok()),
            _ => {
                self.wrong_type(expected);
                None
            }
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        let Content::Value(DeValue::Boolean(truth)) = self.content else {
            self.wrong_type("true or false");
            return None;
        };
        Some(*truth)
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self.content, Content::Value(DeValue::String(_)))
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.content, Content::Value(DeValue::Array(_)))
    }

    pub(super) fn is_empty_list(&self) -> bool {
        matches!(self.content, Content::Value(DeValue::Array(elements)) if elements.is_empty())
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.content, Content::Value(DeValue::Integer(_)))
    }
}

/// The way to other values.
impl<'a> Value<'a> {
    /// The elements of a list.
    pub(super) fn elements(&self, expected: &str) -> Option<Vec<Self>> {
        let Content::Value(DeValue::Array(elements)) = self.content else {
            self.wrong_type(expected);
            return None;
        };
        let element = |(index, element): (usize, &'a toml::Spanned<DeValue<'a>>)| Self {
            path: format!("{}[{index}]", self.path),
            offset: element.span().start,
            content: Content::Value(element.get_ref()),
            ..self.clone()
        };
        Some(elements.iter().enumerate().map(element).collect())
    }

    /// The table, if it is one; reports another type.
    pub(super) fn table(&self) -> Option<&'a DeTable<'a>> {
        match self.content {
            Content::Document(table) | Content::Value(DeValue::Table(table)) => Some(table),
            Content::Missing => None,
            Content::Value(_) => {
                self.wrong_type("a table");
                None
            }
        }
    }

    /// The entries of a table with free keys, in file order; each stands at its value.
    pub(super) fn entries(&self) -> Option<Vec<(&'a str, Self)>> {
        let table = self.table()?;
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'a toml::Spanned<_>, &'a toml::Spanned<_>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            (&**name, Self { kind: self.kind.clone(), ..self.at(name, Some(value)) })
        };
        Some(entries.into_iter().map(entry).collect())
    }

    /// The value of `key`, or the place where it would be.
    pub(super) fn child(&self, key: &str) -> Self {
        let value = match self.content {
            Content::Document(table) | Content::Value(DeValue::Table(table)) => table.get(key),
            _ => None,
        };
        self.at(key, value)
    }

    fn at(&self, key: &str, value: Option<&'a toml::Spanned<DeValue<'a>>>) -> Self {
        let kind = match self.kind.as_str() {
            "" => key.to_owned(),
            kind => format!("{kind}.{key}"),
        };
        let path = match self.path.as_str() {
            "" => bare_or_quoted(key),
            path => format!("{path}.{}", bare_or_quoted(key)),
        };
        let offset = value.map_or(self.offset, |value| value.span().start);
        let content = value.map_or(Content::Missing, |value| Content::Value(value.get_ref()));
        Self { source: self.source, path, kind, offset, content, hidden: false }
    }

    /// The place of a key itself, for problems with its name.
    pub(super) fn key(&self, key: &toml::Spanned<std::borrow::Cow<'a, str>>) -> Self {
        let child = self.child(key.get_ref());
        Self { offset: key.span().start, content: Content::Missing, ..child }
    }
}

/// A key as TOML wants it written.
fn bare_or_quoted(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_owned() } else { format!("{key:?}") }
}

/// The names in quotes with commas between them.
pub(super) fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
    if names.len() > SHOWN_NAMES_MAX {
        names.truncate(SHOWN_NAMES_MAX);
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// To follow another sentence.
pub(super) fn nearest_is(name: &str) -> String {
    format!(" The nearest is {name:?}.")
}
