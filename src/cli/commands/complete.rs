//! `lf complete`, which the scripts of `lf completions` call at every Tab: prints the candidates, one a
//! line. If anything fails it prints nothing. It asks no keychain, writes no audit line and changes
//! nothing.

use std::ffi::OsString;

use crate::base::secret::{looks_like_secret, printable};
use crate::base::shell::{quote, unquote};
use crate::cli::complete::{Question, Wanted, question};
use crate::error::Result;
use crate::system::environment::Environment;
use crate::system::host;
use crate::vault::key::Provider;
use crate::vault::provider;
use crate::vault::store::{MIN_PREFIX, Store};

use super::{Context, Format, pair};

/// Prints the candidates; nothing, if anything is wrong.
pub(super) fn run(environment: &Environment, asked: &[OsString]) {
    let Some(question) = question(asked) else {
        return;
    };
    if let Ok(lines) = lines(environment, &question) {
        let _ = host::print(&lines);
    }
}

/// The candidates, one a line.
fn lines(environment: &Environment, question: &Question) -> Result<String> {
    let known = question.known.iter();
    let mut lines: String = known
        .filter_map(|(name, what)| line(question, name, what))
        .collect();
    let mut offer = |name: &str, what: &str| lines.extend(line(question, name, what));
    let word = question.word.as_str();
    match question.wanted {
        Wanted::Nothing => {}
        Wanted::Files => lines.push_str("\tfiles\n"),
        Wanted::Command(number) => lines = format!("\tcommand {number}\n"),
        Wanted::Keys => {
            for (_, name, what) in keys(environment, word)? {
                offer(&name, &what);
            }
        }
        Wanted::Variables => {
            let (variable, id) = word.split_once('=').unzip();
            for (provider, name, what) in keys(environment, id.unwrap_or_default())? {
                let usual = || provider::variable(provider.as_str());
                let variable = variable.map_or_else(usual, str::to_owned);
                offer(&format!("{variable}={name}"), &what);
            }
        }
        Wanted::Providers => {
            for known in provider::KNOWN {
                known
                    .names
                    .iter()
                    .for_each(|name| offer(name, known.variable));
            }
        }
        Wanted::Pairings => {
            let context = Context::new(environment, Format::Text)?;
            for name in pair::pairings(&context)?.names()? {
                if is_fit(name.as_str()) {
                    offer(name.as_str(), "");
                }
            }
        }
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
    let (mut names, mut ids): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for key in &listing.keys {
        names.push(key.label.as_str());
        if key.provider.as_str() != key.label.as_str() {
            names.push(key.provider.as_str());
        }
        ids.push(key.id.as_str());
    }
    ids.extend(listing.unreadable.iter().map(|file| file.name.as_str()));
    names.sort_unstable();
    ids.sort_unstable();
    let selects = |name: &str| {
        let first = names.partition_point(|other| *other < name);
        let is_only = names.get(first + 1).is_none_or(|next| *next != name);
        let begins = ids.get(ids.partition_point(|id| *id < name));
        let is_id = name.len() >= MIN_PREFIX && begins.is_some_and(|id| id.starts_with(name));
        is_only && !is_id && is_fit(name)
    };
    let mut found = Vec::new();
    for key in &listing.keys {
        let (label, provider, id) = (key.label.as_str(), key.provider.as_str(), key.id.as_str());
        let mut offer = |name: &str, (a, b): (&str, &str)| {
            found.push((key.provider.clone(), name.to_owned(), format!("{a}, {b}")));
        };
        let has_label = selects(label);
        if has_label {
            offer(label, (provider, id));
        }
        if provider != label && selects(provider) {
            offer(provider, (label, id));
        }
        if (!has_label || word.len() >= MIN_PREFIX) && !id.starts_with('-') {
            offer(id, (provider, label));
        }
    }
    Ok(found)
}

/// Names that a terminal would not show unchanged, or that lf would take for a flag or a secret, are left
/// out.
fn is_fit(name: &str) -> bool {
    printable(name) == name && !name.starts_with('-') && !looks_like_secret(name)
}
