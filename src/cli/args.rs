//! Flags, values and operands of one command, by the rules of its help page.
//!
//! pico-args is lax: it takes flags for values, accepts them after `--`, and passes over repeats and
//! typos. So values are read before flags, argv is cut at `--` first, and nothing may be left over.

use std::ffi::{OsStr, OsString};

use crate::base::secret::{looks_like_secret, shown};
use crate::error::{Error, Result};
use pico_args::Arguments;

use super::format::Format;
use super::help::Page;
use super::suggest;

/// The arguments of one command; each of them is one that its help page has.
#[derive(Default)]
pub(super) struct Args {
    values: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
    operands: Vec<String>,
    program: Vec<OsString>,
}

impl Args {
    /// Parses the words behind the command's name; `None` if they ask for help.
    pub(super) fn take(page: &Page, mut words: Vec<OsString>) -> Result<Option<Args>> {
        let end = words
            .iter()
            .position(|word| word == "--")
            .unwrap_or(words.len());
        let mut after = words.split_off(end).into_iter().skip(1);
        if words.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(None);
        }
        refuse_secrets(page, &words)?;
        let mut given = Args::default();
        if page.takes_program() {
            // Passed on unchanged: these arguments are another program's.
            given.program = after.by_ref().collect();
            if given.program.is_empty() {
                let name = page.full_name();
                return Err(Error::Usage {
                    sentence: format!("{name} needs a command, and -- before it"),
                    hint: Some(format!("{name} --key openai -- CMD")),
                });
            }
        }
        let (words, joined) = split_joined(page, words);
        let mut parser = Arguments::from_vec(words);
        for name in page.values() {
            while let Some(value) = next_value(&mut parser, name)? {
                if value.starts_with('-') && !joined.contains(&name) {
                    let sentence = format!(
                        "{name} needs a value, and a flag follows it; write {name}=VALUE if the value begins with a dash"
                    );
                    return Err(Error::usage(sentence));
                }
                if SECRET_FLAGS.contains(&name) && looks_like_secret(&value) {
                    return Err(secret_in_argv());
                }
                given.values.push((name, value));
                if !page.may_repeat(name) {
                    break;
                }
            }
        }
        given.flags = page.flags().filter(|name| parser.contains(*name)).collect();
        for word in parser.finish() {
            if word.as_encoded_bytes().starts_with(b"-") {
                return Err(left_over(page, &word));
            }
            given.operands.push(operand(word)?);
        }
        for word in after {
            given.operands.push(operand(word)?);
        }
        Ok(Some(given))
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.flags.contains(&name)
    }

    pub(super) fn format(&self) -> Format {
        if self.flag("--json") {
            Format::Json
        } else {
            Format::Text
        }
    }

    pub(super) fn value(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(given, _)| *given == name)?;
        Some(self.values.swap_remove(at).1)
    }

    /// A value that will be stored and shown in the clear.
    pub(super) fn open_value(&mut self, name: &str) -> Result<Option<String>> {
        match self.value(name) {
            Some(text) if is_bare(&text) || looks_like_secret(&text) => {
                Err(Error::SecretInArgv(format!(
                    "what {name} has looks like a secret, and would be stored and shown in the clear"
                )))
            }
            value => Ok(value),
        }
    }

    /// Every value that was given under this name, in the order given.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let given = self.values.iter().filter(|(given, _)| *given == name);
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
        match self.operands.first() {
            None => Ok(()),
            Some(operand) => Err(Error::usage(format!(
                "\"{}\" is one argument too many",
                shown(operand)
            ))),
        }
    }

    pub(super) fn one_operand(&mut self, what: &str) -> Result<String> {
        let mut operands = self.operands(what)?;
        match (operands.pop(), operands.len()) {
            (Some(only), 0) => Ok(only),
            _ => Err(Error::usage(format!(
                "one {what} is enough; several were given"
            ))),
        }
    }

    pub(super) fn operands(&mut self, what: &str) -> Result<Vec<String>> {
        if self.operands.is_empty() {
            return Err(Error::usage(format!("the {what} is missing")));
        }
        Ok(std::mem::take(&mut self.operands))
    }
}

fn next_value(parser: &mut Arguments, name: &'static str) -> Result<Option<String>> {
    let value = parser.opt_value_from_os_str(name, |value| Ok::<_, Error>(value.to_owned()));
    let value = value.map_err(|_| Error::usage(format!("{name} needs a value")))?;
    value.map(text).transpose()
}

/// Splits `--name=value` into two words; also returns the names that were written so.
fn split_joined(page: &Page, words: Vec<OsString>) -> (Vec<OsString>, Vec<&'static str>) {
    let (mut split, mut names) = (Vec::new(), Vec::new());
    for word in words {
        let joined = word.to_str().and_then(|word| word.split_once('='));
        let known = joined
            .and_then(|(name, value)| Some((page.values().find(|known| *known == name)?, value)));
        match known {
            Some((name, value)) => {
                split.extend([name.into(), value.into()]);
                names.push(name);
            }
            None => split.push(word),
        }
    }
    (split, names)
}

/// What is wrong with a word that is neither a flag of the page nor an operand.
fn left_over(page: &Page, word: &OsStr) -> Error {
    let Some(word) = word.to_str() else {
        return Error::usage(NOT_TEXT);
    };
    // What follows the equals sign may be a secret, and is not repeated.
    let name = word.split('=').next().unwrap_or_default();
    let has_value = page.values().any(|known| known == name);
    if has_value || page.flags().any(|known| known == word) {
        return Error::usage(format!("{name} is given more than once"));
    }
    if page.flags().any(|known| known == name) {
        return Error::usage(format!("{name} takes no value"));
    }
    let sentence = format!("lf {} has no flag {}", page.name, shown(name));
    let meant = suggest::word(name, &mut page.values().chain(page.flags()));
    let hint = meant.map(|flag| format!("did you mean {flag}? If not: lf {} --help", page.name));
    if hint.is_none() && page.synopsis.starts_with("ID") {
        let sentence = sentence + "; an ID that begins with a dash goes after --";
        return Error::usage(sentence);
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

/// Refuses flags such as `--token`: the secret would be in the shell's history and in every process
/// list. Where the page has such a flag, its value is a name and no secret.
fn refuse_secrets(page: &Page, words: &[OsString]) -> Result<()> {
    let mut names = words
        .iter()
        .filter_map(|word| word.to_str()?.split('=').next());
    let is_secret =
        |name| SECRET_FLAGS.contains(&name) && !page.values().any(|known| known == name);
    if names.any(is_secret) {
        return Err(secret_in_argv());
    }
    Ok(())
}

fn operand(word: OsString) -> Result<String> {
    let text = text(word)?;
    if looks_like_secret(&text) {
        return Err(secret_in_argv());
    }
    Ok(text)
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|_| Error::usage(NOT_TEXT))
}

/// A secret on the command line, and where it may go instead.
pub(super) fn secret_in_argv() -> Error {
    Error::SecretInArgv(ON_STDIN.to_owned())
}

const NOT_TEXT: &str = "an argument is not UTF-8 text";

const ON_STDIN: &str = "no secret is taken from the command line, where the shell records it and every local process can read it; pass it on standard input";
const SECRET_FLAGS: [&str; 9] = [
    "--key",
    "--value",
    "--secret",
    "--api-key",
    "--raw-key",
    "--apikey",
    "--token",
    "--passphrase",
    "--password",
];
