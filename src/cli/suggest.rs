//! Suggests the command, flag or topic that is close to what was typed. What was typed is never shown
//! here, because it may be a secret.

use super::help::{Page, pages};

/// The command that other tools call so, or the closest one, in this group or in another.
pub(super) fn command(group: &Page, word: &str) -> Option<&'static Page> {
    let mut elsewhere = ELSEWHERE.lines().filter_map(|line| line.split_once(" :: "));
    if let Some((_, name)) = elsewhere.find(|(known, _)| *known == word) {
        return pages().iter().find(|page| page.name == name);
    }
    // The program's own page has no name.
    let near = pages()[1..].iter().filter_map(|page| {
        // Of two that are equally close, the group's own wins.
        let far = 2 * distance(word, page.last_word())? + usize::from(!group.has(page));
        Some((far, page))
    });
    near.min_by_key(|(far, _)| *far).map(|(_, page)| page)
}

/// The closest of these words.
pub(super) fn word(typed: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let near = known.filter_map(|word| Some((distance(typed, word)?, word)));
    near.min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// The edit distance between two words: letters that are added, missing, wrong, or swapped with the
/// next. `None` if it is more than two, or more than half of the letters.
fn distance(a: &str, b: &str) -> Option<usize> {
    let most = (a.len().max(b.len()) / 2).min(2);
    (0..=most).find(|slips| is_within(*slips, a.as_bytes(), b.as_bytes()))
}

fn is_within(slips: usize, a: &[u8], b: &[u8]) -> bool {
    match (a, b) {
        ([x, a @ ..], [y, b @ ..]) if x == y => is_within(slips, a, b),
        ([], rest) | (rest, []) => rest.len() <= slips,
        _ if slips == 0 => false,
        ([x, z, a @ ..], [y, w, b @ ..]) if (x, z) == (w, y) && is_within(slips - 1, a, b) => true,
        ([_, a_rest @ ..], [_, b_rest @ ..]) => {
            let less = slips - 1;
            is_within(less, a_rest, b)
                || is_within(less, a, b_rest)
                || is_within(less, a_rest, b_rest)
        }
    }
}

/// Words of other tools, and our commands: `WORD :: NAME`.
static ELSEWHERE: &str = include_str!("suggest.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_word_has_no_suggestion() {
        assert!(pages().iter().all(|page| command(page, "").is_none()));
    }

    #[test]
    fn added_missing_wrong_and_swapped_letters_are_counted() {
        for (a, b, far) in [
            ("list", "list", Some(0)),
            ("lst", "list", Some(1)),
            ("lsit", "list", Some(1)),
            ("ls", "list", Some(2)),
            ("--jsn", "--json", Some(1)),
            ("-json", "--json", Some(1)),
            ("exprot", "export", Some(1)),
            ("xyz", "man", None),
            ("ab", "add", None),
            ("", "add", None),
            ("ünit", "init", Some(2)),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
