//! `lf keys`: its command lines, but for `run`.

use crate::base::secret::{looks_like_secret, shown};
use crate::base::shell::{Quote, quote};
use crate::base::time::{Timestamp, parse_moment, parse_span};
use crate::error::{Error, Result};
use crate::system::fs::Publish;
use crate::vault::key::{Label, Provider};

use super::args::{Args, ON_STDIN};
use super::run;
use crate::cli::commands::{
    Change, Command, Existing, Format, ImportSource, InitOptions, Rekeying, Rotation, WhichEvents,
};

/// `name` is the command's page.
pub(super) fn command(name: &str, args: &mut Args, format: Format) -> Result<Command> {
    match name {
        "keys init" => init(args),
        "keys add" => add(args, format),
        "keys list" => args.no_operands().map(|()| Command::List {
            last_used: args.flag("--last-used"),
            format,
        }),
        "keys update" => update(args),
        "keys rotate" => rotate(args),
        "keys remove" => Ok(Command::Remove {
            yes: args.flag("--yes"),
            key: args.one_operand("ID")?,
        }),
        "keys export" => export(args),
        "keys run" => run::command(args),
        "keys recovery export" => recovery_export(args),
        "keys recovery import" => args.no_operands().map(|()| Command::RecoveryImport),
        "keys backup" => Ok(Command::Backup {
            publish: if args.flag("--force") {
                Publish::Replacement
            } else {
                Publish::New
            },
            file: args.one_operand("FILE")?.into(),
        }),
        "keys restore" => Ok(Command::Restore {
            existing: match (args.flag("--missing"), args.flag("--force")) {
                (false, false) => Existing::Refuse,
                (true, false) => Existing::Keep,
                (false, true) => Existing::Overwrite,
                (true, true) => {
                    return Err(Error::usage(
                        "--missing leaves the keys that are here, --force overwrites them; one of them",
                    ));
                }
            },
            file: args.one_operand("FILE")?.into(),
        }),
        "keys adopt" => args.no_operands().map(|()| Command::Adopt),
        "keys import" => import(args, format),
        "keys audit" => audit(args, format),
        "keys rekey" => rekey(args),
        "keys doctor" => args.no_operands().map(|()| Command::Doctor {
            fix: args.flag("--fix"),
            format,
        }),
        name => Err(Error::usage(format!("lf {name} is not there yet"))),
    }
}

fn init(args: &mut Args) -> Result<Command> {
    args.no_operands()?;
    let options = InitOptions {
        force: args.flag("--force"),
        yes: args.flag("--yes"),
        passphrase_stdin: args.flag("--passphrase-stdin"),
    };
    if options.yes && !options.force {
        return Err(Error::usage(
            "--yes confirms what --force would do; it does nothing without it",
        ));
    }
    Ok(Command::Init(options))
}

fn add(args: &mut Args, format: Format) -> Result<Command> {
    if args.has_operands() {
        return Err(Error::SecretInArgv(ON_STDIN.to_owned()));
    }
    let provider = args
        .value("--provider")
        .ok_or_else(|| Error::usage("lf keys add needs --provider"))?;
    if looks_like_secret(&provider) {
        return Err(Error::SecretInArgv(ON_STDIN.to_owned()));
    }
    Ok(Command::Add {
        provider: Provider::parse(&provider)?,
        label: label(args)?,
        format,
    })
}

fn update(args: &mut Args) -> Result<Command> {
    let (label, new_value) = (label(args)?, args.flag("--rotate"));
    let change = match (label, new_value) {
        (Some(label), false) => Change::Label(label),
        (label, true) => Change::Value(label),
        (None, false) => {
            return Err(Error::usage(
                "lf keys update needs --label, --rotate, or both",
            ));
        }
    };
    Ok(Command::Update {
        key: args.one_operand("ID")?,
        change,
    })
}

fn rotate(args: &mut Args) -> Result<Command> {
    let (all, new_value) = (args.flag("--all"), args.flag("--new-value"));
    let what = match (all, new_value) {
        (true, true) => {
            return Err(Error::usage(
                "--new-value gives one key a new value; it cannot go with --all",
            ));
        }
        (true, false) => args.no_operands().map(|()| Rotation::All)?,
        (false, true) => Rotation::NewValue(args.one_operand("ID")?),
        (false, false) => Rotation::Some(args.operands("ID")?),
    };
    Ok(Command::Rotate(what))
}

fn export(args: &mut Args) -> Result<Command> {
    let key = args.one_operand("ID")?;
    if args.flag("--i-understand") {
        return Ok(Command::Export { key });
    }
    let sentence = "this writes the key's value to standard output in the clear; say --i-understand if that is what you want".to_owned();
    Err(Error::Refused {
        sentence,
        hint: format!(
            "lf keys export --i-understand -- {}",
            quote(&shown(&key), Quote::None)
        ),
    })
}

fn recovery_export(args: &mut Args) -> Result<Command> {
    args.no_operands()?;
    if args.flag("--i-understand") {
        return Ok(Command::RecoveryExport);
    }
    Err(Error::Refused {
        sentence: "this writes the master passphrase to standard output in the clear; say --i-understand if that is what you want".to_owned(),
        hint: "lf keys recovery export --i-understand | lpr".to_owned(),
    })
}

fn import(args: &mut Args, format: Format) -> Result<Command> {
    let source = match (args.value("--dotenv"), args.flag("--env")) {
        (Some(file), false) => ImportSource::Dotenv {
            file: file.into(),
            names: names(args)?,
        },
        (None, true) => match names(args)? {
            names if names.is_empty() => return Err(Error::usage("the NAME is missing")),
            names => ImportSource::Environment(names),
        },
        (None, false) | (Some(_), true) => {
            return Err(Error::usage(
                "lf keys import needs --dotenv FILE or --env, and takes one of them",
            ));
        }
    };
    Ok(Command::Import {
        source,
        yes: args.flag("--yes"),
        format,
    })
}

fn audit(args: &mut Args, format: Format) -> Result<Command> {
    args.no_operands()?;
    let which = WhichEvents {
        key: args.value("--key"),
        since: args.value("--since").map(|text| since(&text)).transpose()?,
        tail: args.value("--tail").map(|text| count(&text)).transpose()?,
    };
    Ok(Command::Audit { which, format })
}

fn rekey(args: &mut Args) -> Result<Command> {
    args.no_operands()?;
    let flags = ["--passphrase-stdin", "--finish", "--undo"].map(|name| args.flag(name));
    let what = match flags {
        [false, false, false] => Rekeying::Random,
        [true, false, false] => Rekeying::FromInput,
        [false, true, false] => Rekeying::Finish,
        [false, false, true] => Rekeying::Undo,
        _ => {
            return Err(Error::usage(
                "--passphrase-stdin begins a change, --finish and --undo end one; one of them at a time",
            ));
        }
    };
    Ok(Command::Rekey(what))
}

/// Names of variables, if any; not what they are set to.
fn names(args: &mut Args) -> Result<Vec<String>> {
    if !args.has_operands() {
        return Ok(Vec::new());
    }
    let names = args.operands("NAME")?;
    if names.iter().any(|name| name.contains('=')) {
        return Err(Error::SecretInArgv(ON_STDIN.to_owned()));
    }
    Ok(names)
}

/// A moment, or how long ago it was.
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

fn label(args: &mut Args) -> Result<Option<Label>> {
    let label = args.open_value("--label")?;
    label.map(|label| Label::parse(&label)).transpose()
}
