//! One value per command; [`run`] is the table. Only this room prints results.

mod add;
mod adopt;
mod audit;
mod backup;
mod complete;
#[cfg(unix)]
mod consent;
mod context;
mod doctor;
mod export;
mod import;
mod init;
mod list;
mod master;
mod pair;
mod recovery;
mod rekey;
mod remove;
mod rotate;
mod run;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod service;
#[cfg(unix)]
mod status;
mod table;
mod update;

use std::path::PathBuf;

#[cfg(not(unix))]
use crate::error::Error;
use crate::error::Result;
use crate::system::fs::Publish;
use crate::system::host::{self, Environment};
use crate::vault::key::{Label, Provider};

use self::context::{Context, all_of, confirm, read_input, read_passphrase};

/// What a person asked for, checked as far as that needs no file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Print(String),
    Complete(Option<Question>),
    Init(init::Options),
    Add {
        provider: Provider,
        label: Option<Label>,
        format: Format,
    },
    List {
        last_used: bool,
        format: Format,
    },
    Update {
        key: String,
        change: Change,
    },
    Rotate(rotate::What),
    Remove {
        key: String,
        yes: bool,
    },
    Export {
        key: String,
    },
    Run(run::Options),
    Rekey(rekey::What),
    RecoveryExport,
    RecoveryImport,
    RecoveryForget {
        yes: bool,
    },
    Backup {
        file: PathBuf,
        publish: Publish,
    },
    Restore {
        file: PathBuf,
        existing: Existing,
    },
    Adopt,
    Import {
        source: ImportSource,
        yes: bool,
        format: Format,
    },
    Audit {
        which: audit::Which,
        format: Format,
    },
    Serve(ServeOptions),
    Install(InstallOptions),
    Uninstall,
    Pair {
        options: PairOptions,
        format: Format,
    },
    Pairings {
        format: Format,
    },
    Unpair(Option<Label>),
    Consent {
        what: Consenting,
        format: Format,
    },
    Status {
        options: ServeOptions,
        format: Format,
    },
    GatewayDoctor {
        options: ServeOptions,
        format: Format,
    },
    Doctor {
        fix: bool,
        format: Format,
    },
}

pub(crate) use audit::Which as WhichEvents;
pub(crate) use backup::Existing;
pub(crate) use complete::{Question, Shell, Wanted};
pub(crate) use import::Source as ImportSource;
pub(crate) use init::Options as InitOptions;
pub(crate) use pair::Options as PairOptions;
pub(crate) use rekey::What as Rekeying;
pub(crate) use rotate::What as Rotation;
pub(crate) use run::Options as RunOptions;
pub(crate) use update::Change;

/// The flags; the environment stands in for what is not given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServeOptions {
    pub(crate) keys_only: bool,
    pub(crate) tailscale: bool,
    pub(crate) bind: Option<String>,
    pub(crate) port: Option<String>,
}

/// What to do about full mode over Tailscale.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consenting {
    Show,
    Grant { notes: Option<String>, yes: bool },
    Revoke,
}

/// The service that is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InstallOptions {
    pub(crate) serve: ServeOptions,
    pub(crate) socket: bool,
    pub(crate) credential: Option<PathBuf>,
    pub(crate) print: bool,
}

/// How results, warnings and errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

pub(crate) fn run(command: Command, environment: &Environment) -> Result<()> {
    let context = |format| Context::new(environment, format);
    match command {
        Command::Print(text) => host::show(&text),
        Command::Complete(question) => {
            if let Some(question) = question {
                complete::run(environment, &question);
            }
            Ok(())
        }
        Command::Init(options) => init::run(&context(Format::Text)?, &options),
        Command::Add {
            provider,
            label,
            format,
        } => add::run(&context(format)?, provider, label),
        Command::List { last_used, format } => list::run(&context(format)?, last_used),
        Command::Update { key, change } => update::run(&context(Format::Text)?, &key, &change),
        Command::Rotate(what) => rotate::run(&context(Format::Text)?, &what),
        Command::Remove { key, yes } => remove::run(&context(Format::Text)?, &key, yes),
        Command::Export { key } => export::run(&context(Format::Text)?, &key),
        Command::Run(options) => run::run(&context(Format::Text)?, &options),
        Command::RecoveryExport => recovery::export(&context(Format::Text)?),
        Command::RecoveryImport => recovery::import(&context(Format::Text)?),
        Command::RecoveryForget { yes } => recovery::forget(&context(Format::Text)?, yes),
        Command::Backup { file, publish } => {
            backup::backup(&context(Format::Text)?, &file, publish)
        }
        Command::Restore { file, existing } => {
            backup::restore(&context(Format::Text)?, &file, existing)
        }
        Command::Adopt => adopt::run(&context(Format::Text)?),
        Command::Import {
            source,
            yes,
            format,
        } => import::run(&context(format)?, &source, yes),
        Command::Audit { which, format } => audit::run(&context(format)?, &which),
        Command::Rekey(what) => rekey::run(&context(Format::Text)?, what),
        #[cfg(unix)]
        Command::Serve(options) => serve::run(environment, &options),
        #[cfg(unix)]
        Command::Install(options) => service::install(environment, &options),
        #[cfg(unix)]
        Command::Uninstall => service::uninstall(environment),
        #[cfg(unix)]
        Command::Consent { what, format } => consent::run(&context(format)?, what),
        #[cfg(unix)]
        Command::Status { options, format } => status::status(&context(format)?, &options),
        #[cfg(unix)]
        Command::GatewayDoctor { options, format } => status::doctor(&context(format)?, &options),
        #[cfg(not(unix))]
        Command::Serve(_)
        | Command::Install(_)
        | Command::Uninstall
        | Command::Consent { .. }
        | Command::Status { .. }
        | Command::GatewayDoctor { .. } => Err(Error::usage("the gateway runs on Unix only")),
        Command::Pair { options, format } => pair::pair(&context(format)?, &options),
        Command::Pairings { format } => pair::list(&context(format)?),
        Command::Unpair(name) => pair::unpair(&context(Format::Text)?, name.as_ref()),
        Command::Doctor { fix, format } => doctor::run(&context(format)?, fix),
    }
}
