//! `lf keys import`: stores keys from a dotenv file or from the environment.

use std::path::{Path, PathBuf};

use crate::base::secret::{Secret, printable, shown};
use crate::cli::args::{Args, secret_in_argv};
use crate::system::fs::CLOSE;
use crate::vault::provider;
use crate::vault::{KeyMeta, Label, Master, Provider, dotenv, dotenv::Line, envelope, project};

use super::{Context, Error, Format, Kind, Result, Timestamp, all_of, confirm, format, host, keys};

/// The dotenv file, the cloud, or else the environment; and the variables or keys to take. From a file
/// without names, all known keys are taken.
pub(super) struct Options {
    file: Option<PathBuf>,
    pub(super) names: Vec<String>,
    pub(super) all: bool,
    pub(super) yes: bool,
}

pub(super) fn options(args: &mut Args) -> Result<Options> {
    let file = args.value("--dotenv").map(PathBuf::from);
    let (env, cloud, all) = (args.flag("--env"), args.flag("--cloud"), args.flag("--all"));
    let names = args.operands("VARIABLE");
    let names = if env { names? } else { names.unwrap_or_default() };
    let sources = [file.is_some(), env, cloud].into_iter().filter(|is_given| *is_given);
    if sources.count() != 1 || (all && !(cloud && names.is_empty())) {
        return Err(Error::usage(ONE_SOURCE));
    }
    if names.iter().any(|name| name.contains('=')) {
        return Err(secret_in_argv());
    }
    Ok(Options { file, names, all, yes: args.flag("--yes") })
}

/// What was found, before anything is stored.
#[derive(Default)]
pub(super) struct Found {
    pub(super) keys: Vec<Key>,
    /// Names or line numbers of what is no key.
    others: Vec<String>,
    /// What is left alone, and why.
    pub(super) left: Vec<String>,
    /// What may be a key and cannot be imported, and why.
    pub(super) bad: Vec<String>,
}

pub(super) struct Key {
    pub(super) provider: Provider,
    /// The variable's name, or what the key is called in the cloud.
    pub(super) label: Label,
    pub(super) value: Secret,
}

pub(super) fn run(context: &Context, options: &Options) -> Result<()> {
    let Options { file, names, .. } = options;
    let lines = match file {
        Some(file) => file_lines(context, file, names)?,
        None => environment_lines(context, names)?,
    };
    let mut found = Found::default();
    let mut lines = lines.into_iter();
    while let Some(line) = lines.next() {
        let is_last = lines.as_slice().iter().all(|later| later.name != line.name);
        found.take(line, is_last, names)?;
    }
    let left = file.as_deref().filter(|file| stays(file)).map(|file| {
        let file = printable(&file.to_string_lossy());
        format!("lf: hint: {file} still has them in the clear; remove them there\n")
    });
    store(context, found, options, (None, &left.unwrap_or_default()))
}

/// Stores what was found, under this passphrase if it is known already; then says what is left to do.
pub(super) fn store(
    context: &Context,
    mut found: Found,
    Options { names, yes, .. }: &Options,
    (known, left): (Option<Master>, &str),
) -> Result<()> {
    let (stored, before) = (context.store.list()?.keys, found.left.len());
    found.keys.retain(|key| {
        let same = twin(&stored, &key.provider, &key.label);
        let is_new = same.is_none();
        found.left.extend(same);
        is_new
    });
    let there = found.left.len() - before;
    for reason in &found.bad {
        context.warn(&format!("not imported: {reason}"), &Error::InvalidKey);
    }
    for key in &found.keys {
        keys::check_value(context, key.label.as_str(), &key.provider, &key.value);
    }
    // With --json the listing is printed only if a person will be asked.
    if context.format == Format::Text || (!*yes && host::has_person()) {
        host::eprint(&found.listing());
    }
    let total = found.keys.len() + found.bad.len() + there;
    let (mut added, mut done) = (Vec::new(), 0);
    if !found.keys.is_empty() {
        let question = match found.keys.len() {
            1 => "Import this key?".to_owned(),
            count => format!("Import these {count} keys?"),
        };
        let hint = "run it again with --yes, or at a terminal";
        confirm(&question, *yes, hint)?;
        let master = known.map_or_else(|| master(context), Ok)?;
        (added, done) = add(context, &found.keys, &master);
    }
    if context.format == Format::Json {
        host::print(&format::json_array(added.iter().map(KeyMeta::json)))?;
    } else if !added.is_empty() {
        let line = |key: &KeyMeta| format!("{}={}\n", key.label.as_str(), key.id);
        host::print(&added.iter().map(line).collect::<String>())?;
        host::eprint(left);
    }
    // The same again does not fail for what was named the first time.
    let is_again = found.keys.is_empty() && there > 0 && names.is_empty();
    all_of(total, if is_again { total } else { done + there })
}

/// Is it a file that will be there again, and no pipe or standard input?
fn stays(file: &Path) -> bool {
    file.is_file() && !file.starts_with("/dev") && !file.starts_with("/proc")
}

fn file_lines(context: &Context, file: &Path, names: &[String]) -> Result<Vec<Line>> {
    let (text, is_exposed) = project::text(file, MAX_FILE)?;
    let lines = dotenv::parse(text.expose());
    let is_set = |name: &String| lines.iter().any(|line| line.name.as_ref() == Some(name));
    if let Some(name) = names.iter().find(|name| !is_set(name)) {
        return Err(Error::usage(format!("{} does not set {}", file.display(), shown(name))));
    }
    if is_exposed && stays(file) {
        let sentence = format!("other users can reach {}; {CLOSE}", file.display());
        context.warn(&sentence, &Error::InvalidKey);
    }
    Ok(lines)
}

/// The environment as lines without numbers.
fn environment_lines(context: &Context, names: &[String]) -> Result<Vec<Line>> {
    let line = |name: &String| {
        let value = match context.environment.secret(name) {
            Ok(None) => return Err(Error::usage(format!("{} is not set", shown(name)))),
            Ok(Some(value)) => Ok(value),
            Err(_) => Err("it is not UTF-8 text"),
        };
        Ok(Line { number: 0, name: Some(name.clone()), value })
    };
    names.iter().map(line).collect()
}

impl Found {
    fn take(&mut self, line: Line, is_last: bool, names: &[String]) -> Result<()> {
        let Line { number, name, value } = line;
        let takes_all = names.is_empty();
        let Some(name) = name else {
            let reason = value.err().filter(|_| takes_all);
            self.bad.extend(reason.map(|reason| format!("line {number}: {reason}")));
            return Ok(());
        };
        let provider = provider_of(&name, value.as_ref().map_or("", Secret::expose));
        if !takes_all && !names.contains(&name) {
            return Ok(());
        }
        if takes_all && provider.is_none() {
            self.others.push(name_or_line(&name, number));
            return Ok(());
        }
        let shown = shown(&name);
        let place = if number == 0 { shown.clone() } else { format!("line {number}, {shown}") };
        let no_key = value.as_ref().ok().and_then(|value| why_no_key(value.expose()));
        let again = (!is_last).then_some("it is set twice; the last line counts");
        let reason = again.or(no_key).or(value.as_ref().err().copied());
        let (Ok(value), None) = (value, reason) else {
            let is_left = !is_last || (takes_all && no_key.is_some());
            let list = if is_left { &mut self.left } else { &mut self.bad };
            list.push(format!("{place}: {}", reason.unwrap_or_default()));
            return Ok(());
        };
        let Some(provider) = provider else {
            let sentence = format!("lf cannot tell whose key {shown} is; nothing was changed");
            // The command asks for the value, because the shell does not have the file's variables.
            let hint = format!("lf keys add --provider PROVIDER --label {shown}");
            return Err(Error::refused(sentence, hint));
        };
        let label = Label::parse(&name);
        match label.and_then(|label| envelope::check_value(&value).map(|()| label)) {
            Ok(label) => self.keys.push(Key { provider, label, value }),
            Err(error) => self.bad.push(format!("{place}: {error}")),
        }
        Ok(())
    }

    /// Names, never values.
    fn listing(&self) -> String {
        let width = self.keys.iter().map(|key| key.label.as_str().len()).max();
        let mut text = width.map_or("no keys to import\n", |_| "").to_owned();
        let key = |key: &Key| {
            let (label, width) = (key.label.as_str(), width.unwrap_or(0));
            format!("  {label:width$}  {}\n", key.provider)
        };
        text.extend(self.keys.iter().map(key));
        text.extend(self.left.iter().map(|reason| format!("skipped: {reason}\n")));
        if !self.others.is_empty() {
            text.push_str(&format!("not keys: {}\n", self.others.join(", ")));
        }
        text
    }
}

/// Why a key of this provider and label is left alone, if one is stored.
pub(super) fn twin(stored: &[KeyMeta], provider: &Provider, label: &Label) -> Option<String> {
    let same = stored.iter().find(|other| {
        let of_other = provider::parse(other.provider.as_str());
        other.label == *label && of_other.is_ok_and(|it| it == *provider)
    })?;
    let (label, id) = (label.as_str(), &same.id);
    Some(format!(
        "{label}: {id} has this provider and label; lf keys update --rotate -- {id} gives it a new value"
    ))
}

/// The provider, by the variable, else by the key's prefix, else by a name such as `MY_OWN_API_KEY`.
fn provider_of(name: &str, value: &str) -> Option<Provider> {
    let known = provider::by_variable(name).or_else(|| provider::by_key(value));
    let own = || SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix));
    match known {
        Some(known) => Provider::parse(known.name).ok(),
        None => provider::parse(&own()?.to_ascii_lowercase()).ok(),
    }
}

/// Why this value is no key, if it is none.
fn why_no_key(value: &str) -> Option<&'static str> {
    let plain = format!("^{}$", value.to_ascii_lowercase().replace(['-', '_', ' '], ""));
    let is_other = NO_KEYS.split_whitespace().any(|part| plain.contains(part));
    let other = is_other.then_some("it is a reference or a placeholder, not a key");
    if value.is_empty() { Some("it is empty") } else { other }
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

/// The passphrase to seal under. What is wrong with it is said once, and not of each key.
pub(super) fn master(context: &Context) -> Result<Master> {
    let master = context.sealing_master().and_then(|master| {
        master.check(context.store.dir()?.as_ref())?;
        Ok(master)
    });
    master.inspect_err(|error| context.audit(Kind::Add, None, Some(error)))
}

/// Stores the keys; returns what was added, and how many did not fail. Another process may have added
/// the same key meanwhile, which is no failure.
fn add(context: &Context, keys: &[Key], master: &Master) -> (Vec<KeyMeta>, usize) {
    let add = |key: &Key| {
        let meta = KeyMeta::mint((key.provider.clone(), key.label.clone()), Timestamp::now());
        let added = meta.and_then(|meta| context.store.add_missing(meta, &key.value, master));
        match &added {
            Ok(Some(key)) => context.audit(Kind::Add, Some(&key.id), None),
            Ok(None) => {
                let label = key.label.as_str();
                let sentence = format!("{label} was skipped: another process stored it meanwhile");
                context.warn(&sentence, &Error::DuplicateKey(String::new()));
            }
            Err(error) => context.audit(Kind::Add, None, Some(error)),
        }
        added
    };
    let done = context.on_each("importing", keys, |key| key.label.as_str(), add);
    (done.iter().flatten().cloned().collect(), done.len())
}

const ONE_SOURCE: &str = "lf keys import needs one of --dotenv FILE, --env and --cloud; --all goes only with --cloud, and without names";
/// What is in a reference to a secret of another program, and in a placeholder: in small letters and
/// without - and _; `^` and `$` are the ends. No part is one that a key has by chance.
const NO_KEYS: &str = "^op:// ^lf:// ^encrypted: ^enc[ ^ref+ ^bws:// ^vault: ^< ^yourapi ^youropenai \
    yourkey yoursecret yourtoken keyhere changeme replaceme placeholder example xxxxxx ... *** ^xxx$";
const SUFFIXES: [&str; 2] = ["_API_KEY", "_API_TOKEN"];
/// Bytes.
const MAX_FILE: usize = 256 * 1024;
