//! Tables for people: titles and rows, in columns that are as wide as what a terminal shows.

use crate::base::{secret::printable, width};

/// The table as text. Control characters in cells are escaped. If the terminal has too few columns, the
/// last cell of a row goes on below itself.
pub(super) fn text(titles: &[&str], rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let titles = titles.iter().map(|title| (*title).to_owned()).collect();
    let rows: Vec<Vec<String>> = [titles].into_iter().chain(rows).collect();
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width::of(&printable(cell)).max(*widest);
        }
    }
    let mut text = String::new();
    for row in &rows {
        line(&mut text, row, &widths, columns);
    }
    text
}

fn line(text: &mut String, cells: &[String], widths: &[usize], columns: Option<usize>) {
    let Some((last, cells)) = cells.split_last() else { return };
    let mut used = 0;
    for (cell, width) in cells.iter().zip(widths) {
        let cell = printable(cell);
        let blanks = width - width::of(&cell) + GAP;
        text.extend([&cell, &*" ".repeat(blanks)]);
        used += width + GAP;
    }
    let last = printable(last);
    // If hardly any room is left, the terminal breaks the line.
    let left = columns.map(|columns| columns.saturating_sub(used));
    let left = left.filter(|left| *left >= LEAST).unwrap_or(usize::MAX);
    text.push_str(&width::wrap(&last, left).join(&format!("\n{:used$}", "")));
    // If the last cell is empty, the line does not end in blanks.
    if last.is_empty() {
        text.truncate(text.trim_end_matches(' ').len());
    }
    text.push('\n');
}

const GAP: usize = 2;
/// No cell is made of lines of fewer columns.
const LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(String::from).into()).collect()
    }

    #[test]
    fn columns_align_by_what_is_shown() {
        let rows = rows(&[["日本", "one"], ["e\u{301}🔐x", "two"], ["a", "\u{1b}[2J"]]);
        assert_eq!(
            text(&["A", "B"], rows, None),
            "A     B\n日本  one\ne\u{301}🔐x  two\na     \\u{1b}[2J\n"
        );
    }

    #[test]
    fn only_the_last_column_is_wrapped_and_only_to_the_width_of_a_terminal() {
        let label = "日本語のながい名前";
        let rows = rows(&[["0123456789", label]]);
        let row = |columns| {
            let table = text(&["ID", "LABEL"], rows.clone(), columns);
            table.split_once('\n').unwrap().1.to_owned()
        };
        let whole = format!("0123456789  {label}\n");
        assert_eq!((row(None), row(Some(30))), (whole.clone(), whole.clone()));
        assert_eq!(row(Some(29)), format!("0123456789  日本語のながい名\n{:12}前\n", ""));
        assert_eq!(row(Some(20)), format!("0123456789  日本語の\n{0:12}ながい名\n{0:12}前\n", ""));
        assert_eq!(row(Some(19)), whole, "the terminal breaks it");
    }
}
