//! `lf complete`, which the scripts of `lf completions` ask at every Tab: what may stand there, one a
//! line. Silent when it cannot tell; it asks no keychain, writes no audit line and changes nothing.

use crate::base::secret::{looks_like_secret, printable};
use crate::base::shell::{quote, unquote};
use crate::error::Result;
use crate::system::host::{self, Environment};
use crate::vault::key::KeyMeta;
use crate::vault::provider;
use crate::vault::store::{MIN_PREFIX, Store};

use super::{Context, Format, pair};

/// What is asked at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) shell: Shell,
    /// The word so far, out of its quotes; of a flag's value behind an equals sign, the value.
    pub(crate) word: String,
    /// What of the word stays as it was typed, quotes and all: the shell replaces the rest.
    pub(crate) head: String,
    /// What stands before the answer in the same word, such as `--provider=`.
    pub(crate) before: String,
    /// Answers that need no store, and what they are.
    pub(crate) known: Vec<(&'static str, &'static str)>,
    pub(crate) wanted: Wanted,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What else may stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    Keys,
    /// `NAME=ID`, for a variable of the environment.
    Variables,
    Providers,
    Pairings,
    Files,
    /// Another command, whose name is the word of this number.
    Command(usize),
}

pub(super) fn run(environment: &Environment, question: &Question) {
    let mut lines = String::new();
    for (answer, what) in &question.known {
        line(&mut lines, question, answer, what);
    }
    if find(environment, question, &mut lines).is_ok() {
        let _ = host::print(&lines);
    }
}

fn find(environment: &Environment, question: &Question, lines: &mut String) -> Result<()> {
    let word = question.word.as_str();
    match question.wanted {
        Wanted::Nothing => {}
        Wanted::Files => lines.push_str("\tfiles\n"),
        Wanted::Command(number) => *lines = format!("\tcommand {number}\n"),
        Wanted::Keys => keys(environment, word, &mut |_, name, what| {
            line(lines, question, name, what);
        })?,
        Wanted::Variables => {
            let (variable, id) = word.split_once('=').unzip();
            keys(
                environment,
                id.unwrap_or_default(),
                &mut |key, name, what| {
                    let usual = || provider::variable(key.provider.as_str());
                    let variable = variable.map_or_else(usual, str::to_owned);
                    line(lines, question, &format!("{variable}={name}"), what);
                },
            )?;
        }
        Wanted::Providers => {
            for known in provider::KNOWN {
                for name in known.names {
                    line(lines, question, name, known.variable);
                }
            }
        }
        Wanted::Pairings => {
            let context = Context::new(environment, Format::Text)?;
            for name in pair::pairings(&context)?.names()? {
                if is_fit(name.as_str()) {
                    line(lines, question, name.as_str(), "");
                }
            }
        }
    }
    Ok(())
}

/// An answer as its shell wants it, if it goes on as the word begins: for bash in quotes that fit what
/// is typed, without what stays; for the others plain, with a description.
fn line(lines: &mut String, question: &Question, answer: &str, what: &str) {
    if !answer.starts_with(question.word.as_str()) {
        return;
    }
    let mut answer = question.before.clone() + answer;
    if question.shell == Shell::Bash {
        let (stays, open) = unquote(&question.head);
        let Some(rest) = answer.strip_prefix(stays.as_str()) else {
            return;
        };
        answer = quote(rest, open);
    } else if !what.is_empty() {
        answer.push('\t');
        answer.push_str(&printable(what));
    }
    lines.push_str(&answer);
    lines.push('\n');
}

/// The names that select one key each: its label, its provider, or else its id, or a part of one.
fn keys(
    environment: &Environment,
    word: &str,
    offer: &mut dyn FnMut(&KeyMeta, &str, &str),
) -> Result<()> {
    let listing = Store::at(environment.keys()?).list()?;
    let (mut names, mut ids): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for key in &listing.keys {
        names.push(key.label.as_str().to_owned());
        if key.provider.as_str() != key.label.as_str() {
            names.push(key.provider.to_string());
        }
        ids.push(key.id.to_string());
    }
    ids.extend(listing.unreadable.into_iter().map(|file| file.name));
    names.sort();
    ids.sort();
    let selects = |name: &str| {
        let first = names.partition_point(|other| other.as_str() < name);
        let is_only = names.get(first + 1).is_none_or(|next| next != name);
        let begins = ids.get(ids.partition_point(|id| id.as_str() < name));
        let is_id = name.len() >= MIN_PREFIX && begins.is_some_and(|id| id.starts_with(name));
        is_only && !is_id && is_fit(name)
    };
    for key in &listing.keys {
        let (label, provider, id) = (key.label.as_str(), key.provider.as_str(), key.id.as_str());
        let has_label = selects(label);
        if has_label {
            offer(key, label, &format!("{provider}, {id}"));
        }
        if provider != label && selects(provider) {
            offer(key, provider, &format!("{label}, {id}"));
        }
        if (!has_label || word.len() >= MIN_PREFIX) && !id.starts_with('-') {
            offer(key, id, &format!("{provider}, {label}"));
        }
    }
    Ok(())
}

/// Not what a terminal would not show as it is, or what lf would take for a flag or a secret.
fn is_fit(name: &str) -> bool {
    printable(name) == name && !name.starts_with('-') && !looks_like_secret(name)
}
