//! Tables of Markdown documents.

/// The cells of a row, as plain text.
#[derive(Debug)]
pub(super) struct Row(Vec<String>);

impl Row {
    /// The text of a cell; empty if the row has fewer.
    pub(super) fn text(&self, cell: usize) -> String {
        self.0.get(cell).cloned().unwrap_or_default()
    }
}

/// The rows of the first table whose titles begin with these.
pub(super) fn rows(document: &str, titles: &[&str]) -> Vec<Row> {
    let mut lines = document.lines();
    let is_head = |line: &str| {
        let cells = cells(line);
        titles.len() <= cells.len() && cells.iter().zip(titles).all(|(cell, title)| cell == title)
    };
    if !lines.any(is_head) {
        return Vec::new();
    }
    // The line below the titles.
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| Row(cells(line))).collect()
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(plain).collect()
}

/// The text of a cell without code marks, emphasis and the targets of links.
fn plain(cell: &str) -> String {
    let mut plain = String::new();
    let mut rest = cell.trim();
    while let Some(at) = rest.find("](") {
        plain.push_str(&rest[..at]);
        let target = &rest[at + 2..];
        rest = target.find(')').map_or("", |end| &target[end + 1..]);
    }
    plain.push_str(rest);
    plain.replace(['`', '['], "").replace("**", "").replace('*', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_table_with_these_titles_are_read_as_text() {
        let document = "| a | b |\n|---|---|\n| 1 | 2 |\n\n| `code` | cause |\n|---|---|\n\
                        | 7 | see [this](x.md#y) and `that` |\n|  | *x* |\n\n| 8 | no |\n";
        let rows = rows(document, &["code", "cause"]);
        let texts: Vec<_> =
            rows.iter().map(|row| (row.text(0), row.text(1), row.text(2))).collect();
        let text = |text: &str| text.to_owned();
        assert_eq!(
            texts,
            [(text("7"), text("see this and that"), text("")), (text(""), text("x"), text(""))]
        );
    }
}
