//! `lf complete`, which the scripts of `lf completions` call at every Tab: prints the candidates, one a
//! line. If anything fails it prints nothing. It asks no keychain, writes no audit line and changes
//! nothing.

use std::ffi::OsString;

use crate::base::{printable, secret::looks_like_secret, shell::quote, shell::unquote};
use crate::cli::complete::{Question, question};
use crate::gateway::pairing::ACTS;
use crate::system::environment::Environment;
use crate::vault::{Provider, Store, provider, store::MIN_PREFIX};

use super::{Context, Format, Result, host, pair};

/// Prints the candidates; nothing, if anything is wrong.
pub(super) fn run(environment: Environment, asked: &[OsString]) -> Result<()> {
    let lines = question(asked).and_then(|question| lines(environment, &question).ok());
    let _ = host::print(&lines.unwrap_or_default());
    Ok(())
}

/// The candidates, one a line; which of them need a store, a keychain or a directory is said by the
/// placeholder on the help page.
fn lines(environment: Environment, question: &Question) -> Result<String> {
    let mut lines = String::new();
    let mut offer = |name: &str, what: &str| lines.extend(line(question, name, what));
    for (name, what) in &question.known {
        offer(name, what);
    }
    let word = question.word.as_str();
    match question.place {
        "FILE" | "DIR" => lines.push_str("\tfiles\n"),
        "CMD" => lines = format!("\tcommand {}\n", question.command),
        "ID" => {
            for (_, name, what) in keys(&environment, word)? {
                offer(&name, &what);
            }
        }
        "NAME=ID" => {
            let (variable, id) = word.split_once('=').unzip();
            for (provider, name, what) in keys(&environment, id.unwrap_or_default())? {
                let usual = provider::variables(provider.as_str());
                let variable = variable.unwrap_or(&usual[0]);
                offer(&format!("{variable}={name}"), &what);
            }
        }
        "ACTS" => {
            let before = word.rfind(',').map_or("", |at| &word[..=at]);
            ACTS.iter().for_each(|act| offer(&format!("{before}{act}"), ""));
        }
        "PROVIDER" => {
            for known in provider::KNOWN.iter() {
                known.names().for_each(|name| offer(name, &known.what));
            }
        }
        "NAME" => {
            let context = Context::new(environment, "complete", Format::Text)?;
            let list = pair::pairings(&context)?.list()?;
            let names = list.iter().map(|(pairing, _)| pairing.name.as_str());
            names.filter(|name| is_fit(name)).for_each(|name| offer(name, ""));
        }
        _ => {}
    }
    Ok(lines)
}

/// A candidate as the shell wants it, if it begins with the word: for bash quoted to fit what was typed,
/// without the part that stays; for the others plain, with a description.
fn line(question: &Question, answer: &str, what: &str) -> Option<String> {
    if !answer.starts_with(question.word.as_str()) {
        return None;
    }
    let answer = question.before.clone() + answer;
    if question.is_bash {
        let (stays, open) = unquote(&question.head);
        let rest = answer.strip_prefix(stays.as_str())?;
        return Some(quote(rest, open) + "\n");
    }
    let tab = if what.is_empty() { "" } else { "\t" };
    Some(format!("{answer}{tab}{}\n", printable(what)))
}

/// For each key: its provider, a name that selects only this key (its label, its provider, or else its
/// id), and a description.
fn keys(environment: &Environment, word: &str) -> Result<Vec<(Provider, String, String)>> {
    let listing = Store::at(environment.keys()?).list()?;
    let selects = |name: &str| is_fit(name) && listing.select(name).len() == 1;
    let mut found = Vec::new();
    for key in &listing.keys {
        let (label, provider, id) = (key.label.as_str(), key.provider.as_str(), key.id.as_str());
        let has_label = selects(label);
        let is_id_wanted = (!has_label || word.len() >= MIN_PREFIX) && !id.starts_with('-');
        for (is_offered, name, what) in [
            (has_label, label, format!("{provider}, {id}")),
            (provider != label && selects(provider), provider, format!("{label}, {id}")),
            (is_id_wanted, id, format!("{provider}, {label}")),
        ] {
            if is_offered {
                found.push((key.provider.clone(), name.to_owned(), what));
            }
        }
    }
    Ok(found)
}

/// Names that a terminal would not show unchanged, or that lf would take for a flag or a secret, are left
/// out.
fn is_fit(name: &str) -> bool {
    printable(name) == name && !name.starts_with('-') && !looks_like_secret(name)
}
