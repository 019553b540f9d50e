//! A new master passphrase for all that is sealed under the old one: keys, and the gateway's tokens.
//!
//! |   | step                                                          | opens everything    |
//! |---|---------------------------------------------------------------|---------------------|
//! | 1 | the new passphrase into the keychain, as `master.next`        | the old one         |
//! | 2 | every envelope, re-encrypted, into `.rekey`; read back, opened | the old one         |
//! | 3 | `.rekey/ready`                                                | either              |
//! | 4 | the new one into the keychain, the old one as `master.previous` | either              |
//! | 5 | every envelope over its predecessor                           | the new one         |
//! | 6 | `master.next`, `ready` and `.rekey` go                        | the new one         |
//!
//! Killed before step 3, the change is undone by the next command that needs the passphrase; after
//! it, finished. A passphrase in the environment is not ours to set: there the change waits after
//! step 3 until somebody comes with the new one. (tests/torture.rs kills it at every system call.)

mod settle;
mod shelf;

pub use shelf::{SEALED_PREFIX, sealed_id};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use self::settle::{Waited, settle};
use self::shelf::{Shelf, at_work, begun, claim, clear, lock, sample, staged, switch};
use crate::base::pool;
use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::fs::{Dir, Locked};
use crate::system::host::Sources;
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;
use crate::vault::master::passphrase::{self, Master, Origin};
use crate::vault::master::staging;
use crate::vault::store::Store;

/// All that one master passphrase seals, and where that comes from.
#[derive(Clone, Copy, Debug)]
pub struct Realm<'a> {
    /// The keys.
    pub store: &'a Store,
    /// The gateway's directory, if it is known.
    pub state: Option<&'a Path>,
    /// Where the passphrase may come from.
    pub sources: &'a Sources,
    /// The keychain.
    pub keychain: &'a Keychain,
}

/// What the passphrase is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Opening: whatever state a change is in, that works, so nobody is waited for.
    Reading,
    /// Sealing: a change that is at its end is waited for.
    Sealing,
}

/// What became of a change that was begun before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There was none, or one that is at work right now.
    Nothing,
    /// It waits for somebody with the new passphrase; the old one is what we have.
    Waiting,
    /// These envelopes were damaged while they waited, so nothing was moved.
    Damaged(Vec<PathBuf>),
    /// It was finished.
    Finished,
    /// It was not complete, and is undone.
    Undone,
}

/// Where the change stands that [`run`] has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// The keychain has the new passphrase, and everything is sealed under it.
    Done(Vec<KeyId>),
    /// Everything is there under both; the new passphrase is for somebody else to configure, in the
    /// place where the old one is.
    Waiting(Vec<KeyId>, Origin),
}

/// The master passphrase, and what became of a change of it that was cut short. That a change cannot
/// be settled keeps nobody from reading.
///
/// # Errors
/// As [`passphrase::find`]; those of the change are in the result's second half.
pub fn master<'a>(
    realm: &Realm<'a>,
    wanted: For,
    progress: impl FnMut(usize, usize),
) -> Result<(Master<'a>, Result<Settled>)> {
    let find = || passphrase::find(realm.sources, realm.keychain);
    let master = find()?;
    let (settled, waited) = settle(realm, &master, wanted, progress);
    match settled {
        settled @ (Ok(Settled::Finished | Settled::Undone) | Err(_)) => Ok((find()?, settled)),
        settled if waited == Waited::Yes => Ok((find()?, settled)),
        settled => Ok((master, settled)),
    }
}

/// Re-encrypts everything under `new`. `progress` hears how many envelopes of how many are staged.
///
/// # Errors
/// [`Error::Refused`] if `new` is the old one or another change is at work;
/// [`Error::DecryptionFailed`], [`Error::CorruptEnvelope`] for a key that does not open now; whatever
/// sealing, writing and the keychain say. Everything opens with the configured passphrase all the same.
pub fn run(
    realm: &Realm<'_>,
    old: &Master<'_>,
    new: &Secret,
    progress: impl FnMut(usize, usize),
) -> Result<Stand> {
    envelope::check_passphrase(new)?;
    if new.expose() == old.secret().expose() {
        return Err(Error::Refused {
            sentence: "this is the present master passphrase already; nothing was changed"
                .to_owned(),
            hint: "lf keys rotate --all gives every key a fresh salt and IV".to_owned(),
        });
    }
    let dir = Dir::create(realm.store.path())?;
    let waiting = claim(&dir)?;
    if staging::is_ready(&waiting)? {
        return Err(Error::RekeyPending); // somebody was faster
    }
    let make = |dir: &Dir| dir.create_child(staging::NAME).map(Some);
    let shelves = Shelf::all(realm, dir, waiting, make)?;
    let (locks, keys) = stage_all(realm, &shelves, old, new, progress).inspect_err(|_| {
        // Best effort: what stays behind is undone by the next command.
        let _ = clear(realm, &shelves, old.origin());
    })?;
    match old.origin() {
        Origin::Keychain => {
            replace(realm, old.secret(), new)?;
            switch(&shelves, &locks, &staged(&shelves)?)?;
            clear(realm, &shelves, old.origin())?;
            Ok(Stand::Done(keys))
        }
        origin if staged(&shelves)?.iter().all(Vec::is_empty) => {
            clear(realm, &shelves, origin)?;
            Ok(Stand::Done(keys))
        }
        origin => Ok(Stand::Waiting(keys, origin.clone())),
    }
}

/// Drops a change that was begun, if the passphrase of now opens everything without it. `false` if
/// there is none.
///
/// # Errors
/// [`Error::Refused`] if it does not, or the change is at work; what the system says.
pub fn undo(realm: &Realm<'_>, master: &Master<'_>) -> Result<bool> {
    let Some((dir, waiting)) = begun(realm)? else {
        return Ok(false);
    };
    let waiting = waiting.try_lock()?.ok_or_else(at_work)?;
    let shelves = Shelf::all(realm, dir, waiting, staging::of)?;
    let _locks = lock(&shelves)?;
    let refused = |sentence: String, hint: &str| {
        Err(Error::Refused {
            sentence,
            hint: hint.to_owned(),
        })
    };
    // Of the gateway's, those that wait tell which matter: the others may be dead already.
    let mut files = Vec::new();
    for (at, shelf) in shelves.iter().enumerate() {
        let of_it = if at == 0 {
            shelf.present()?
        } else {
            shelf.staged()?
        };
        files.extend(of_it.into_iter().map(|file| (at, file)));
    }
    let opens = |(at, (file, id)): &(usize, (String, KeyId))| {
        let bytes = shelves[*at].dir.read(file, envelope::MAX_FILE)?;
        let envelope = Envelope::parse(&bytes.unwrap_or_default(), id)?;
        envelope.open(master.secret()).map(drop)
    };
    if pool::each(&files, opens, |_| {}).iter().any(Result::is_err) {
        let sentence = format!(
            "the passphrase from {} does not open everything without the change, so it was not undone",
            master.origin()
        );
        return refused(
            sentence,
            "lf keys doctor; with the new passphrase: lf keys rekey --finish",
        );
    }
    if *master.origin() != Origin::Keychain
        && let Ok(Some(kept)) = passphrase::from_keychain(realm.keychain)
        && sample(&shelves[0].waiting)?.is_some_and(|envelope| envelope.open(&kept).is_ok())
    {
        let sentence = "the keychain has the new passphrase already, so the change was not undone";
        return refused(
            sentence.to_owned(),
            "lf keys rekey --finish, without the passphrase in the environment",
        );
    }
    clear(realm, &shelves, master.origin()).map(|()| true)
}

/// Steps 1 to 3. Keys are re-encrypted beside whoever works with them; what was changed meanwhile is
/// done again under the locks, which are handed on.
fn stage_all(
    realm: &Realm<'_>,
    shelves: &[Shelf],
    old: &Master<'_>,
    new: &Secret,
    mut progress: impl FnMut(usize, usize),
) -> Result<(Vec<Locked>, Vec<KeyId>)> {
    // What a killed change has left behind must not be taken for ours.
    shelves[0].empty()?;
    if *old.origin() == Origin::Keychain {
        passphrase::keep_next(realm.keychain, new)?;
    }
    let mut before = Vec::new();
    for (at, shelf) in shelves.iter().enumerate() {
        before.extend(
            shelf
                .present()?
                .into_iter()
                .map(|(file, id)| (at, file, id)),
        );
    }
    // One that is damaged is named before the others are re-encrypted for nothing.
    for (_, file, id) in before.iter().filter(|(at, _, _)| *at == 0) {
        let bytes = shelves[0].dir.read(file, envelope::MAX_FILE)?;
        bytes.map(|bytes| Envelope::parse(&bytes, id)).transpose()?;
    }
    let total = before.len();
    let stage = |(at, file, id): &(usize, String, KeyId)| {
        let source = shelves[*at].stage(file, id, old, new)?;
        Ok(((*at, file.clone()), source))
    };
    let done = pool::each(&before, stage, |done| progress(done, total));
    let done = done.into_iter().collect::<Result<HashMap<_, _>>>()?;

    let locks = lock(shelves)?;
    if old.replaced()?.is_some() {
        return Err(Error::Refused {
            sentence: "the master passphrase in the keychain was replaced by somebody else meanwhile; nothing was changed here".to_owned(),
            hint: "lf keys doctor, and then the same command again".to_owned(),
        });
    }
    for (at, shelf) in shelves.iter().enumerate() {
        for (file, id) in shelf.present()? {
            let now = shelf.dir.read(&file, envelope::MAX_FILE)?;
            if done.get(&(at, file.clone())) != Some(&now) {
                shelf.stage(&file, &id, old, new)?;
            }
        }
        for (file, _) in shelf.staged()? {
            if shelf.dir.look(&file)?.is_none() {
                shelf.waiting.remove(&file)?;
            }
        }
    }
    // The keys' is the one that counts; the gateway's keeps it from sealing meanwhile.
    for shelf in shelves.iter().rev() {
        staging::declare(&shelf.waiting)?;
    }
    let keys = shelves[0].present()?.into_iter().map(|(_, id)| id);
    Ok((locks, keys.collect()))
}

/// Step 4. The old one is kept beside it until the next change: another directory may be under it.
fn replace(realm: &Realm<'_>, old: &Secret, new: &Secret) -> Result<()> {
    passphrase::keep_previous(realm.keychain, old)
        .and_then(|()| passphrase::keep(realm.keychain, new))
        .map_err(|error| match error {
            Error::KeychainUnavailable(reason) => Error::KeychainUnavailable(format!(
                "{reason}; every key is there under the old and under the new master passphrase, and the next command that reaches the keychain finishes the change"
            )),
            error => error,
        })
}
