//! What is a candidate at the cursor, by the help pages; and the scripts that shells complete with.

use std::ffi::OsString;

use crate::base::shell::unquote;
use crate::error::{Error, Result, kinds};
use crate::system::host;

use super::{help::Page, help::Row, help::page_of, topic::TOPICS};

/// The script of a shell.
pub(super) fn script(shell: &str) -> Result<String> {
    let script = SCRIPTS.iter().find(|(name, _)| *name == shell);
    // A function of that name may be another program's.
    let script = script.map(|(_, script)| script.replace("lf", &host::name()));
    script.ok_or_else(|| Error::usage("lf has scripts for bash, zsh and fish"))
}

/// What is to be completed at the cursor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    pub(super) is_bash: bool,
    /// The word so far without its quotes; for `--flag=value`, the value.
    pub(super) word: String,
    /// The part of the word that the shell does not replace, as it was typed, with quotes.
    pub(super) head: String,
    /// What comes before the candidate in the same word, such as `--provider=`.
    pub(super) before: String,
    /// Candidates that need no store, and their descriptions.
    pub(super) known: Vec<Row>,
    /// The page's placeholder for what belongs here, such as `ID`, which says what else is a candidate.
    pub(super) place: &'static str,
    /// Where another command begins, for the placeholder `CMD`: the number of its first word.
    pub(super) command: usize,
}

/// Parses a script's arguments: the shell, the part of the last word that the shell replaces, and the
/// words behind `lf` up to the cursor, as they were typed.
pub(crate) fn question(asked: &[OsString]) -> Option<Question> {
    let asked: Vec<String> = asked.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let [shell, tail, pieces @ ..] = asked.as_slice() else { return None };
    SCRIPTS.iter().find(|(name, _)| name == shell)?;
    let is_bash = shell == "bash";
    let mut words = if is_bash { joined(pieces) } else { pieces.to_vec() };
    let typed = words.pop()?;
    let mut question = Question {
        is_bash,
        word: unquote(&typed).0,
        head: typed.strip_suffix(tail.as_str()).unwrap_or_default().into(),
        ..Question::default()
    };
    let words: Vec<String> = words.iter().map(|word| unquote(word).0).collect();
    question.place = by_page(&mut question, &words);
    // Shells count words from 1, and `lf` is the first.
    let end = pieces.iter().position(|piece| piece == "--");
    question.command = end.map_or(0, |end| end + 2);
    Some(question)
}

/// Joins what bash has split: it makes words of their own of `=`, `:` and `@`.
fn joined(pieces: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut goes_on = false;
    for piece in pieces {
        let is_break = !piece.is_empty() && piece.chars().all(|c| "=:@".contains(c));
        match words.last_mut() {
            Some(last) if goes_on || is_break => last.push_str(piece),
            _ => words.push(piece.clone()),
        }
        goes_on = is_break;
    }
    words
}

/// Finds the candidates that follow these words, by the help pages; returns the placeholder, if one
/// belongs there.
fn by_page(question: &mut Question, before: &[String]) -> &'static str {
    let (page, count) = page_of(before);
    let rest = &before[count..];
    if !page.is_command() {
        if rest.is_empty() {
            offer_members(question, page);
            offer_flags(question, page, rest);
        }
        return "";
    }
    let (operands, is_cut) = operands(page, rest);
    if is_cut && page.takes_program() {
        return "CMD";
    } else if !is_cut {
        // Behind a flag that may have a value, what else belongs there is as likely.
        let place = rest.last().and_then(|word| place_of(page, word));
        if let Some(place) = place.filter(|place| !place.starts_with('[')) {
            return place;
        }
        let word = question.word.clone();
        if let Some((name, value)) = word.split_once('=')
            && let Some(place) = place_of(page, name)
        {
            question.before = format!("{name}=");
            question.word = value.to_owned();
            return place;
        }
        if word.starts_with('-') {
            offer_flags(question, page, rest);
            return "";
        }
    }
    let places = places(page);
    let more = || places.iter().find(|(_, is_many)| *is_many);
    match places.get(operands).or_else(more).map(|(place, _)| *place) {
        None => offer_flags(question, page, rest),
        Some("TOPIC") => offer_topics(question, rest),
        Some(place) if !place.starts_with(|c: char| c.is_lowercase()) => return place,
        Some(_) if operands > 0 => {}
        Some(_) => question.known = places.iter().map(|(word, _)| (*word, "")).collect(),
    }
    ""
}

/// The placeholder of a flag's value, if there is a flag of this name that takes one.
fn place_of(page: &Page, name: &str) -> Option<&'static str> {
    let (_, place) = page.flag(name).filter(|(_, place)| !place.is_empty())?;
    Some(place.trim_end_matches("..."))
}

/// How many operands there are, and whether `--` has been among the words.
fn operands(page: &Page, words: &[String]) -> (usize, bool) {
    let end = words.iter().position(|word| word == "--");
    let (words, after) = words.split_at(end.unwrap_or(words.len()));
    let (mut count, mut is_value) = (after.len().saturating_sub(1), false);
    for word in words {
        count += usize::from(!is_value && !word.starts_with('-'));
        is_value = place_of(page, word).is_some_and(|place| !place.starts_with('['));
    }
    (count, end.is_some())
}

/// The placeholders of the operands in the synopsis (`ID...`, `FILE`, or words such as `bash`), and
/// whether each may be repeated.
fn places(page: &Page) -> Vec<(&'static str, bool)> {
    let mut places = Vec::new();
    let mut words = page.synopsis.split("-- CMD").next().unwrap_or_default().split_whitespace();
    while let Some(word) = words.next() {
        let word = word.trim_start_matches(['[', '(']);
        let is_many = word.contains("...") || word.contains('…');
        let word = word.split([']', ')', '.', '…']).next().unwrap_or_default();
        if place_of(page, word).is_some() {
            words.next();
        } else if !word.starts_with('-') {
            let either = word.split('|').filter(|place| !place.is_empty());
            places.extend(either.map(|place| (place, is_many)));
        }
    }
    places
}

/// Offers the flags that were not given yet. The program and its groups take a flag only as first word.
fn offer_flags(question: &mut Question, page: &Page, given: &[String]) {
    if !question.word.starts_with('-') && !page.is_command() {
        return;
    }
    for ((name, _), (_, what)) in page.flags().zip(&page.flags) {
        let is_given = |word: &String| word.split('=').next() == Some(name);
        if name != HELP.0 && !given.iter().any(is_given) {
            question.known.push((name, what));
        }
    }
    question.known.push(HELP);
}

fn offer_members(question: &mut Question, group: &Page) {
    question.known.extend(group.members().map(|page| (page.last_word(), page.summary)));
}

fn offer_topics(question: &mut Question, words: &[String]) {
    let (page, count) = page_of(words);
    if count < words.len() {
        return;
    }
    offer_members(question, page);
    if words.is_empty() {
        let summary = |text: &'static str| text.lines().next().unwrap_or_default();
        question.known.extend(TOPICS.iter().map(|(name, text)| (*name, summary(text))));
        question.known.extend(kinds().map(|info| (info.code, info.hint())));
    }
}

const SCRIPTS: [(&str, &str); 3] = [
    ("bash", include_str!("completions/lf.bash")),
    ("zsh", include_str!("completions/lf.zsh")),
    ("fish", include_str!("completions/lf.fish")),
];
const HELP: (&str, &str) = ("--help", "print the help of this command");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::pages;

    /// The question with the cursor at the line's end.
    fn asked(shell: &str, line: &str) -> Question {
        let words = line.split(' ').map(OsString::from);
        let tail = line.rsplit([' ', '=']).next().unwrap();
        let asked: Vec<OsString> = [shell.into(), tail.into()].into_iter().chain(words).collect();
        question(&asked).unwrap()
    }

    fn offered(line: &str) -> Vec<&'static str> {
        let known = asked("zsh", line).known.into_iter();
        known.map(|(name, _)| name).collect()
    }

    #[test]
    fn commands_flags_and_topics_come_from_the_pages() {
        for page in pages().iter().filter(|page| !page.name.is_empty()) {
            let (group, last) = page.name.rsplit_once(' ').unwrap_or(("", page.name));
            let line = format!("{group} ").trim_start().to_owned();
            assert!(offered(&line).contains(&last), "{line:?}");
            assert!(offered(&format!("help {line}")).contains(&last), "help {line:?}");
            let flags = offered(&format!("{} -", page.name));
            for name in page.flags().map(|(name, _)| name).chain(["--help"]) {
                assert!(flags.contains(&name), "{} {name}", page.name);
            }
        }
        assert!(offered("help ").contains(&"key_not_found"));
        assert_eq!(offered("keys doctor --json --fix "), ["--help"], "given once");
        assert_eq!(offered("completions "), ["bash", "zsh", "fish"]);
        for line in ["bogus ", "keys bogus ", "completions bash ", "help bogus ", "keys get a b"] {
            let asked = asked("zsh", line);
            let known: Vec<_> =
                asked.known.iter().filter(|(name, _)| !name.starts_with('-')).collect();
            assert!(known.is_empty() && asked.place.is_empty(), "{line}: {known:?}");
        }
    }

    #[test]
    fn operands_and_values_are_what_the_page_calls_them() {
        for (line, wanted) in [
            ("keys remove ", "ID"),
            ("keys remove --yes Pr", "ID"),
            ("keys remove -- -x", "ID"),
            ("keys get a ", ""),
            ("keys rotate a b ", "ID"),
            ("keys update --label a ", "ID"),
            ("keys update a --label ", "LABEL"),
            ("keys add --provider ", "PROVIDER"),
            ("keys add --provider=op", "PROVIDER"),
            ("keys list ", "PROVIDER"),
            ("keys list --stale ", "PROVIDER"),
            ("keys list openai ", ""),
            ("keys update a --expires ", "WHEN"),
            ("keys restore ", "DIR"),
            ("gateway unpair ", "NAME"),
            ("gateway pair --name ", "NAME"),
            ("keys run --key ", "ID"),
            ("keys run --key a --key ", "ID"),
            ("keys run --key=", "ID"),
            ("keys run --env ", "NAME=ID"),
            ("keys run --stdin ", "ID"),
            ("keys run --key a -- ", "CMD"),
            ("keys audit --key ", "ID"),
            ("keys import --dotenv ", "FILE"),
            ("keys import --env ", "VARIABLE"),
        ] {
            assert_eq!(asked("zsh", line).place, wanted, "{line}");
        }
        assert_eq!(asked("zsh", "keys run --key a -- ").command, 6);
        let joined = asked("zsh", "keys add --provider=op");
        assert_eq!((joined.before.as_str(), joined.word.as_str()), ("--provider=", "op"));
    }

    #[test]
    fn a_command_behind_two_dashes_is_another_programs() {
        let page = pages().iter().find(|page| page.name == "keys run").unwrap();
        assert!(places(page).is_empty());
        let words = ["--key", "a", "--", "b", "-c"].map(String::from);
        assert_eq!(operands(page, &words), (2, true));
    }

    #[test]
    fn what_bash_takes_apart_is_put_together() {
        for (pieces, words) in [
            (vec!["--provider", "=", "op"], vec!["--provider=op"]),
            (vec!["--provider", "="], vec!["--provider="]),
            (vec!["me", "@", "home"], vec!["me@home"]),
            (vec!["A", "=", "b", ":", "c", ""], vec!["A=b:c", ""]),
            (vec!["a", "b"], vec!["a", "b"]),
        ] {
            let pieces: Vec<String> = pieces.into_iter().map(String::from).collect();
            assert_eq!(joined(&pieces), words);
        }
    }
}
