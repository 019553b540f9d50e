//! Puts a passphrase into the keychain, once it has been tried on the keys that are there.

use crate::base::pool;
use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::system::host;
use crate::vault::envelope::Envelope;
use crate::vault::master::passphrase;
use crate::vault::store;

use super::Context;

/// Makes the directory and puts the passphrase into the keychain, under the store's lock and only if
/// everything is still as it was when it was judged: a key that was added meanwhile, or a passphrase
/// that somebody else has put there, must not be lost.
pub(super) fn seat(context: &Context<'_>, seen: &Seen, new: &Secret) -> Result<()> {
    make_directory(context)?;
    let dir = Dir::create(context.store.path())?;
    let _lock = dir.lock()?;
    let kept = passphrase::from_keychain(&context.keychain)?;
    let now = Seen::now(context, kept, Warn::No)?;
    match (now.is_same(seen), &seen.kept, &now.kept) {
        (true, _, _) => passphrase::keep(&context.keychain, new),
        (false, None, Some(_)) => Err(configured()),
        (false, _, _) => Err(Error::Refused {
            sentence: "the keys or the keychain were changed by somebody else meanwhile; nothing was changed here".to_owned(),
            hint: "lf keys list, and then the same command again".to_owned(),
        }),
    }
}

pub(super) fn configured() -> Error {
    Error::AlreadyConfigured("the keychain has a master passphrase already; nothing was changed (--force would replace it)".to_owned())
}

/// What there was when a decision was made.
pub(super) struct Seen {
    pub(super) kept: Option<Secret>,
    pub(super) envelopes: Vec<Envelope>,
}

/// Shall unreadable files be named?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Warn {
    Yes,
    No,
}

impl Seen {
    /// The readable keys, because no passphrase opens the others, beside what the keychain has.
    pub(super) fn now(context: &Context<'_>, kept: Option<Secret>, warn: Warn) -> Result<Seen> {
        let mut envelopes = Vec::new();
        if let Some(dir) = context.store.dir()? {
            for (_, read) in store::envelopes(&dir)? {
                match read {
                    Ok(envelope) => envelopes.extend(envelope),
                    Err(error) if warn == Warn::Yes => context.warn(&error.to_string(), &error),
                    Err(_) => {}
                }
            }
        }
        envelopes.sort_by(|a, b| a.meta.id.cmp(&b.meta.id));
        Ok(Seen { kept, envelopes })
    }

    fn is_same(&self, other: &Seen) -> bool {
        let print = |seen: &Seen| {
            seen.envelopes
                .iter()
                .map(Envelope::print)
                .collect::<Vec<_>>()
        };
        self.kept.as_ref().map(Secret::expose) == other.kept.as_ref().map(Secret::expose)
            && print(self) == print(other)
    }
}

/// Makes the directory, or takes loose permissions away from the one that is there; `false` if
/// there was nothing to do.
pub(super) fn make_directory(context: &Context<'_>) -> Result<bool> {
    let Some(dir) = context.store.dir()? else {
        return Dir::create(context.store.path()).map(|_| true);
    };
    if let Some(root) = context
        .root()
        .and_then(|root| Dir::open(&root).ok().flatten())
    {
        tighten(&root, |_| Ok(()))?;
    }
    tighten(&dir, store::alone)
}

/// `false` if nobody but the owner could reach it before; an error if it `may` not be closed.
fn tighten(dir: &Dir, may: fn(&Dir) -> Result<()>) -> Result<bool> {
    let is_loose = dir.look(".")?.is_some_and(|look| look.mode & 0o077 != 0);
    if is_loose {
        may(dir)?;
        dir.tighten(".")?;
        host::complain(&format!(
            "{} could be reached by other users; now only its owner can\n",
            dir.path().display()
        ));
    }
    Ok(is_loose)
}

/// How a passphrase fares with the keys that are there.
pub(super) struct Fit {
    pub(super) opens: usize,
    pub(super) shut: usize,
    /// Those among the shut that open with the passphrase in the keychain.
    pub(super) lost: usize,
}

pub(super) fn try_on(context: &Context<'_>, seen: &Seen, passphrase: &Secret) -> Fit {
    let total = seen.envelopes.len();
    let opens = |envelope: &Envelope| {
        let opens = context.opens(envelope, passphrase);
        let kept = || {
            seen.kept
                .as_ref()
                .is_some_and(|kept| context.opens(envelope, kept))
        };
        (opens, !opens && kept())
    };
    let tried = pool::each(&seen.envelopes, opens, |done| {
        context.progress("checking", done, total);
    });
    let opens = tried.iter().filter(|(opens, _)| *opens).count();
    Fit {
        opens,
        shut: total - opens,
        lost: tried.iter().filter(|(_, is_lost)| *is_lost).count(),
    }
}
