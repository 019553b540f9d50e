//! `lf keys import`: stores keys from a dotenv file or from the environment.

use std::path::{Path, PathBuf};

use crate::base::secret::{Secret, printable, shown};
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::environment::secret_variable;
use crate::system::fs;
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::dotenv;
use crate::vault::envelope;
use crate::vault::key::{KeyMeta, Label, Provider};
use crate::vault::provider;

use super::{Context, Format, all_of, confirm, format};

/// Where the keys are, and the variables to take. From a file without names, all known keys are taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Dotenv { file: PathBuf, names: Vec<String> },
    Environment(Vec<String>),
}

/// What was found, before anything is stored.
#[derive(Default)]
struct Found {
    keys: Vec<Key>,
    /// Names or line numbers of what is no key.
    others: Vec<String>,
    /// What is left alone, and why.
    left: Vec<String>,
    /// What may be a key and cannot be imported, and why.
    bad: Vec<String>,
}

struct Key {
    provider: Provider,
    /// The variable's name.
    label: Label,
    value: Secret,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) source: Source,
    pub(crate) yes: bool,
}

pub(super) fn run(context: &Context<'_>, Options { source, yes }: &Options) -> Result<()> {
    let mut found = Found::default();
    match source {
        Source::Dotenv { file, names } => found.read_file(context, file, names)?,
        Source::Environment(names) => found.read_environment(names)?,
    }
    found.leave_what_is_there(&context.store.list()?.keys);
    for reason in &found.bad {
        context.warn(&format!("not imported: {reason}"), &Error::InvalidKey);
    }
    for key in &found.keys {
        context.check_provider(key.label.as_str(), &key.provider, &key.value);
    }
    // With --json the listing is printed only if a person will be asked.
    if context.format == Format::Text || (!*yes && host::has_person()) {
        host::complain(&found.listing());
    }
    let total = found.keys.len() + found.bad.len();
    let question = match found.keys.len() {
        1 => "Import this key?".to_owned(),
        count => format!("Import these {count} keys?"),
    };
    let (mut added, mut done) = (Vec::new(), 0);
    if !found.keys.is_empty() {
        let hint = "the same again with --yes, or at a terminal";
        confirm(&question, *yes, hint)?;
        (added, done) = add(context, &found.keys)?;
    }
    report(context, source, &added)?;
    all_of(total, done)
}

impl Found {
    fn read_file(&mut self, context: &Context<'_>, file: &Path, names: &[String]) -> Result<()> {
        let (bytes, is_exposed) = fs::read_exposed(file, MAX_FILE)?;
        let not_one = |what: &str| Error::usage(format!("{} {what}", file.display()));
        if bytes.len() > MAX_FILE {
            return Err(not_one("is larger than 256 KiB, and no dotenv file"));
        }
        let text = Secret::from_bytes(bytes).ok_or_else(|| not_one("is not UTF-8 text"))?;
        let lines = dotenv::parse(text.expose());
        for name in names {
            if lines.iter().all(|line| line.name.as_ref() != Some(name)) {
                return Err(not_one(&format!("does not set {}", shown(name))));
            }
        }
        if is_exposed {
            let sentence = format!("other users can reach {}; chmod 600 it", file.display());
            context.warn(&sentence, &Error::InvalidKey);
        }
        for line in lines {
            self.read_line(line, names)?;
        }
        Ok(())
    }

    fn read_line(&mut self, line: dotenv::Line, names: &[String]) -> Result<()> {
        let number = line.number;
        let Some(name) = line.name else {
            if let (Err(reason), true) = (line.value, names.is_empty()) {
                self.bad.push(format!("line {number}: {reason}"));
            }
            return Ok(());
        };
        let is_wanted = if names.is_empty() {
            let text = line.value.as_ref().map_or("", Secret::expose);
            provider_of(&name, text).is_some()
        } else {
            names.contains(&name)
        };
        if !is_wanted {
            if names.is_empty() {
                self.others.push(name_or_line(&name, number));
            }
            return Ok(());
        }
        let (list, reason) = match line.value {
            Ok(value) if !value.expose().is_empty() => return self.take(&name, value),
            Ok(_) if names.is_empty() => (&mut self.left, "it is empty"),
            Ok(_) => (&mut self.bad, "it is empty"),
            Err(reason) => (&mut self.bad, reason),
        };
        list.push(format!("line {number}, {}: {reason}", shown(&name)));
        Ok(())
    }

    fn read_environment(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            match secret_variable(name) {
                Ok(Some(value)) => self.take(name, value)?,
                Ok(None) => return Err(Error::usage(format!("{} is not set", shown(name)))),
                Err(error) => self.bad.push(format!("{}: {error}", shown(name))),
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &str, value: Secret) -> Result<()> {
        let name_shown = shown(name);
        let provider = provider_of(name, value.expose()).ok_or_else(|| Error::Refused {
            sentence: format!("{name_shown} does not say whose key it is; nothing was changed"),
            // The command asks for the value, because the shell does not have the file's variables.
            hint: format!("lf keys add --provider PROVIDER --label {name_shown}"),
        })?;
        let label = Label::parse(name);
        let label = label.and_then(|label| envelope::check_value(&value).map(|()| label));
        let label = match label {
            Ok(label) => label,
            Err(error) => {
                self.bad.push(format!("{name_shown}: {error}"));
                return Ok(());
            }
        };
        // As in a shell, the last one counts.
        if let Some(at) = self.keys.iter().position(|key| key.label == label) {
            self.keys.remove(at);
            let reason = "it is there twice, and the last one counts";
            self.left.push(format!("{name_shown}: {reason}"));
        }
        self.keys.push(Key {
            provider,
            label,
            value,
        });
        Ok(())
    }

    fn leave_what_is_there(&mut self, there: &[KeyMeta]) {
        let left = &mut self.left;
        self.keys.retain(|key| {
            let same = there.iter().find(|other| other.is_named(&key.provider, &key.label));
            left.extend(same.map(|same| {
                let (label, id) = (key.label.as_str(), &same.id);
                format!("{label}: {id} has this provider and label; lf keys update --rotate -- {id} gives it a new value")
            }));
            same.is_none()
        });
    }

    /// Names, never values.
    fn listing(&self) -> String {
        let mut text = String::new();
        if self.keys.is_empty() {
            text.push_str("no keys to import\n");
        }
        let width = self.keys.iter().map(|key| key.label.as_str().len()).max();
        for key in &self.keys {
            let (label, width) = (key.label.as_str(), width.unwrap_or(0));
            text.push_str(&format!("  {label:width$}  {}\n", key.provider));
        }
        for reason in &self.left {
            text.push_str(&format!("left alone: {reason}\n"));
        }
        if !self.others.is_empty() {
            text.push_str(&format!("not taken for keys: {}\n", self.others.join(", ")));
        }
        text
    }
}

/// The provider, by the variable, else by the key's prefix, else by a name such as `MY_OWN_API_KEY`.
fn provider_of(name: &str, value: &str) -> Option<Provider> {
    let known = provider::by_variable(name).or_else(|| provider::by_key(value));
    let own = || SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    match known {
        Some(known) => Provider::parse(known.names[0]).ok(),
        None => Provider::parse(&own()?.to_ascii_lowercase()).ok(),
    }
}

/// The name of what is no key. A name in mixed case may be a piece of a secret that was broken into
/// lines, so its line number is given instead.
fn name_or_line(name: &str, number: usize) -> String {
    let has = |is: fn(char) -> bool| name.contains(is);
    if has(|c| c.is_ascii_lowercase()) && has(|c| c.is_ascii_uppercase()) {
        format!("line {number}")
    } else {
        shown(name)
    }
}

/// Stores the keys; returns what was added, and how many did not fail. Another process may have added
/// the same key meanwhile, which is no failure.
fn add(context: &Context<'_>, keys: &[Key]) -> Result<(Vec<KeyMeta>, usize)> {
    let none = |error: &Error| context.audit(Kind::Add, COMMAND, None, Some(error));
    let master = context.sealing_master().inspect_err(none)?;
    let add = |key: &Key| {
        let (named, now) = ((key.provider.clone(), key.label.clone()), Timestamp::now());
        let added = context.store.add_missing(named, &key.value, &master, now);
        match &added {
            Ok(Some(key)) => context.audit(Kind::Add, COMMAND, Some(&key.id), None),
            Ok(None) => {
                let label = key.label.as_str();
                let sentence = format!("{label} was left alone: somebody else stored it meanwhile");
                context.warn(&sentence, &Error::DuplicateKey(String::new()));
            }
            Err(error) => none(error),
        }
        added
    };
    let done = context.on_each("importing", keys, |key| key.label.as_str(), add);
    let count = done.len();
    Ok((done.into_iter().flatten().collect(), count))
}

fn report(context: &Context<'_>, source: &Source, added: &[KeyMeta]) -> Result<()> {
    match context.format {
        Format::Json => host::print(&format::json(added)),
        Format::Text if added.is_empty() => Ok(()),
        Format::Text => {
            let line = |key: &KeyMeta| format!("{}={}\n", key.label.as_str(), key.id);
            host::print(&added.iter().map(line).collect::<String>())?;
            if let Source::Dotenv { file, .. } = source {
                let file = printable(&file.to_string_lossy());
                host::complain(&format!(
                    "lf: hint: they are still in the clear in {file}; take them out there\n"
                ));
            }
            Ok(())
        }
    }
}

const COMMAND: &str = "keys import";
const SUFFIXES: [&str; 2] = ["_API_KEY", "_API_TOKEN"];
/// Bytes.
const MAX_FILE: usize = 256 * 1024;
