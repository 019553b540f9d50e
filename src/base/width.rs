//! How many columns text takes on a terminal: none for marks that sit on another character, two for East
//! Asian and emoji, one for all others. By Unicode 14, without the marks of historic and rare scripts;
//! blocks of emoji count as a whole. `width.txt` has all that are not one column wide.

use std::sync::LazyLock;

/// Columns of a whole text. Sequences count as their parts: a flag is two letters of one column each.
pub(crate) fn of(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

/// The text in lines of at most this many columns, unless a single character has more.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<&str> {
    let (mut lines, mut start, mut used) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        used += of_char(c);
        if used > columns && at > start {
            lines.push(&text[start..at]);
            (start, used) = (at, of_char(c));
        }
    }
    lines.push(&text[start..]);
    lines
}

fn of_char(c: char) -> usize {
    let found = || RANGES.get(RANGES.partition_point(|(_, last, _)| *last < u32::from(c)));
    // Most text is ASCII, of which the table has nothing.
    match (!c.is_ascii()).then(found).flatten() {
        Some((first, _, columns)) if *first <= u32::from(c) => *columns,
        _ => 1,
    }
}

/// A line of the table: the first and the last character, and their columns.
fn range(line: &str) -> Option<(u32, u32, usize)> {
    let mut words = line.split(' ');
    let mut number = || u32::from_str_radix(words.next()?, 16).ok();
    Some((number()?, number()?, number()? as usize))
}

/// Marks that sit on the character before them, and format characters; and East Asian Wide and
/// Fullwidth, which the emoji that show as such are among.
static RANGES: LazyLock<Vec<(u32, u32, usize)>> =
    LazyLock::new(|| TABLE.lines().filter_map(range).collect());
static TABLE: &str = include_str!("width.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_what_a_terminal_shows() {
        for (text, columns) in [
            ("", 0),
            ("Prod", 4),
            ("Müller", 6),
            ("Mu\u{308}ller", 6),
            ("日本語", 6),
            ("ｱ", 1),
            ("Ａ", 2),
            ("한국", 4),
            ("\u{1112}\u{1161}\u{11ab}", 2),
            ("🔐", 2),
            ("👩\u{200d}💻", 4),
            ("🇨🇭", 2),
            ("❤\u{fe0f}", 1),
            ("שלום", 4),
            ("नि", 2),
            ("…–—", 3),
            ("𠀀", 2),
        ] {
            assert_eq!(of(text), columns, "{text}");
        }
    }

    #[test]
    fn what_is_wrapped_is_as_wide_as_it_may_be_and_nothing_is_lost() {
        for (text, columns, lines) in [
            ("Prod", 4, &["Prod"][..]),
            ("Prod", 3, &["Pro", "d"]),
            ("one two", 3, &["one", " tw", "o"]),
            ("日本語", 6, &["日本語"]),
            ("日本語", 5, &["日本", "語"]),
            ("e\u{301}e\u{301}e\u{301}", 2, &["e\u{301}e\u{301}", "e\u{301}"]),
            ("日本", 1, &["日", "本"]),
            ("", 0, &[""]),
        ] {
            assert_eq!(wrap(text, columns), lines, "{text} in {columns}");
        }
    }

    #[test]
    fn the_ranges_are_in_order_and_apart() {
        assert_eq!(RANGES.len(), TABLE.lines().count());
        assert!(RANGES.iter().all(|(first, last, _)| first <= last));
        assert!(RANGES.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(RANGES.iter().all(|(_, _, columns)| [0, 2].contains(columns)));
    }
}
