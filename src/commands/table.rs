//! A table for people: titles and rows in columns as wide as they need, in what a terminal shows.

use local_keys::secret::printable;
use local_keys::width;

/// The table as text. No cell can drive a terminal, whatever it holds. Where the terminal is known to
/// have too few columns, the last cell of a row is cut to fit; through a pipe nothing is.
pub(super) fn text(titles: &[&str], rows: &[Vec<String>], columns: Option<usize>) -> String {
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![titles];
    lines.extend(
        rows.iter()
            .map(|row| row.iter().map(|cell| printable(cell)).collect()),
    );
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|at| {
            lines
                .iter()
                .map(|line| width::of(&line[at]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let mut used = 0;
        for (at, cell) in line.iter().enumerate() {
            if at + 1 < line.len() {
                text.push_str(cell);
                let gap = widths[at] - width::of(cell) + GAP;
                text.extend(std::iter::repeat_n(' ', gap));
                used += widths[at] + GAP;
            } else {
                let room = columns.map(|columns| columns.saturating_sub(used));
                // With hardly any room left the line breaks anyway, and then better with all of it.
                match room.filter(|room| *room >= LEAST) {
                    Some(room) => text.push_str(&width::cut(cell, room)),
                    None => text.push_str(cell),
                }
            }
        }
        text.push('\n');
    }
    text
}

const GAP: usize = 2;
/// Columns below which a cut cell says nothing.
const LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<Vec<String>> {
        rows.iter()
            .map(|row| row.map(String::from).into())
            .collect()
    }

    #[test]
    fn columns_align_by_what_is_shown() {
        let rows = rows(&[["日本", "one"], ["e\u{301}🔐x", "two"], ["a", "\u{1b}[2J"]]);
        assert_eq!(
            text(&["A", "B"], &rows, None),
            "A     B\n日本  one\ne\u{301}🔐x  two\na     \\u{1b}[2J\n"
        );
    }

    #[test]
    fn only_the_last_column_is_cut_and_only_to_the_width_of_a_terminal() {
        let label = "日本語のながい名前";
        let rows = rows(&[["0123456789", label]]);
        let second = |columns| {
            text(&["ID", "LABEL"], &rows, columns)
                .lines()
                .nth(1)
                .map(String::from)
        };
        assert_eq!(second(None), Some(format!("0123456789  {label}")));
        assert_eq!(second(Some(30)), Some(format!("0123456789  {label}")));
        assert_eq!(
            second(Some(29)).as_deref(),
            Some("0123456789  日本語のながい名…")
        );
        assert_eq!(second(Some(20)).as_deref(), Some("0123456789  日本語…"));
        assert_eq!(
            second(Some(19)),
            Some(format!("0123456789  {label}")),
            "it breaks anyway"
        );
    }
}
