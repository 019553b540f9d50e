//! `lf keys run`: which key goes where, and what is to be run.

use crate::base::secret::{looks_like_secret, shown};
use crate::error::{Error, Result};
use crate::system::host::PASSPHRASE_VARIABLES;

use super::args::{Args, ON_STDIN};
use crate::cli::commands::{Command, RunOptions};

pub(super) fn command(args: &mut Args) -> Result<Command> {
    args.no_operands()?;
    let (keys, input) = (args.all("--key"), args.value("--stdin"));
    let variables = args.all("--env");
    if keys
        .iter()
        .chain(&variables)
        .chain(&input)
        .any(|given| looks_like_secret(given))
    {
        return Err(Error::SecretInArgv(ON_STDIN.to_owned()));
    }
    if keys.is_empty() && variables.is_empty() && input.is_none() {
        return Err(Error::usage(
            "lf keys run needs --key, --env or --stdin: nothing is handed on that was not named",
        ));
    }
    let (program, arguments) = args.program();
    Ok(Command::Run(RunOptions {
        keys,
        variables: variables
            .iter()
            .map(|text| variable(text))
            .collect::<Result<_>>()?,
        input,
        overrides: args.flag("--override"),
        program,
        arguments,
    }))
}

/// `NAME=ID`, taken apart.
fn variable(text: &str) -> Result<(String, String)> {
    let (name, key) = text.split_once('=').unwrap_or_default();
    let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    if !is_name || key.is_empty() {
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
