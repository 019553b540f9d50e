//! The table of all commands: a name, how its arguments are parsed, and what runs. Only the files of
//! this folder print results.

mod adopt;
mod audit;
mod cloud;
mod complete;
mod consent;
mod context;
mod doctor;
mod import;
mod init;
mod keys;
mod list;
mod master;
mod pair;
mod recovery;
mod rekey;
mod restore;
mod run;
mod serve;
mod service;
mod status;

use std::ffi::OsString;

use crate::base::time::Timestamp;
use crate::cloud::SCHEMA;
use crate::error::{Error, Result};
use crate::gateway::openapi;
use crate::system::{environment::Environment, host};
use crate::vault::audit::Kind;

use self::context::{Context, all_of, confirm, read_input, read_line, read_passphrase};
use super::args::{Args, is_not, secret_in_argv};
use super::format::{self, Format};
use super::{help, man, suggest, table, topic, version};

/// A command that is ready to run. Its arguments have been checked, and no file has been opened.
pub(crate) enum Command {
    Print(String),
    /// Help for somebody who did not ask for it, and the error.
    Fail(String, Error),
    Run(Box<Work>),
}

type Work = dyn FnOnce(Environment) -> Result<()>;

impl Command {
    pub(super) fn run(self, environment: Environment) -> Result<()> {
        match self {
            Command::Print(text) => host::show(&text),
            Command::Fail(text, error) => {
                host::eprint(&text);
                Err(error)
            }
            Command::Run(run) => run(environment),
        }
    }
}

/// The command that the arguments are for.
pub(super) fn build(args: &mut Args) -> Result<Command> {
    match args.command {
        "help" => {
            let words = args.operands("TOPIC").unwrap_or_default();
            topic::text(&words, help::columns()).map(Command::Print)
        }
        "man" => nothing(args).map(|()| Command::Print(man::text())),
        "version" => nothing(args).map(|()| Command::Print(version::text(args.format()))),
        "completions" => super::complete::script(&args.one_operand("shell")?).map(Command::Print),

        "keys init" => on(args, keys::init, |c, args| init::run(c, &args)),
        "keys add" => on(args, keys::new_key, keys::add),
        "keys list" => on(args, list::which, list::run),
        "keys update" => on(args, keys::changes, keys::update),
        "keys rotate" if args.flag("--new-value") => on(args, keys::changes, keys::update),
        "keys rotate" => on(args, keys::which, |c, ids| keys::rotate(c, &ids)),
        "keys remove" => on(args, keys::ids_and_yes, keys::remove),
        "keys export" => on(args, keys::id_in_the_clear, |c, key| keys::export(c, &key)),
        "keys run" => on(args, run::options, run::run),
        "keys get" => {
            on(args, |args| Ok((args.one_operand("ID")?, args.flag("--show"))), keys::get)
        }
        "keys allow" => on(args, nothing, |c, ()| run::allow(c)),
        "keys restore" if args.flag("--replaced") => {
            on(args, nothing, |c, ()| recovery::replaced(c))
        }
        "keys restore" => on(args, |args| args.operands("DIR or FILE"), |c, o| restore::run(c, &o)),
        "keys recovery export" => on(args, keys::recovery_export, |c, ()| recovery::export(c)),
        "keys recovery import" => on(args, nothing, |c, ()| recovery::import(c)),
        "keys recovery forget" => on(args, |args| only(args, "--yes"), recovery::forget),
        "keys adopt" => on(args, |args| only(args, "--yes"), adopt::run),
        "keys import" if args.flag("--cloud") => on(args, import::options, cloud::import),
        "keys import" => on(args, import::options, |c, o| import::run(c, &o)),
        "keys providers" => nothing(args).map(|()| Command::Print(list::providers(args.format()))),
        "keys audit" => on(args, audit::which, audit::run),
        "keys rekey" => on(args, keys::rekey, |c, args| rekey::run(c, &args)),
        "keys doctor" => on(args, |args| only(args, "--fix"), doctor::run),

        "cloud schema" => nothing(args).map(|()| Command::Print(SCHEMA.to_owned())),

        "gateway pair" => on(args, pair::wanted, pair::pair),
        "gateway pairings" => on(args, nothing, |c, ()| pair::list(c)),
        "gateway unpair" => on(args, pair::name_or_all, |c, o| pair::unpair(c, o.as_ref())),
        "gateway serve" => on(args, flags, |c, args| serve::run(&c.environment, &args)),
        "gateway status" => on(args, flags, |c, args| status::status(c, &args)),
        "gateway doctor" => on(args, flags, |c, args| status::doctor(c, &args)),
        "gateway openapi" => nothing(args).map(|()| Command::Print(openapi::text())),
        "gateway consent show" => on(args, nothing, |c, ()| consent::show(c)),
        "gateway consent grant" => on(args, consent::notes_and_yes, consent::grant),
        "gateway consent revoke" => on(args, consent::network, |c, ()| consent::revoke(c)),
        "gateway install" => on(args, flags, |c, args| service::install(&c.environment, &args)),
        "gateway uninstall" => on(args, nothing, |c, ()| service::uninstall(&c.environment)),
        name => Err(Error::usage(format!("lf has no {name} on this system"))),
    }
}

/// `lf complete`, which the scripts of `lf completions` call.
pub(super) fn complete(argv: Vec<OsString>) -> Command {
    Command::Run(Box::new(move |environment| complete::run(environment, &argv[1..])))
}

/// Parses the arguments now; `run` is called later with the result.
fn on<T: 'static>(
    args: &mut Args,
    read: fn(&mut Args) -> Result<T>,
    run: fn(&Context, T) -> Result<()>,
) -> Result<Command> {
    let (command, format) = (args.command, args.format());
    let options = read(args)?;
    Ok(Command::Run(Box::new(move |environment| {
        run(&Context::new(environment, command, format)?, options)
    })))
}

/// No arguments but this flag: is it given?
fn only(args: &Args, flag: &str) -> Result<bool> {
    args.no_operands().map(|()| args.flag(flag))
}

fn nothing(args: &mut Args) -> Result<()> {
    args.no_operands()
}

/// No arguments but flags, which `run` reads itself.
fn flags(args: &mut Args) -> Result<Args> {
    args.no_operands().map(|()| std::mem::take(args))
}

/// Said where no token is good, be it that the list was lost.
const NOTHING: &str = "lf: note: nothing is paired; lf gateway pair makes a token\n";
