//! Tables with aligned columns.

use unicode_width::UnicodeWidthStr as _;

use super::{Paint, Style};

/// On which side the text of a column begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// The text of one row in one column.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    pub(crate) fn painted(paint: Paint, text: impl Into<String>) -> Self {
        Self { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(Paint::Plain, text)
    }
}

#[derive(Debug)]
struct Column {
    title: &'static str,
    align: Align,
    wide: bool,
}

/// A table of texts without line breaks. Columns are as wide as their widest text, counted in the
/// cells of a terminal: a Chinese character takes two.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns, without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        let column =
            |(title, align): &(&'static str, Align)| Column { title, align: *align, wide: false };
        Self { columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds columns that are shown with `-o wide` only.
    pub(crate) fn wide(mut self, columns: &[(&'static str, Align)]) -> Self {
        let more = Self::new(columns).columns.into_iter();
        self.columns.extend(more.map(|column| Column { wide: true, ..column }));
        self
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, with its titles.
    pub(crate) fn render(&self, style: Style, wide: bool) -> String {
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|at| wide || !self.columns[*at].wide).collect();
        let cell = |row: &[Cell], at: usize| row.get(at).map_or(0, |cell| width(&cell.text));
        let widths: Vec<usize> = shown
            .iter()
            .map(|at| {
                let texts = self.rows.iter().map(|row| cell(row, *at)).max();
                texts.unwrap_or(0).max(width(self.columns[*at].title))
            })
            .collect();
        let titles: Vec<Cell> = self.columns.iter().map(|column| column.title.into()).collect();
        let mut text = String::new();
        for (number, row) in [&titles].into_iter().chain(&self.rows).enumerate() {
            let mut line = String::new();
            for ((at, width_of), place) in shown.iter().zip(&widths).zip(0..) {
                let empty = Cell::from("");
                let Cell { text, paint } = row.get(*at).unwrap_or(&empty);
                let paint = if number == 0 { Paint::Bold } else { *paint };
                let space = " ".repeat(width_of - width(text));
                let painted = style.paint(paint, text);
                let gap = if place == 0 { "" } else { "  " };
                line.push_str(gap);
                match self.columns[*at].align {
                    Align::Left => line.extend([painted, space]),
                    Align::Right => line.extend([space, painted]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The number of cells of a terminal that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colored: false };

    #[test]
    fn columns_are_aligned_by_the_width_of_characters() {
        let mut table = Table::new(&[("UID", Align::Left), ("CLIENTS", Align::Right)])
            .wide(&[("GATEWAY", Align::Left)]);
        table.row(["小明".into(), "2".into(), "a".into()]);
        table.row(["ann".into(), "10".into(), "b".into()]);
        assert_eq!(table.render(PLAIN, false), "UID   CLIENTS\n小明        2\nann        10\n");
        let wide = "UID   CLIENTS  GATEWAY\n小明        2  a\nann        10  b\n";
        assert_eq!(table.render(PLAIN, true), wide);
    }

    #[test]
    fn colors_do_not_count_as_width() {
        let mut table = Table::new(&[("STATE", Align::Left), ("N", Align::Right)]);
        table.row([Cell::painted(Paint::Red, "gone"), "1".into()]);
        let colored = table.render(Style { colored: true }, false);
        assert_eq!(
            colored,
            "\u{1b}[1mSTATE\u{1b}[0m  \u{1b}[1mN\u{1b}[0m\n\u{1b}[31mgone\u{1b}[0m   1\n"
        );
        assert_eq!(table.render(PLAIN, false), "STATE  N\ngone   1\n");
    }
}
