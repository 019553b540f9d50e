//! `lf keys adopt`: the predecessor's plaintext secrets into the keychain, and off the disk.

use crate::base::text::opens_none;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::master::record::Record;
use crate::vault::predecessor::{self, Found, Remain};

use super::master::{survey, take};
use super::{Context, pair};

pub(super) fn run(context: &Context<'_>) -> Result<()> {
    context.settle()?;
    context.refuse_environment()?;
    let left = context.state.as_deref().map(predecessor::find);
    let Some(left) = left.transpose()?.flatten() else {
        host::eprint("the predecessor has left nothing in the clear; there is nothing to adopt\n");
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
    if let Some(Found::Secret(secret)) = left.read(Remain::Passphrase)?
        && !record.has(&secret)
    {
        let survey = survey(context, &secret, &record)?;
        let (opens, total) = (survey.opened(), survey.keys.len());
        if opens == 0 && (total > 0 || record.present.is_some()) {
            let path = path.display();
            let reason = match total {
                0 => format!(
                    "the keychain has another passphrase than {path}, and there is no key to try them on"
                ),
                _ => format!("the passphrase in {path} {}", opens_none(total)),
            };
            return Err(Error::Refused {
                sentence: format!("{reason}; nothing was changed or removed"),
                hint: "lf keys doctor".to_owned(),
            });
        }
        take(context, &record, &survey, &secret)?;
        host::eprint(&format!("it opens {opens} of {total} keys\n"));
    }
    let token = match left.read(Remain::Token)? {
        Some(Found::Secret(token)) => pair::pairings(context)?.inherit(&token, Timestamp::now())?,
        Some(Found::Erased) | None => false,
    };
    // Everything is in the keychain, and was read back.
    left.erase(Remain::Passphrase)?;
    left.erase(Remain::Token)?;
    let token = if token { ", and so is the token of its paired browser" } else { "" };
    host::print(&format!(
        "the master passphrase is in the keychain{token}; the plaintext is overwritten and removed\n"
    ))
}
