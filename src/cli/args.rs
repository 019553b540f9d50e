//! Flags, values and operands of one command, by the rules of its help page.
//!
//! pico-args is lax: it takes flags for values, accepts them after `--`, and passes over repeats and
//! typos. So values are read before flags, argv is cut at `--` first, and nothing may be left over.

use std::ffi::OsString;

use pico_args::Arguments;

use crate::base::secret::{looks_like_secret, shown};
use crate::error::{Error, Result};

use super::{format::Format, help::Page, suggest};

/// The arguments of one command; each of them is one that its help page has.
#[derive(Default)]
pub(super) struct Args {
    /// The command's name.
    pub(super) command: &'static str,
    /// What was given, and its value; a flag that takes none has an empty one.
    flags: Vec<(&'static str, String)>,
    operands: Vec<String>,
    program: Vec<OsString>,
}

impl Args {
    /// Parses the words behind the command's name; `None` if they ask for help.
    pub(super) fn take(page: &Page, mut words: Vec<OsString>) -> Result<Option<Args>> {
        let end = words.iter().position(|word| word == "--");
        let mut after = words.split_off(end.unwrap_or(words.len())).into_iter();
        after.next();
        if words.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(None);
        }
        let words = words.into_iter().map(|word| Ok(long(page, text(word)?)));
        let words = words.collect::<Result<Vec<_>>>()?;
        // A flag such as --token: the secret would be in the shell's history and in every process list.
        // Where the page has such a flag, its value is a name and no secret.
        let mut names = words.iter().filter_map(|word| word.split('=').next());
        if names.any(|name| SECRET_FLAGS.contains(&name) && page.flag(name).is_none()) {
            return Err(secret_in_argv());
        }
        let mut given = Args { command: page.name, ..Args::default() };
        if page.takes_program() {
            // Passed on unchanged: these arguments are another program's.
            given.program = after.by_ref().collect();
            if given.program.is_empty() {
                let name = page.full_name();
                let sentence = format!("{name} needs a command, and -- before it");
                let hint = Some(format!("{name} --key openai -- CMD"));
                return Err(Error::Usage { sentence, hint });
            }
        }
        given.take_flags(page, words)?;
        given.operands.extend(after.map(text).collect::<Result<Vec<_>>>()?);
        if given.operands.iter().any(|word| looks_like_secret(word)) {
            return Err(secret_in_argv());
        }
        Ok(Some(given))
    }

    /// Takes the flags of the page with their values; what is left are operands.
    fn take_flags(&mut self, page: &Page, words: Vec<String>) -> Result<()> {
        let mut joined = Vec::new();
        let mut split: Vec<OsString> = Vec::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if page.flag(&word).is_some_and(|(_, place)| place.starts_with('['))
                && !words.peek().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()))
            {
                // It may have a value, which begins with a digit.
                split.extend([word.into(), OsString::new()]);
            } else if let Some((name, value)) = word.split_once('=')
                && let Some((name, place)) = page.flag(name)
                && !place.is_empty()
            {
                joined.push(name);
                split.extend([name.into(), value.into()]);
            } else {
                split.push(word.into());
            }
        }
        let mut parser = Arguments::from_vec(split);
        let (bare, valued): (Vec<_>, Vec<_>) =
            page.flags().partition(|(_, place)| place.is_empty());
        for (name, place) in valued {
            let refused = |what: &str| Err(Error::usage(format!("{name} {what}")));
            let Ok(values) = parser.values_from_str::<_, String>(name) else {
                return refused("needs a value");
            };
            if values.iter().any(|value| value.starts_with('-')) && !joined.contains(&name) {
                return refused(&format!(
                    "needs a value, but a flag follows; write {name}=VALUE if the value begins with a dash"
                ));
            }
            if values.len() > 1 && !place.ends_with("...") {
                return refused("is given more than once");
            }
            if place != "FILE" && values.iter().any(|value| looks_like_secret(value)) {
                return Err(secret_in_argv());
            }
            self.flags.extend(values.into_iter().map(|value| (name, value)));
        }
        let given = bare.into_iter().filter(|(name, _)| parser.contains(*name));
        self.flags.extend(given.map(|(name, _)| (name, String::new())));
        for word in parser.finish() {
            let word = text(word)?;
            if word.starts_with('-') {
                return Err(left_over(page, &word));
            }
            self.operands.push(word);
        }
        Ok(())
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| *given == name)
    }

    pub(super) fn format(&self) -> Format {
        if self.flag("--json") { Format::Json } else { Format::Text }
    }

    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    /// A value that will be stored and shown in the clear.
    pub(super) fn open_value(&self, name: &str) -> Result<Option<String>> {
        match self.value(name) {
            Some(text) if is_bare(&text) => Err(Error::SecretInArgv(format!(
                "the value of {name} looks like a secret, and lf would store and show it in the clear"
            ))),
            value => Ok(value),
        }
    }

    /// Every value that was given under this name, in the order given.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let given = self.flags.iter().filter(|(given, _)| *given == name);
        given.map(|(_, value)| value.clone()).collect()
    }

    /// The program to run, and its arguments.
    pub(super) fn program(&mut self) -> (OsString, Vec<OsString>) {
        let mut words = std::mem::take(&mut self.program).into_iter();
        (words.next().unwrap_or_default(), words.collect())
    }

    pub(super) fn has_operands(&self) -> bool {
        !self.operands.is_empty()
    }

    pub(super) fn no_operands(&self) -> Result<()> {
        let Some(operand) = self.operands.first().map(|operand| shown(operand)) else {
            return Ok(());
        };
        Err(Error::usage(format!("unexpected argument \"{operand}\"")))
    }

    pub(super) fn one_operand(&mut self, what: &str) -> Result<String> {
        let [only] = <[String; 1]>::try_from(self.operands(what)?)
            .map_err(|_| Error::usage(format!("there can be only one {what} here")))?;
        Ok(only)
    }

    pub(super) fn operands(&mut self, what: &str) -> Result<Vec<String>> {
        if self.operands.is_empty() {
            return Err(Error::usage(format!("the {what} is missing")));
        }
        Ok(std::mem::take(&mut self.operands))
    }
}

/// The long form of a flag that has a short one on this page.
fn long(page: &Page, word: String) -> String {
    let known = SHORT.iter().find(|(short, _)| *short == word);
    known.filter(|(_, long)| page.flag(long).is_some()).map_or(word, |(_, long)| (*long).to_owned())
}

/// A word with a dash that is no flag of the page, or one that was taken already.
fn left_over(page: &Page, word: &str) -> Error {
    let name = word.split('=').next().unwrap_or_default();
    match page.flag(name) {
        Some(_) if word == name => Error::usage(format!("{name} is given more than once")),
        Some(_) => Error::usage(format!("{name} takes no value")),
        None => unknown(page, name),
    }
}

fn unknown(page: &Page, name: &str) -> Error {
    let sentence = format!("lf {} has no flag {}", page.name, shown(name));
    let meant = suggest::word(name, page.flags().map(|(name, _)| name));
    let hint = meant.map(|flag| format!("did you mean {flag}? If not: lf {} --help", page.name));
    if hint.is_none() && page.synopsis.starts_with("ID") {
        return Error::usage(sentence + "; an ID that begins with a dash goes after --");
    }
    Error::Usage { sentence, hint }
}

/// Keys without a prefix, such as Mistral's, look like this. Ids do too, so an argument that names a key
/// is not checked for it.
fn is_bare(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() >= 32
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|_| Error::usage("an argument is not UTF-8 text"))
}

/// A secret on the command line, and where it may go instead.
pub(super) fn secret_in_argv() -> Error {
    Error::SecretInArgv(ON_STDIN.to_owned())
}

const ON_STDIN: &str = "lf takes no secret from the command line, because the shell records it and every local process can read it; if this was a real one, treat it as seen and replace it at its provider; pass secrets on standard input";
const SHORT: [(&str, &str); 6] = [
    ("-p", "--provider"),
    ("-l", "--label"),
    ("-k", "--key"),
    ("-e", "--env"),
    (JSON.1, JSON.0),
    ("-y", "--yes"),
];
/// The flag that every command with a result for programs has, also before the command, and its short form.
pub(super) const JSON: (&str, &str) = ("--json", "-j");
#[rustfmt::skip]
const SECRET_FLAGS: [&str; 9] = [
    "--key", "--value", "--secret", "--api-key", "--raw-key", "--apikey", "--token", "--passphrase", "--password",
];
/// The error for a word that is not what it should be.
pub(super) fn is_not(typed: &str, what: &str) -> Error {
    Error::usage(format!("\"{}\" is not {what}", shown(typed)))
}
