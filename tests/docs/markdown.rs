//! As much of Markdown as the book uses.

/// What the tests look at of a page.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) tables: Vec<Table>,
    /// Targets of links, as written.
    pub(crate) links: Vec<String>,
    /// What `#` may lead to: headings, as GitHub and mdBook name them.
    pub(crate) anchors: Vec<String>,
}

/// A fenced block.
#[derive(Default)]
pub(crate) struct Block {
    /// What follows the opening fence.
    pub(crate) info: String,
    pub(crate) text: String,
}

/// Cells are trimmed, and otherwise as written.
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    /// Each as long as the header.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn column(&self, index: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |row| row[index].as_str())
    }
}

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self { text: text.to_owned(), ..Self::default() };
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(info) = line.strip_prefix("```") {
                let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                let text = content.join("\n") + "\n";
                page.blocks.push(Block { info: info.trim().to_owned(), text });
                continue;
            }
            page.links.extend(links(line));
            if let Some(heading) = line.strip_prefix('#') {
                page.anchors.push(anchor(heading.trim_start_matches('#')));
            }
            if line.starts_with('|') {
                let mut rows = vec![cells(line)];
                while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                    page.links.extend(links(row));
                    rows.push(cells(row));
                }
                page.tables.push(table(rows));
            }
        }
        page
    }
}

fn table(mut rows: Vec<Vec<String>>) -> Table {
    assert!(rows.len() > 2, "a table has a header, a rule and rows: {rows:?}");
    let header = rows.remove(0);
    rows.remove(0);
    for row in &rows {
        assert_eq!(row.len(), header.len(), "{row:?} does not fit {header:?}");
    }
    Table { header, rows }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').and_then(|rest| rest.trim_end().strip_suffix('|'));
    let inner = inner.unwrap_or_else(|| panic!("a row ends with a bar: {line}"));
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The content of a cell that is one code span and nothing else.
pub(crate) fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

fn links(line: &str) -> impl Iterator<Item = String> {
    let after = line.split("](").skip(1);
    after.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned())
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}
