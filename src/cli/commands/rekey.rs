//! `lf keys rekey`: a new master passphrase for everything.

use crate::error::{Error, Result};
use crate::system::host;
use crate::vault::audit::Kind;
use crate::vault::master::passphrase::{self, Origin};
use crate::vault::master::rekey::{self, Stand};
use crate::vault::master::staging;

use super::{Context, read_passphrase};

/// Which passphrase, or none after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Random,
    FromInput,
    Finish,
    Undo,
}

pub(super) fn run(context: &Context<'_>, what: What) -> Result<()> {
    match what {
        What::Random | What::FromInput => {}
        What::Finish => return finish(context),
        What::Undo => return undo(context),
    }
    let old = context.settled_master()?;
    let new = match old.origin() {
        _ if what == What::FromInput => read_passphrase("new master passphrase")?,
        Origin::Keychain => passphrase::mint()?,
        origin => {
            return Err(Error::Usage {
                sentence: format!(
                    "the master passphrase comes from {}, where lf cannot put a new one; give it yourself, on standard input",
                    origin
                ),
                hint: Some("lf keys rekey --passphrase-stdin < FILE".to_owned()),
            });
        }
    };
    let stand = rekey::run(&context.realm(), &old, &new, |done, total| {
        context.progress("re-encrypting", done, total);
    })
    .inspect_err(|error| context.audit(Kind::Update, COMMAND, None, Some(error)))?;
    let (Stand::Done(keys) | Stand::Waiting(keys, _)) = &stand;
    let count = keys.len();
    // One that waits has changed nothing yet.
    for key in keys.iter().filter(|_| matches!(stand, Stand::Done(_))) {
        context.audit(Kind::Update, COMMAND, Some(key), None);
    }
    host::print(&match &stand {
        Stand::Done(_) if *old.origin() == Origin::Keychain => format!(
            "every key ({count}) is re-encrypted under the new master passphrase, which is in the keychain now\n"
        ),
        Stand::Done(_) => format!(
            "there is nothing to re-encrypt; put the new passphrase into {}\n",
            old.origin()
        ),
        Stand::Waiting(_, origin) => format!(
            "every key ({count}) is re-encrypted, and waits beside the old one. Nothing has changed yet for whoever has\n\
             the old passphrase. Now put the new one where the old one is:\n\
             \x20 {origin}\n\
             The first command with it switches over; from then on the old one opens nothing, so restart\n\
             whatever still has it. Until then, lf keys rekey --undo drops the change.\n"
        ),
    })?;
    if matches!(stand, Stand::Done(_)) && count > 0 {
        host::complain(
            "backups and recovery sheets from before are for the old passphrase; make new ones. The keychain keeps it, as\nmaster.previous, until the next rekey: for backups, and for other directories that were under it\n",
        );
    }
    Ok(())
}

fn finish(context: &Context<'_>) -> Result<()> {
    let Some(dir) = context.store.dir()? else {
        return Err(Error::PassphraseMissing);
    };
    if staging::of(&dir)?.is_none() {
        host::complain(NOTHING);
    }
    // What comes of it is said there.
    context.settled_master().map(drop)
}

fn undo(context: &Context<'_>) -> Result<()> {
    let master = passphrase::find(&context.environment.passphrase, &context.keychain)?;
    if rekey::undo(&context.realm(), &master)? {
        host::print("the change of the master passphrase is undone; the old one is still the one\n")
    } else {
        host::complain(NOTHING);
        Ok(())
    }
}

const COMMAND: &str = "keys rekey";
const NOTHING: &str = "no change of the master passphrase is unfinished\n";
