//! `lf keys init`: the directory, and a master passphrase where one belongs.

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::envelope;
use crate::vault::master::passphrase;
use crate::vault::predecessor;

use super::seat::{Seen, Warn, configured, make_directory, seat, try_on};
use super::{Context, confirm, read_passphrase};

/// The flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) force: bool,
    pub(crate) yes: bool,
    pub(crate) passphrase_stdin: bool,
}

pub(super) fn run(context: &Context<'_>, options: &Options) -> Result<()> {
    context.settle()?;
    let given = passphrase::from_environment(&context.environment.passphrase)?;
    match given {
        Some(_) if options.passphrase_stdin => Err(Error::usage(
            "the master passphrase is given twice, on standard input and in the environment; keep one of them",
        )),
        Some((given, origin)) if options.force => reseat(context, &given, &origin.to_string()),
        Some((given, origin)) => use_environment(context, &given, &origin.to_string()),
        None => establish(context, options),
    }
}

/// The environment's passphrase rules already: only the directory is missing.
fn use_environment(context: &Context<'_>, given: &Secret, origin: &str) -> Result<()> {
    let is_asked = !context.environment.passphrase.force;
    if is_asked && matches!(passphrase::from_keychain(&context.keychain), Ok(Some(_))) {
        return Err(Error::AlreadyConfigured(format!(
            "the keychain has a master passphrase already, and {origin} has one too"
        )));
    }
    envelope::check_passphrase(given)?;
    let made = make_directory(context)?;
    if !made {
        return Err(Error::AlreadyConfigured(format!(
            "{} is there already, and the master passphrase comes from {origin}",
            context.store.path().display()
        )));
    }
    host::print(&format!(
        "{} is ready; the master passphrase comes from {origin}, and the keychain was not changed\n",
        context.store.path().display()
    ))
}

/// Puts the environment's passphrase into the keychain, once it has opened what is there.
fn reseat(context: &Context<'_>, given: &Secret, origin: &str) -> Result<()> {
    envelope::check_passphrase(given)?;
    // A locked keychain is noticed before the keys are tried.
    let kept = passphrase::from_keychain(&context.keychain)?;
    let seen = Seen::now(context, kept, Warn::Yes)?;
    let shut = try_on(context, &seen, given).shut;
    if shut > 0 {
        return Err(Error::Refused {
            sentence: format!(
                "the master passphrase from {origin} does not open {shut} of the keys that are there; the keychain was not changed"
            ),
            hint: "lf keys doctor".to_owned(),
        });
    }
    seat(context, &seen, given)?;
    host::print(&format!(
        "the master passphrase from {origin} is in the keychain now; unset it there, or lf will ask which of the two to use\n"
    ))
}

/// A new passphrase, from standard input or from the system's randomness, into the keychain.
fn establish(context: &Context<'_>, options: &Options) -> Result<()> {
    let kept = passphrase::from_keychain(&context.keychain)?;
    if kept.is_some() && !options.force {
        return Err(configured());
    }
    let new = if options.passphrase_stdin {
        read_passphrase("master passphrase")?
    } else {
        passphrase::mint()?
    };
    envelope::check_passphrase(&new)?;
    let seen = Seen::now(context, kept, Warn::Yes)?;
    // What does not open today is not lost by it; without a passphrase nobody can tell.
    let fit = try_on(context, &seen, &new);
    let lost = if seen.kept.is_some() {
        fit.lost
    } else {
        fit.shut
    };
    if lost > 0 {
        let place = context.store.path().display();
        let question =
            format!("{lost} of the keys in {place} will not open with the new master passphrase.");
        if !options.force {
            return Err(Error::Refused {
                sentence: format!("{question} Nothing was changed"),
                hint: way_to(context).to_owned(),
            });
        }
        confirm(&question, options.yes, "lf keys init --force --yes")?;
    }
    seat(context, &seen, &new)?;
    let whose = if options.passphrase_stdin {
        "the master passphrase is"
    } else {
        "a new master passphrase is"
    };
    host::print(&format!(
        "{} is ready; {whose} in the keychain\n",
        context.store.path().display()
    ))
}

/// Where the passphrase of keys that are there already may come from.
fn way_to(context: &Context<'_>) -> &'static str {
    let left = context.state.as_deref().map(predecessor::find);
    if matches!(left, Some(Ok(Some(_)))) {
        "lf keys adopt, which takes their passphrase over from the predecessor's file"
    } else {
        "lf keys recovery import, or lf keys init --passphrase-stdin, with the passphrase that they were encrypted under (or --force to give them up)"
    }
}
