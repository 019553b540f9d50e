//! Parses the arguments of `lf keys`. Nothing is opened here.

use std::path::PathBuf;

use crate::base::secret::{looks_like_secret, shown};
use crate::base::shell::{Quote, quote};
use crate::base::time::{Timestamp, parse_moment, parse_span};
use crate::cli::args::{Args, secret_in_argv};
use crate::error::{Error, Result};
use crate::system::environment::PASSPHRASE_VARIABLES;
use crate::vault::key::{Label, Provider};

use super::import::Source;
use super::update::Change;
use super::{add, audit, import, init, rekey, remove, rotate, run, update};

pub(super) fn init(args: &mut Args) -> Result<init::Options> {
    args.no_operands()?;
    let options = init::Options {
        force: args.flag("--force"),
        yes: args.flag("--yes"),
        passphrase_stdin: args.flag("--passphrase-stdin"),
    };
    if options.yes && !options.force {
        return Err(Error::usage(
            "--yes confirms what --force would do; it does nothing without it",
        ));
    }
    Ok(options)
}

pub(super) fn add(args: &mut Args) -> Result<add::Options> {
    let provider = args.value("--provider");
    if args.has_operands() || provider.as_deref().is_some_and(looks_like_secret) {
        return Err(secret_in_argv());
    }
    let provider = provider.ok_or_else(|| Error::usage("lf keys add needs --provider"))?;
    Ok(add::Options {
        provider: Provider::parse(&provider)?,
        label: label(args)?,
    })
}

/// Is it wanted when each key was last used?
pub(super) fn list(args: &mut Args) -> Result<bool> {
    args.no_operands().map(|()| args.flag("--last-used"))
}

pub(super) fn update(args: &mut Args) -> Result<update::Options> {
    let change = match (label(args)?, args.flag("--rotate")) {
        (Some(label), false) => Change::Label(label),
        (label, true) => Change::Value(label),
        (None, false) => {
            return Err(Error::usage(
                "lf keys update needs --label, --rotate, or both",
            ));
        }
    };
    let key = args.one_operand("ID")?;
    Ok(update::Options { key, change })
}

pub(super) fn rotate(args: &mut Args) -> Result<rotate::What> {
    match (args.flag("--all"), args.flag("--new-value")) {
        (true, true) => Err(Error::usage(
            "--new-value gives one key a new value; it cannot go with --all",
        )),
        (true, false) => args.no_operands().map(|()| rotate::What::All),
        (false, true) => args.one_operand("ID").map(rotate::What::NewValue),
        (false, false) => args.operands("ID").map(rotate::What::Some),
    }
}

pub(super) fn remove(args: &mut Args) -> Result<remove::Options> {
    Ok(remove::Options {
        yes: args.flag("--yes"),
        key: args.one_operand("ID")?,
    })
}

pub(super) fn export(args: &mut Args) -> Result<String> {
    let key = args.one_operand("ID")?;
    let typed = quote(&shown(&key), Quote::None);
    let hint = format!("lf keys export --i-understand -- {typed}");
    understood(args, "the key's value", hint)?;
    Ok(key)
}

pub(super) fn recovery_export(args: &mut Args) -> Result<()> {
    args.no_operands()?;
    let hint = "lf keys recovery export --i-understand | lpr".to_owned();
    understood(args, "the master passphrase", hint)
}

pub(super) fn recovery_forget(args: &mut Args) -> Result<bool> {
    args.no_operands()?;
    Ok(args.flag("--yes"))
}

/// Refuses to print a secret unless `--i-understand` was given.
fn understood(args: &Args, what: &str, hint: String) -> Result<()> {
    if args.flag("--i-understand") {
        return Ok(());
    }
    let sentence = format!(
        "this writes {what} to standard output in the clear; say --i-understand if that is what you want"
    );
    Err(Error::Refused { sentence, hint })
}

pub(super) fn run(args: &mut Args) -> Result<run::Options> {
    args.no_operands()?;
    let (keys, input) = (args.all("--key"), args.value("--stdin"));
    let variables = args.all("--env");
    let mut given = keys.iter().chain(&variables).chain(&input).peekable();
    if given.peek().is_none() {
        return Err(Error::usage(
            "lf keys run needs --key, --env or --stdin: nothing is handed on that was not named",
        ));
    }
    if given.any(|given| looks_like_secret(given)) {
        return Err(secret_in_argv());
    }
    let (program, arguments) = args.program();
    let variables = variables.iter().map(|text| variable(text));
    Ok(run::Options {
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

pub(super) fn restore(args: &mut Args) -> Result<PathBuf> {
    args.one_operand("DIR").map(PathBuf::from)
}

pub(super) fn import(args: &mut Args) -> Result<import::Options> {
    let source = match (args.value("--dotenv"), args.flag("--env")) {
        (Some(file), false) => Source::Dotenv {
            file: file.into(),
            names: names(args)?,
        },
        (None, true) => match names(args)? {
            names if names.is_empty() => return Err(Error::usage("the NAME is missing")),
            names => Source::Environment(names),
        },
        (None, false) | (Some(_), true) => {
            return Err(Error::usage(
                "lf keys import needs --dotenv FILE or --env, and takes one of them",
            ));
        }
    };
    let yes = args.flag("--yes");
    Ok(import::Options { source, yes })
}

/// Names of variables, if any; `NAME=VALUE` is refused.
fn names(args: &mut Args) -> Result<Vec<String>> {
    if !args.has_operands() {
        return Ok(Vec::new());
    }
    let names = args.operands("NAME")?;
    if names.iter().any(|name| name.contains('=')) {
        return Err(secret_in_argv());
    }
    Ok(names)
}

pub(super) fn audit(args: &mut Args) -> Result<audit::Which> {
    args.no_operands()?;
    Ok(audit::Which {
        key: args.value("--key"),
        since: args.value("--since").map(|text| since(&text)).transpose()?,
        tail: args.value("--tail").map(|text| count(&text)).transpose()?,
    })
}

/// A moment, or a span before now.
fn since(text: &str) -> Result<Timestamp> {
    let ago = parse_span(text).map(|span| Timestamp::now().before(span));
    ago.or_else(|| parse_moment(text)).ok_or_else(|| {
        Error::usage(format!(
            "\"{}\" is not a time such as 7d, 12h, 2026-11-20 or 2026-11-20T14:03:00Z",
            shown(text)
        ))
    })
}

fn count(text: &str) -> Result<usize> {
    let not_one = |_| Error::usage(format!("\"{}\" is not a number", shown(text)));
    text.parse().map_err(not_one)
}

pub(super) fn rekey(args: &mut Args) -> Result<rekey::What> {
    args.no_operands()?;
    match ["--passphrase-stdin", "--finish", "--undo"].map(|name| args.flag(name)) {
        [false, false, false] => Ok(rekey::What::Random),
        [true, false, false] => Ok(rekey::What::FromInput),
        [false, true, false] => Ok(rekey::What::Finish),
        [false, false, true] => Ok(rekey::What::Undo),
        _ => Err(Error::usage(
            "--passphrase-stdin begins a change, --finish and --undo end one; one of them at a time",
        )),
    }
}

/// Shall it repair what it can?
pub(super) fn doctor(args: &mut Args) -> Result<bool> {
    args.no_operands().map(|()| args.flag("--fix"))
}

fn label(args: &mut Args) -> Result<Option<Label>> {
    let label = args.open_value("--label")?;
    label.map(|label| Label::parse(&label)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::help::page_of;
    use std::ffi::OsString;

    fn read<T>(line: &str, read: fn(&mut Args) -> Result<T>) -> Result<T> {
        let mut argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (page, words) = page_of(&argv);
        read(&mut Args::take(page, argv.split_off(words))?.unwrap())
    }

    #[test]
    fn operands_after_two_dashes_are_never_flags() {
        let key = "-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
        assert_eq!(
            read(&format!("keys remove --yes -- {key}"), remove).unwrap(),
            remove::Options {
                key: key.clone(),
                yes: true
            }
        );
        assert_eq!(
            read("keys remove -- --yes", remove).unwrap(),
            remove::Options {
                key: "--yes".into(),
                yes: false
            }
        );
        assert_eq!(
            read("keys rotate -- --all", rotate).unwrap(),
            rotate::What::Some(vec!["--all".into()])
        );
        let error = read(&format!("keys remove --yes {key}"), remove).unwrap_err();
        assert_eq!(error.code(), "usage");
    }

    #[test]
    fn what_follows_two_dashes_is_the_programs_own() {
        let line = "keys run --key a --env=B=b --key=-c --stdin d --override -- llm --key sk-abcdefghijklmnop -- --help";
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            read(line, run).unwrap(),
            run::Options {
                keys: vec!["a".into(), "-c".into()],
                variables: vec![("B".into(), "b".into())],
                input: Some("d".into()),
                overrides: true,
                program: "llm".into(),
                arguments: words("--key sk-abcdefghijklmnop -- --help"),
            }
        );
        for line in ["keys run --key a", "keys run --key a --", "keys run llm x"] {
            let error = read(line, run).unwrap_err();
            assert_eq!(error.code(), "usage", "{line}");
            assert!(error.hint().unwrap().contains(" -- "), "{line}");
        }
    }

    #[test]
    fn a_value_may_begin_with_a_dash_behind_an_equals_sign_only() {
        let label = |line| {
            let label = read(line, add).unwrap().label;
            label.map(|label| label.as_str().to_owned())
        };
        assert_eq!(
            label("keys add --provider openai --label=-x").as_deref(),
            Some("-x")
        );
        assert_eq!(
            label("keys add --label=a=b --provider=openai").as_deref(),
            Some("a=b")
        );
        let error = read("keys add --provider openai --label -x", add).unwrap_err();
        assert_eq!(error.code(), "usage");
    }
}
