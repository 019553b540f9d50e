//! `lf keys recovery`: the master passphrase onto paper, and back.

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::envelope;
use crate::vault::master::passphrase;
use crate::vault::sheet;

use super::seat::{Seen, Warn, seat, try_on};
use super::{Context, read_input};
use crate::system::term::{self, Behind};

pub(super) fn export(context: &Context<'_>) -> Result<()> {
    let sheet = print(context);
    // Written down before the first byte goes out, as for a key.
    context.audit(
        Kind::Export,
        "keys recovery export",
        None,
        sheet.as_ref().err(),
    );
    let sheet = sheet?;
    host::complain(
        "lf: warning: the master passphrase goes to standard output in the clear; print it, and keep it out of files and logs\n",
    );
    host::print(sheet.expose())
}

fn print(context: &Context<'_>) -> Result<Secret> {
    let master = context.settled_master()?;
    let seen = Seen::now(context, None, Warn::Yes)?;
    let fit = try_on(context, &seen, master.secret());
    if fit.shut > 0 && fit.opens == 0 {
        return Err(Error::Refused {
            sentence: format!(
                "the passphrase from {} opens none of the {} keys; its sheet would be worth nothing",
                master.origin(),
                fit.shut
            ),
            hint: "lf keys doctor".to_owned(),
        });
    }
    if fit.shut > 0 {
        let sentence = format!("{} of the keys do not open with this passphrase", fit.shut);
        context.warn(&sentence, &Error::PassphraseMissing);
    }
    sheet::print(master.secret(), Timestamp::now())
}

pub(super) fn import(context: &Context<'_>) -> Result<()> {
    context.settle()?;
    context.refuse_environment()?;
    // Both before anybody types four lines for nothing.
    let kept = passphrase::from_keychain(&context.keychain)?;
    let seen = Seen::now(context, kept, Warn::Yes)?;
    if seen.envelopes.is_empty() {
        return Err(Error::Refused {
            sentence: format!(
                "there is no key in {} to try the sheet on; the keychain was not changed",
                context.store.path().display()
            ),
            hint: "copy the keys directory there first, or: lf keys restore FILE".to_owned(),
        });
    }
    let passphrase = if host::input_is_terminal() {
        ask()?
    } else {
        sheet::read(&read_input(envelope::MAX_VALUE)?)?
    };
    let fit = try_on(context, &seen, &passphrase);
    let total = fit.opens + fit.shut;
    if fit.opens == 0 || fit.lost > 0 {
        return Err(Error::Refused {
            sentence: format!(
                "the passphrase of this sheet opens {} of the {total} keys, and the keychain's {} others; the keychain was not changed",
                fit.opens, fit.lost
            ),
            hint: "lf keys doctor; a change of the master passphrase (rekey) makes older sheets useless".to_owned(),
        });
    }
    seat(context, &seen, &passphrase)?;
    host::print(&format!(
        "the master passphrase is in the keychain, and opens {} of {total} keys\n",
        fit.opens
    ))
}

/// Line by line, so that a mistyped one can be typed again.
fn ask() -> Result<Secret> {
    let mut reader = sheet::Reader::default();
    let mut mistakes = 0;
    loop {
        let what = format!("line {} of the sheet", reader.next());
        let line = term::ask_secret(&what, MAX_LINE, Behind::Answers)?;
        match reader.line(line.expose()) {
            Ok(()) => {}
            Err(error) if mistakes == MOST_MISTAKES => return Err(error),
            Err(error) => {
                mistakes += 1;
                host::complain(&format!("lf: {}: {error}; type it again\n", error.code()));
            }
        }
        if let Some(passphrase) = reader.passphrase() {
            return Ok(passphrase);
        }
    }
}

/// Bytes; a line has 32 characters with its number.
const MAX_LINE: usize = 256;
const MOST_MISTAKES: usize = 9;
