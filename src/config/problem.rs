//! What was found in a file: problems that refuse it and warnings that do not.

use std::fmt;

use serde_json::{Value as Json, json};

/// Everything found in one file, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The file's name, as the operator gave it.
    pub file: String,
    /// One of these is enough to refuse the file.
    pub problems: Vec<Finding>,
    /// The file can be used, but probably does something else than was meant.
    pub warnings: Vec<Finding>,
}

/// One thing found: where, what is wrong, why, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `None`: it is not at a place in the file, as when the file cannot be read.
    pub place: Option<Place>,
    /// As in `route[3].cluster`; elements of lists count from 0. Empty for the file as a whole.
    pub path: String,
    /// The value as the file spells it, before `${NAME}` is expanded; `None` for tables, and for
    /// values that may be secret.
    pub value: Option<String>,
    /// Whole sentences; may have several lines.
    pub text: String,
}

/// Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset` in `text`.
    pub(super) fn of(offset: usize, text: &str) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Report {
    /// A report of one problem that concerns the file as a whole.
    pub(super) fn unreadable(file: &str, text: String) -> Self {
        let problem = Finding { place: None, path: String::new(), value: None, text };
        Self { file: file.to_owned(), problems: vec![problem], warnings: Vec::new() }
    }

    pub(super) fn sort(&mut self) {
        // Stable: what was found first at a place is said first.
        self.problems.sort_by_key(|finding| finding.place);
        self.warnings.sort_by_key(|finding| finding.place);
    }

    /// For programs: `{"file", "problems": [{"line", "column", "path", "value", "text"}],
    /// "warnings": [...]}`. Members that do not apply are null.
    pub fn to_json(&self) -> Json {
        let list = |findings: &[Finding]| findings.iter().map(Finding::to_json).collect::<Vec<_>>();
        json!({
            "file": self.file,
            "problems": list(&self.problems),
            "warnings": list(&self.warnings),
        })
    }
}

impl Finding {
    fn to_json(&self) -> Json {
        json!({
            "line": self.place.map(|place| place.line),
            "column": self.place.map(|place| place.column),
            "path": self.path,
            "value": self.value,
            "text": self.text,
        })
    }

    fn write(&self, file: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n\n  {file}")?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, "  {}", self.path)?;
        }
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        self.text.lines().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// For people. Ends without a newline.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = [("problem", &self.problems), ("warning", &self.warnings)];
        let mut separator = "";
        for (kind, findings) in groups.into_iter().filter(|(_, findings)| !findings.is_empty()) {
            let plural = if findings.len() == 1 { "" } else { "s" };
            write!(f, "{separator}{}: {} {kind}{plural}", self.file, findings.len())?;
            findings.iter().try_for_each(|finding| finding.write(&self.file, f))?;
            separator = "\n\n";
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a = 1\nß = 2\n";
        assert_eq!(Place::of(0, text), Place { line: 1, column: 1 });
        assert_eq!(Place::of(6, text), Place { line: 2, column: 1 });
        assert_eq!(Place::of(8, text), Place { line: 2, column: 2 });
        assert_eq!(Place::of(999, text), Place { line: 3, column: 1 });
    }

    #[test]
    fn people_read_place_path_value_and_the_way_out() {
        let report = Report {
            file: "gateway.toml".into(),
            problems: vec![Finding {
                place: Some(Place { line: 14, column: 11 }),
                path: "route[3].cluster".into(),
                value: Some("\"openai-eu\"".into()),
                text: "No cluster has this name.\nThe nearest is \"openai-eu-west\".".into(),
            }],
            warnings: Vec::new(),
        };
        let expected = "gateway.toml: 1 problem\n\n  \
             gateway.toml:14:11  route[3].cluster = \"openai-eu\"\n    \
             No cluster has this name.\n    The nearest is \"openai-eu-west\".";
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.to_json()["problems"][0]["line"], 14);
    }
}
