//! `lf gateway`: its command lines.

use crate::base::secret::shown;
use crate::base::time::parse_span;
use crate::error::{Error, Result};
use crate::gateway::pairing::{DEFAULT_NAME, Others};
use crate::vault::key::Label;

use super::args::Args;
use crate::cli::commands::{
    Command, Consenting, Format, InstallOptions, PairOptions, ServeOptions,
};

/// `name` is the command's page.
pub(super) fn command(name: &str, args: &mut Args, format: Format) -> Result<Command> {
    match name {
        "gateway serve" => {
            args.no_operands()?;
            Ok(Command::Serve(serve_options(args)?))
        }
        "gateway status" => {
            args.no_operands()?;
            let options = serve_options(args)?;
            Ok(Command::Status { options, format })
        }
        "gateway doctor" => {
            args.no_operands()?;
            let options = serve_options(args)?;
            Ok(Command::GatewayDoctor { options, format })
        }
        "gateway consent show" => args.no_operands().map(|()| Command::Consent {
            what: Consenting::Show,
            format,
        }),
        "gateway consent grant" => consent_grant(args, format),
        "gateway consent revoke" => consent_revoke(args, format),
        "gateway install" => install(args),
        "gateway uninstall" => args.no_operands().map(|()| Command::Uninstall),
        "gateway pair" => pair(args, format),
        "gateway pairings" => args.no_operands().map(|()| Command::Pairings { format }),
        "gateway unpair" if args.flag("--all") => {
            args.no_operands().map(|()| Command::Unpair(None))
        }
        "gateway unpair" => Ok(Command::Unpair(Some(Label::parse(
            &args.one_operand("NAME")?,
        )?))),
        name => Err(Error::usage(format!("lf {name} is not there yet"))),
    }
}

fn consent_grant(args: &mut Args, format: Format) -> Result<Command> {
    tailscale(&args.one_operand("network (it is tailscale)")?)?;
    let yes = args.flag("--yes");
    let what = Consenting::Grant {
        notes: notes(args)?,
        yes,
    };
    Ok(Command::Consent { what, format })
}

fn consent_revoke(args: &mut Args, format: Format) -> Result<Command> {
    if args.has_operands() {
        tailscale(&args.one_operand("network")?)?;
    }
    Ok(Command::Consent {
        what: Consenting::Revoke,
        format,
    })
}

fn install(args: &mut Args) -> Result<Command> {
    args.no_operands()?;
    Ok(Command::Install(InstallOptions {
        serve: serve_options(args)?,
        socket: args.flag("--socket"),
        credential: args.value("--credential").map(Into::into),
        print: args.flag("--print"),
    }))
}

fn pair(args: &mut Args, format: Format) -> Result<Command> {
    args.no_operands()?;
    let name = args
        .open_value("--name")?
        .unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let expires = args.value("--expires").map(|span| {
        let not_a_span = || {
            Error::usage(format!(
                "\"{}\" is not a time such as 90d or 12h, from a minute to ten years",
                shown(&span)
            ))
        };
        parse_span(&span).ok_or_else(not_a_span)
    });
    let options = PairOptions {
        name: Label::parse(&name)?,
        expires: expires.transpose()?,
        others: if args.flag("--rotate") {
            Others::Revoke
        } else {
            Others::Keep
        },
    };
    Ok(Command::Pair { options, format })
}

fn serve_options(args: &mut Args) -> Result<ServeOptions> {
    let (keys_only, tailscale) = (args.flag("--keys-only"), args.flag("--tailscale"));
    if keys_only && tailscale {
        return Err(Error::usage(
            "--tailscale is about full mode; with --keys-only, --bind takes any address",
        ));
    }
    Ok(ServeOptions {
        keys_only,
        tailscale,
        bind: args.value("--bind"),
        port: args.value("--port"),
    })
}

/// All that can be consented to.
fn tailscale(network: &str) -> Result<()> {
    match network {
        "tailscale" => Ok(()),
        _ => Err(Error::usage(format!(
            "consent is to tailscale, and \"{}\" is something else",
            shown(network)
        ))),
    }
}

/// A line to remember by, not in the way of the file or the screen that it goes to.
fn notes(args: &mut Args) -> Result<Option<String>> {
    let Some(notes) = args.open_value("--notes")? else {
        return Ok(None);
    };
    if notes.chars().count() > 200 || notes.chars().any(char::is_control) {
        return Err(Error::usage(
            "--notes takes at most 200 characters, and no control characters",
        ));
    }
    Ok(Some(notes))
}
