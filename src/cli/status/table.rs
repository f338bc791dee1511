//! Text in columns.

/// How a page looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) colours: bool,
    /// Columns of the terminal; longer lines are cut. `None` cuts nothing.
    pub(super) width: Option<usize>,
}

/// How much a word wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Says what stands below it.
    Head,
    Good,
    Attention,
    Bad,
}

impl Tone {
    /// The colour in ECMA-48's numbers: the terminal's own, so that they can be read on it.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Head => Some("1"),
            Self::Good => Some("32"),
            Self::Attention => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    is_number: bool,
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, is_number: false }
    }

    /// Stands at the right of its column.
    pub(super) fn number(text: impl Into<String>) -> Self {
        Self { is_number: true, ..Self::text(text) }
    }

    pub(super) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows whose columns stand below each other, two spaces apart. The first row is the heads, which
/// stand as their columns do.
pub(super) fn table(rows: &[Vec<Cell>], indent: usize, style: &Style) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let is_number =
        |column: usize| rows.iter().skip(1).any(|row| row.get(column).is_some_and(|c| c.is_number));
    let mut text = String::new();
    for row in rows {
        let mut line = Line::new(style);
        line.pad(indent);
        for (column, cell) in row.iter().enumerate() {
            if column > 0 {
                line.pad(2);
            }
            let space = widths[column] - cell.width();
            if is_number(column) {
                line.pad(space);
            }
            line.word(&cell.text, cell.tone);
            if !is_number(column) && column + 1 < row.len() {
                line.pad(space);
            }
        }
        text += &line.finish();
    }
    text
}

/// One line of words, cut at the width.
pub(super) struct Line<'a> {
    style: &'a Style,
    text: String,
    /// Columns taken.
    taken: usize,
    /// Spaces that are written once something follows.
    pending: usize,
}

impl<'a> Line<'a> {
    pub(super) fn new(style: &'a Style) -> Self {
        Self { style, text: String::new(), taken: 0, pending: 0 }
    }

    pub(super) fn pad(&mut self, spaces: usize) {
        self.pending += spaces;
    }

    pub(super) fn word(&mut self, word: &str, tone: Tone) {
        if word.is_empty() {
            return;
        }
        let spaces = std::mem::take(&mut self.pending);
        let start = self.taken + spaces;
        let left = self.style.width.map_or(usize::MAX, |width| width.saturating_sub(start));
        let shown = cut(word, left);
        self.taken = start + shown.chars().count();
        if shown.is_empty() {
            return;
        }
        self.text.extend(std::iter::repeat_n(' ', spaces));
        match tone.code().filter(|_| self.style.colours) {
            Some(code) => self.text += &format!("\x1b[{code}m{shown}\x1b[0m"),
            None => self.text += &shown,
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

/// At most `columns` of it; the last is an ellipsis if there is more.
fn cut(word: &str, columns: usize) -> String {
    if word.chars().count() <= columns {
        return word.to_owned();
    }
    let kept = word.chars().take(columns.saturating_sub(1));
    kept.chain((columns > 0).then_some('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<Cell>> {
        vec![
            vec![Cell::text("name"), Cell::text("count"), Cell::text("state")],
            vec![Cell::text("a"), Cell::number("7"), Cell::text("up").tone(Tone::Good)],
            vec![Cell::text("longer"), Cell::number("1234567"), Cell::text("")],
        ]
    }

    #[test]
    fn numbers_stand_right_and_words_left_without_spaces_at_the_end() {
        let text = table(&rows(), 1, &Style::default());
        assert_eq!(text, " name      count  state\n a             7  up\n longer  1234567\n");
    }

    #[test]
    fn colours_take_no_room() {
        let style = Style { colours: true, width: None };
        let text = table(&rows(), 1, &style);
        assert!(text.contains("a             7  \x1b[32mup\x1b[0m\n"), "{text:?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 0..30 {
            let text = table(&rows(), 1, &Style { colours: false, width: Some(width) });
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}: {text}");
        }
        let text = table(&rows(), 1, &Style { colours: false, width: Some(12) });
        assert_eq!(text, " name      …\n a\n longer  12…\n");
    }
}
