//! `lf keys run`: replaces lf by a program that has the named keys, and no others, in its environment.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use crate::base::pool;
use crate::base::secret::{Secret, shown};
use crate::cli::args::Args;
use crate::error::{Error, Result};
use crate::system::environment::{PASSPHRASE_VARIABLES, is_set};
use crate::system::program::{self, Program};
use crate::vault::audit::Kind;
use crate::vault::key::KeyId;
use crate::vault::provider;

use super::Context;

/// What is to be run, and which keys go where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Keys that go into all of their providers' variables.
    pub(crate) keys: Vec<String>,
    /// Variables, and the keys that go into them.
    pub(crate) variables: Vec<(String, String)>,
    /// The key that goes to standard input.
    pub(crate) input: Option<String>,
    /// May variables be replaced that are set already?
    pub(crate) overrides: bool,
    pub(crate) program: OsString,
    pub(crate) arguments: Vec<OsString>,
}

pub(super) fn options(args: &mut Args) -> Result<Options> {
    args.no_operands()?;
    let (keys, input) = (args.all("--key"), args.value("--stdin"));
    let variables = args.all("--env");
    if keys.is_empty() && variables.is_empty() && input.is_none() {
        return Err(Error::usage(
            "lf keys run needs --key, --env or --stdin: nothing is handed on that was not named",
        ));
    }
    let (program, arguments) = args.program();
    let variables = variables.iter().map(|text| variable(text));
    Ok(Options {
        variables: variables.collect::<Result<_>>()?,
        keys,
        input,
        overrides: args.flag("--override"),
        program,
        arguments,
    })
}

/// Splits `NAME=ID`.
fn variable(text: &str) -> Result<(String, String)> {
    let (name, key) = text.split_once('=').unwrap_or_default();
    let is_inside = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let begins_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || begins_with_digit || !name.chars().all(is_inside) || key.is_empty() {
        return Err(Error::usage(format!(
            "--env takes NAME=ID, with a NAME of A-Z a-z 0-9 _ that begins with no digit; \"{}\" is not that",
            shown(text)
        )));
    }
    if PASSPHRASE_VARIABLES.contains(&name) {
        return Err(Error::usage(format!(
            "{name} is where lf looks for its own passphrase, and no program is given that"
        )));
    }
    Ok((name.to_owned(), key.to_owned()))
}

/// Returns only if the program did not start, with the reason.
pub(super) fn run(context: &Context<'_>, options: &Options) -> Result<()> {
    let name = Path::new(&options.program).file_name().unwrap_or_default();
    let name = shown(&name.to_string_lossy());
    // Logs the result for one key, or for none if none was found.
    let audit = |key: Option<&KeyId>, failure: Option<&Error>| {
        let details = [("command", "keys run"), ("program", name.as_str())];
        context.audit_with(Kind::Run, &details, key, failure);
    };
    // Each key once; and for each variable and the input, the index of its key.
    let (mut keys, mut variables) = (Vec::new(), Vec::new());
    let mut find = |selector: &String| -> Result<(KeyId, usize)> {
        let id = context.store.select(selector);
        let id = id.inspect_err(|error| audit(None, Some(error)))?;
        let known = keys.iter().position(|known| *known == id);
        let at = known.unwrap_or(keys.len());
        if known.is_none() {
            keys.push(id.clone());
        }
        Ok((id, at))
    };
    for selector in &options.keys {
        let (id, at) = find(selector)?;
        let meta = context.store.meta(&id);
        let meta = meta.inspect_err(|error| audit(Some(&id), Some(error)))?;
        let names = provider::variables(meta.provider.as_str()).into_iter();
        variables.extend(names.map(|name| (name, at)));
    }
    for (name, selector) in &options.variables {
        variables.push((name.clone(), find(selector)?.1));
    }
    let input = options.input.as_ref().map(find).transpose()?;
    let nothing = |error: &Error| keys.iter().for_each(|key| audit(Some(key), Some(error)));
    // What can fail without the passphrase comes first: a person may be asked for it.
    check(&variables, options).inspect_err(nothing)?;
    let program = Program::find(&options.program).inspect_err(nothing)?;
    let master = context.master().inspect_err(nothing)?;
    let open = |key: &KeyId| {
        let value = context.store.resolve(key, &master);
        value.inspect_err(|error| audit(Some(key), Some(error)))
    };
    let values = pool::each(&keys, open, |_| {});
    let values = values.into_iter().collect::<Result<Vec<Secret>>>()?;
    let mut filled = Vec::new();
    for (name, at) in &variables {
        let (key, value) = (&keys[*at], &values[*at]);
        if value.expose().contains('\0') {
            let error = Error::Refused {
                sentence: format!(
                    "the value of {key} has a NUL character, which no variable can hold; nothing was started"
                ),
                hint: format!("lf keys run --stdin={key} -- CMD"),
            };
            audit(Some(key), Some(&error));
            return Err(error);
        }
        filled.push((name.as_str(), value));
    }
    let input = match input {
        Some((_, at)) => program::input(&values[at]).inspect_err(nothing)?,
        None => Stdio::inherit(),
    };
    // Logged before the program starts, because lf ends with that.
    keys.iter().for_each(|key| audit(Some(key), None));
    let error = program.start(&options.arguments, &filled, input);
    nothing(&error);
    Err(error)
}

/// Refuses two keys for one variable, and variables that are set already.
fn check(variables: &[(String, usize)], options: &Options) -> Result<()> {
    for (at, (name, _)) in variables.iter().enumerate() {
        if variables[..at].iter().any(|(other, _)| other == name) {
            return Err(Error::usage(format!(
                "two keys would go into {name}; give one of them a variable of its own with --env NAME=ID"
            )));
        }
        if !options.overrides && is_set(name) {
            return Err(Error::Refused {
                sentence: format!("{name} is set already; nothing was started"),
                hint: format!(
                    "unset {name}, or put --override before the -- to replace it for this program"
                ),
            });
        }
    }
    Ok(())
}
