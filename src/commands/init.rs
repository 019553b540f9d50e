//! `lf keys init`: the directory, and a master passphrase where one belongs.

use local_keys::crew;
use local_keys::envelope::{self, Envelope};
use local_keys::error::{Error, Result};
use local_keys::fs::Dir;
use local_keys::host;
use local_keys::passphrase;
use local_keys::secret::Secret;
use local_keys::store;

use super::{Desk, confirm, read_secret};

/// The flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) force: bool,
    pub(crate) yes: bool,
    pub(crate) passphrase_stdin: bool,
}

pub(super) fn run(desk: &Desk<'_>, options: &Options) -> Result<()> {
    let given = passphrase::from_environment(&desk.environment.passphrase)?;
    match given {
        Some(_) if options.passphrase_stdin => Err(Error::usage(
            "the master passphrase is given twice, on standard input and in the environment; keep one of them",
        )),
        Some((given, origin)) if options.force => reseat(desk, &given, &origin.to_string()),
        Some((given, origin)) => use_environment(desk, &given, &origin.to_string()),
        None => establish(desk, options),
    }
}

/// The environment's passphrase rules already: only the directory is missing.
fn use_environment(desk: &Desk<'_>, given: &Secret, origin: &str) -> Result<()> {
    let is_asked = !desk.environment.passphrase.force;
    if is_asked && matches!(passphrase::from_keychain(&desk.keychain), Ok(Some(_))) {
        return Err(Error::AlreadyConfigured(format!(
            "the keychain has a master passphrase already, and {origin} has one too"
        )));
    }
    envelope::check_passphrase(given)?;
    let made = make_directory(desk)?;
    if !made {
        return Err(Error::AlreadyConfigured(format!(
            "{} is there already, and the master passphrase comes from {origin}",
            desk.store.path().display()
        )));
    }
    host::print(&format!(
        "{} is ready; the master passphrase comes from {origin}, and the keychain was not changed\n",
        desk.store.path().display()
    ))
}

/// Puts the environment's passphrase into the keychain, once it has opened what is there.
fn reseat(desk: &Desk<'_>, given: &Secret, origin: &str) -> Result<()> {
    envelope::check_passphrase(given)?;
    let shut = count_shut(desk, &envelopes(desk)?, given);
    if shut > 0 {
        return Err(Error::Refused {
            sentence: format!(
                "the master passphrase from {origin} does not open {shut} of the keys that are there; the keychain was not changed"
            ),
            hint: "lf keys doctor".to_owned(),
        });
    }
    make_directory(desk)?;
    passphrase::keep(&desk.keychain, given)?;
    host::print(&format!(
        "the master passphrase from {origin} is in the keychain now; unset it there, or lf will ask which of the two to use\n"
    ))
}

/// A new passphrase, from standard input or from the system's randomness, into the keychain.
fn establish(desk: &Desk<'_>, options: &Options) -> Result<()> {
    let old = passphrase::from_keychain(&desk.keychain)?;
    if old.is_some() && !options.force {
        return Err(Error::AlreadyConfigured("the keychain has a master passphrase already; nothing was changed (--force would replace it)".to_owned()));
    }
    let new = if options.passphrase_stdin {
        read_passphrase()?
    } else {
        passphrase::mint()?
    };
    envelope::check_passphrase(&new)?;
    let envelopes = envelopes(desk)?;
    // What cannot be opened today is not lost by this; what the old passphrase opens may be.
    let at_stake = match &old {
        Some(old) => crew::each(
            &envelopes,
            |envelope| envelope.open(old).is_ok(),
            |done| desk.progress("checking", done, envelopes.len()),
        ),
        None => vec![true; envelopes.len()],
    };
    let at_stake: Vec<Envelope> = envelopes
        .into_iter()
        .zip(at_stake)
        .filter_map(|(envelope, stake)| stake.then_some(envelope))
        .collect();
    let lost = if options.passphrase_stdin {
        count_shut(desk, &at_stake, &new)
    } else {
        at_stake.len()
    };
    if lost > 0 {
        let question = format!(
            "{lost} of the keys in {} will not open with the new master passphrase.",
            desk.store.path().display()
        );
        if !options.force {
            return Err(Error::Refused {
                sentence: format!("{question} Nothing was changed"),
                hint: "lf keys init --passphrase-stdin, with the passphrase that they were encrypted under (or --force to give them up)".to_owned(),
            });
        }
        confirm(&question, options.yes, "lf keys init --force --yes")?;
    }
    make_directory(desk)?;
    passphrase::keep(&desk.keychain, &new)?;
    let whose = if options.passphrase_stdin {
        "the master passphrase is"
    } else {
        "a new master passphrase is"
    };
    host::print(&format!(
        "{} is ready; {whose} in the keychain\n",
        desk.store.path().display()
    ))
}

/// Twice from a terminal, where nobody sees what is typed.
fn read_passphrase() -> Result<Secret> {
    let passphrase = read_secret("master passphrase")?;
    if host::input_is_terminal() && read_secret("the same again")?.expose() != passphrase.expose() {
        return Err(Error::PassphraseInvalid(
            "the two are not the same; nothing was changed".to_owned(),
        ));
    }
    Ok(passphrase)
}

/// Makes the directory, or takes loose permissions away from the one that is there; `false` if
/// there was nothing to do.
fn make_directory(desk: &Desk<'_>) -> Result<bool> {
    let Some(dir) = desk.store.dir()? else {
        return Dir::create(desk.store.path()).map(|_| true);
    };
    let is_loose = dir.look(".")?.is_some_and(|look| look.mode & 0o077 != 0);
    if is_loose {
        dir.tighten(".")?;
        host::complain(&format!(
            "{} could be reached by other users; now only its owner can\n",
            dir.path().display()
        ));
    }
    Ok(is_loose)
}

/// The readable keys; unreadable ones are named and do not count, since no passphrase opens them.
fn envelopes(desk: &Desk<'_>) -> Result<Vec<Envelope>> {
    let Some(dir) = desk.store.dir()? else {
        return Ok(Vec::new());
    };
    let mut envelopes = Vec::new();
    for (_, read) in store::envelopes(&dir)? {
        match read {
            Ok(envelope) => envelopes.extend(envelope),
            Err(error) => desk.warn(&error.to_string(), &error),
        }
    }
    Ok(envelopes)
}

fn count_shut(desk: &Desk<'_>, envelopes: &[Envelope], passphrase: &Secret) -> usize {
    let opened = crew::each(
        envelopes,
        |envelope| envelope.open(passphrase).is_ok(),
        |done| desk.progress("checking", done, envelopes.len()),
    );
    opened.into_iter().filter(|opened| !opened).count()
}
