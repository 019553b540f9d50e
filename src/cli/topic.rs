//! `lf help TOPIC`: a page, a topic of the manual, or what to do about an error.

use crate::base::secret::shown;
use crate::error::{Error, ErrorInfo, Result, kinds};
use crate::vault::provider;

use super::{help, help::page_of, help::pages, suggest};

macro_rules! topics {
    ($($name:literal)+) => { [$(($name, include_str!(concat!("manual/", $name, ".txt")))),+] };
}

/// The topics of the manual; no command has a name of theirs. A text begins with a line of summary.
pub(super) const TOPICS: [(&str, &str); 13] = topics!(
    "security" "files" "environment" "exit-status" "providers" "recovery" "browsers" "service"
    "recipes" "api" "systems" "glossary" "errors"
);

/// The help on these words.
pub(super) fn text(words: &[String], width: usize) -> Result<String> {
    let (page, count) = page_of(words);
    if count == words.len() {
        return Ok(help::text(page, width));
    }
    let name = words.join(" ");
    let topic = TOPICS.iter().find(|(topic, _)| *topic == name);
    let source = topic.map(|(name, text)| source(name, text));
    let source = source.or_else(|| kinds().find(|info| info.code == name).map(one));
    source.map(|source| help::manual(&source, width)).ok_or_else(|| no_help(&name))
}

/// The whole text of a topic. The rows of two are those of the program's own tables.
pub(super) fn source(name: &str, text: &str) -> String {
    let rows: String = match name {
        "errors" => kinds().map(one).collect(),
        "providers" => provider::rows().map(|row| row.replacen('|', "::", 1) + "\n").collect(),
        _ => String::new(),
    };
    text.to_owned() + &rows
}

fn no_help(name: &str) -> Error {
    let codes = kinds().map(|info| info.code);
    let names = pages().iter().map(|page| page.name);
    let meant = suggest::word(name, codes.chain(names).chain(TOPICS.map(|(topic, _)| topic)));
    // Else by its last word.
    let hint = meant.or_else(|| suggest::command(&pages()[0], name).map(|page| page.name));
    let hint = hint.map(|topic| format!("did you mean lf help {topic}? If not: lf --help"));
    let sentence = format!("there is no help on \"{}\"", shown(name));
    Error::Usage { sentence, hint }
}

fn one(info: &ErrorInfo) -> String {
    let (code, statuses, more, hint) = (info.code, info.statuses(), info.more(), info.hint());
    format!("{code} :: {more} {statuses} Hint: {hint}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_named_where_people_look_and_hides_no_command() {
        for (name, _) in TOPICS {
            let words = [name.to_owned()];
            assert_eq!(page_of(&[name]).1, 0, "{name} is a command");
            assert!(text(&words, 80).is_ok_and(|text| text.len() > 200), "{name}");
            for page in [&[][..], &["help".to_owned()]] {
                let page = text(page, 1_000).unwrap();
                assert!(page.contains(&format!(" {name}")), "{name}: {page}");
            }
        }
    }

    #[test]
    fn no_text_of_the_manual_is_wider_than_it_may_be() {
        for (name, body) in TOPICS {
            for line in help::manual(&source(name, body), 80).lines() {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }
}
