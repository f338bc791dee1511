//! A table whose keys are known: it remembers which were asked for and reports the others.

use toml::de::DeTable;

use super::reader::{Value, nearest_is, quoted};
use super::unavailable;
use crate::nearest::nearest;

/// A table being read. Readers ask for every key they know, whatever they find.
pub(super) struct Section<'a> {
    at: Value<'a>,
    /// `None` where the file does not have this section: every key has its default.
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

/// What was read, and where it stands, for what can be checked only later.
pub(super) struct Placed<'a, T> {
    pub(super) at: Value<'a>,
    pub(super) is: T,
}

impl<'a> Value<'a> {
    /// Reads a table; `None` if it is none. Keys that `read` did not ask for are reported.
    pub(super) fn section<T>(&self, read: impl FnOnce(&mut Section<'a>) -> T) -> Option<T> {
        let table = self.table()?;
        Some(Section::read(self.clone(), Some(table), read))
    }
}

impl<'a> Section<'a> {
    fn read<T>(
        at: Value<'a>,
        table: Option<&'a DeTable<'a>>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let mut section = Self { at, table, asked: Vec::new() };
        let result = read(&mut section);
        section.report_other_keys();
        result
    }

    /// The section itself, for problems that concern it as a whole.
    pub(super) fn at(&self) -> &Value<'a> {
        &self.at
    }

    /// The value of `key`, or the place where it would be.
    pub(super) fn value(&mut self, key: &'static str) -> Value<'a> {
        self.asked.push(key);
        self.at.child(key)
    }

    /// `None` if the key is missing or cannot be read.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key);
        if value.is_present() { read(&value) } else { None }
    }

    /// `stand_in` if the key is missing, which is a problem, or cannot be read. `what` says what
    /// is missing, to follow "is missing:".
    pub(super) fn require<T>(
        &mut self,
        key: &'static str,
        stand_in: T,
        what: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> T {
        let value = self.value(key);
        if !value.is_present() {
            value.problem(format_args!("This key is missing: {what}."));
            return stand_in;
        }
        read(&value).unwrap_or(stand_in)
    }

    /// A section inside this one. If it is missing, it is read as an empty one.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let value = self.value(key);
        let table = value.table();
        Self::read(value, table, read)
    }

    /// The sections of `[[key]]`.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Self) -> T,
    ) -> Vec<Placed<'a, T>> {
        let elements = self.take(key, |list| {
            list.elements(&format!("a list of tables, each headed [[{}]]", list.path()))
        });
        let placed = |at: Value<'a>| at.section(&mut read).map(|is| Placed { at, is });
        elements.unwrap_or_default().into_iter().filter_map(placed).collect()
    }

    /// The sections of `[key.NAME]`, with their names, in file order.
    pub(super) fn named_sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, &mut Self) -> T,
    ) -> Vec<Placed<'a, T>> {
        let entries = self.take(key, Value::entries).unwrap_or_default();
        let placed = |(name, at): (&str, Value<'a>)| {
            at.section(|section| read(name, section)).map(|is| Placed { at, is })
        };
        entries.into_iter().filter_map(placed).collect()
    }

    fn report_other_keys(&self) {
        let Some(table) = self.table else { return };
        for key in table.keys().filter(|key| !self.asked.contains(&key.get_ref().as_ref())) {
            let at = self.at.key(key);
            if unavailable::is_unavailable(self.at.kind(), key.get_ref()) {
                at.problem(unavailable::MESSAGE);
            } else {
                at.problem(self.unknown_key(key.get_ref()));
            }
        }
    }

    fn unknown_key(&self, key: &str) -> String {
        let known = || self.asked.iter().copied();
        match nearest(key, known()) {
            Some(name) => format!("No key has this name.{}", nearest_is(name)),
            None => format!("No key has this name. The keys here are {}.", quoted(known())),
        }
    }
}
