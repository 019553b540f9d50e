//! Did you mean: the command, flag or topic that is close to what was typed. Only words of our own are
//! ever shown, never what was typed.

use super::help::{Page, pages};

/// The command that was meant in this group: one of its own, or one of another group.
pub(super) fn command(group: &Page, word: &str) -> Option<&'static Page> {
    let far = |page: &&Page| {
        // Of two that are equally close, the group's own.
        distance(word, page.last_word()).map(|far| 2 * far + usize::from(!group.has(page)))
    };
    // The program's own page has no name.
    let near = pages()[1..]
        .iter()
        .filter_map(|page| Some((far(&page)?, page)));
    near.min_by_key(|(far, _)| *far).map(|(_, page)| page)
}

/// The one of these words that was meant.
pub(super) fn word(
    typed: &str,
    known: &mut dyn Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let near = known.filter_map(|word| Some((distance(typed, word)?, word)));
    near.min_by_key(|(far, _)| *far).map(|(_, word)| word)
}

/// How many slips of the finger lie between two words: a letter too many, too few, wrong, or changed
/// places with the next. `None` for more than two, or for more than every other letter.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_meant_by_nothing() {
        assert!(pages().iter().all(|page| command(page, "").is_none()));
    }

    #[test]
    fn slips_of_the_finger_are_counted() {
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
