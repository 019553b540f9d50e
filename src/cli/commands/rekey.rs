//! `lf keys rekey`: a new master passphrase for everything.

use crate::vault::{Origin, master::rekey, master::source};

use super::{Args, Context, Error, Kind, Result, host, read_passphrase};

pub(super) fn run(context: &Context, args: &Args) -> Result<()> {
    if args.flag("--finish") {
        return finish(context);
    }
    if args.flag("--undo") {
        return undo(context);
    }
    let old = context.settled_master()?;
    context.warn_unreadable(&context.store.list()?.unreadable);
    let new = match &old.origin {
        _ if args.flag("--passphrase-stdin") => read_passphrase("new master passphrase")?,
        Origin::Keychain => source::mint()?,
        origin => {
            let sentence = format!(
                "the master passphrase comes from {origin}, and lf cannot put a new one there; pass one of your own on standard input"
            );
            let hint = Some("lf keys rekey --passphrase-stdin < FILE".to_owned());
            return Err(Error::Usage { sentence, hint });
        }
    };
    let keys = rekey::run(context.store.path(), &old, &new, &context.progress("re-encrypting"))
        .inspect_err(|error| context.audit(Kind::Update, None, Some(error)))?;
    let total = keys.len();
    if old.origin != Origin::Keychain && total > 0 {
        return host::print(&format!(
            "every key ({total}) is re-encrypted, and waits beside the old one. The old passphrase still opens\n\
             everything, and nothing has changed yet. Now put the new one where the old one is:\n\
             \x20 {}\n\
             The first command with the new one switches over; from then on the old one opens nothing, so\n\
             restart whatever still has it. Until then, lf keys rekey --undo drops the change.\n",
            &old.origin
        ));
    }
    context.audit(Kind::Update, None, None);
    for key in &keys {
        context.audit(Kind::Update, Some(key), None);
    }
    if old.origin != Origin::Keychain {
        return host::print(&format!(
            "there are no keys to re-encrypt; put the new passphrase into {}\n",
            &old.origin
        ));
    }
    host::print(&format!(
        "every key ({total}) is re-encrypted under the new master passphrase, which is in the keychain now\n"
    ))?;
    host::eprint(
        "recovery sheets printed before are for the old passphrase; print a new one. The keychain keeps the old one on record,\nfor copies and for other directories that are under it, until lf keys recovery forget\n",
    );
    Ok(())
}

fn finish(context: &Context) -> Result<()> {
    if !rekey::has_begun(context.store.path())? {
        host::eprint(NOTHING);
        return Ok(());
    }
    // What comes of it is said there.
    context.settled_master().map(drop)
}

fn undo(context: &Context) -> Result<()> {
    let master = context.found_master()?;
    if rekey::undo(context.store.path(), &master)? {
        host::print(
            "the change of the master passphrase is undone; the old passphrase is still in use\n",
        )
    } else {
        host::eprint(NOTHING);
        Ok(())
    }
}

const NOTHING: &str = "no change of the master passphrase is unfinished\n";
