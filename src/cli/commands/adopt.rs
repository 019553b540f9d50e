//! `lf keys adopt`: the predecessor's plaintext secrets into the keychain, and off the disk.

use crate::base::secret::Secret;
use crate::base::text::opens_none;
use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::master::record::Record;
use crate::vault::predecessor::{self, Found, Remain, Remains};

use super::master::{survey, take};
use super::{Context, pair};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    context.settle()?;
    context.refuse_environment()?;
    let left = context
        .state
        .as_deref()
        .map(predecessor::find)
        .transpose()?;
    let Some(left) = left.flatten() else {
        host::complain(
            "the predecessor has left nothing in the clear; there is nothing to adopt\n",
        );
        return Ok(());
    };
    let path = left.path(Remain::Passphrase);
    let record = Record::read(&context.keychain).map_err(|error| match error {
        Error::KeychainUnavailable(reason) => Error::KeychainUnavailable(format!(
            "{reason}; nothing was removed. Without a keychain, move {} to where only you can read it (chmod 600), and name it in LENSERFIGHT_KEYS_PASSPHRASE_FILE",
            path.display()
        )),
        error => error,
    })?;
    match left.read(Remain::Passphrase)? {
        Some(Found::Secret(secret)) => take_over(context, &record, &secret, &left)?,
        Some(Found::Erased) | None => {}
    }
    let token = match left.read(Remain::Token)? {
        Some(Found::Secret(token)) => pair::pairings(context)?.inherit(&token)?,
        Some(Found::Erased) | None => false,
    };
    // Everything is in the keychain, and was read back.
    left.erase(Remain::Passphrase)?;
    left.erase(Remain::Token)?;
    let token = if token {
        ", and so is the token of its paired browser"
    } else {
        ""
    };
    host::print(&format!(
        "the master passphrase is in the keychain{token}; the plaintext is overwritten and removed\n"
    ))
}

fn take_over(
    context: &Context<'_>,
    record: &Record,
    secret: &Secret,
    left: &Remains,
) -> Result<()> {
    if record.has(secret) {
        return Ok(());
    }
    let survey = survey(context, secret, record)?;
    let (opens, total) = (survey.opened(), survey.keys.len());
    let path = left.path(Remain::Passphrase);
    let refused = |reason: String| {
        Err(Error::Refused {
            sentence: format!("{reason}; nothing was changed or removed"),
            hint: "lf keys doctor".to_owned(),
        })
    };
    match (&record.present, opens, total) {
        (_, 0, 1..) => refused(format!(
            "the passphrase in {} {}",
            path.display(),
            opens_none(total)
        )),
        (Some(_), 0, 0) => refused(format!(
            "the keychain has another passphrase than {}, and there is no key to try them on",
            path.display()
        )),
        _ => {
            take(context, "keys adopt", record, &survey, secret)?;
            host::complain(&format!("it opens {opens} of {total} keys\n"));
            Ok(())
        }
    }
}
