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

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::crew;
use crate::envelope::{self, Envelope};
use crate::error::{Error, Result};
use crate::fs::{Dir, Lock, Publish};
use crate::key::KeyId;
use crate::keychain::Keychain;
use crate::pairing;
use crate::passphrase::{self, Master, Origin, Sources};
use crate::secret::Secret;
use crate::staging;
use crate::store::Store;
use crate::time::Deadline;

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
    let (waiting, own) = claim(&dir)?;
    if staging::is_ready(&waiting)? {
        return Err(Error::RekeyPending); // somebody was faster
    }
    let make = |dir: &Dir| dir.create_child(staging::NAME).map(Some);
    let shelves = Shelf::all(realm, dir, waiting, own, make)?;
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
    let own = waiting.try_lock()?.ok_or_else(at_work)?;
    let shelves = Shelf::all(realm, dir, waiting, own, staging::of)?;
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
    if crew::each(&files, opens, |_| {}).iter().any(Result::is_err) {
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

/// Did somebody else finish it while we waited for the lock?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Yes,
    No,
}

fn settle(
    realm: &Realm<'_>,
    master: &Master<'_>,
    wanted: For,
    mut progress: impl FnMut(usize, usize),
) -> (Result<Settled>, Waited) {
    let mut waited = Waited::No;
    loop {
        match try_to_settle(realm, master, wanted, &mut progress) {
            Ok(Some(settled)) => return (Ok(settled), waited),
            Ok(None) => waited = Waited::Yes,
            Err(error) => return (Err(error), waited),
        }
    }
}

/// `None` if somebody else has had the lock, so that things stand otherwise now.
fn try_to_settle(
    realm: &Realm<'_>,
    master: &Master<'_>,
    wanted: For,
    progress: &mut impl FnMut(usize, usize),
) -> Result<Option<Settled>> {
    let Some((dir, waiting)) = begun(realm)? else {
        return Ok(Some(Settled::Nothing));
    };
    let is_ready = staging::is_ready(&waiting)?;
    // Without the lock, which readers would only take from each other.
    if is_ready
        && *master.origin() != Origin::Keychain
        && sample(&waiting)?.is_some_and(|envelope| envelope.open(master.secret()).is_err())
    {
        return Ok(Some(Settled::Waiting));
    }
    let Some(own) = waiting.try_lock()? else {
        if !is_ready || wanted == For::Reading {
            return Ok(Some(Settled::Nothing)); // at work, and in nobody's way
        }
        drop(waiting.lock()?);
        return Ok(None);
    };
    if begun(realm)?.is_none() || staging::is_ready(&waiting)? != is_ready {
        return Ok(None);
    }
    let shelves = Shelf::all(realm, dir, waiting, own, staging::of)?;
    if is_ready {
        return finish(realm, &shelves, master, progress).map(Some);
    }
    let had_any = staged(&shelves)?.iter().any(|files| !files.is_empty());
    clear(realm, &shelves, master.origin())?;
    // Killed in its first or last step, it has changed nothing, or everything.
    let settled = if had_any {
        Settled::Undone
    } else {
        Settled::Nothing
    };
    Ok(Some(settled))
}

/// Goes forward from step 3, with whichever passphrase opens what waits.
fn finish(
    realm: &Realm<'_>,
    shelves: &[Shelf],
    master: &Master<'_>,
    progress: &mut impl FnMut(usize, usize),
) -> Result<Settled> {
    let staged = staged(shelves)?;
    let all: Vec<(&Shelf, &String, &KeyId)> = shelves
        .iter()
        .zip(&staged)
        .flat_map(|(shelf, files)| files.iter().map(move |(file, id)| (shelf, file, id)))
        .collect();
    let opens = |(shelf, file, id): &(&Shelf, &String, &KeyId), passphrase: &Secret| {
        let envelope = staging::read(&shelf.waiting, file, id)?;
        Ok(envelope.is_some_and(|envelope| envelope.open(passphrase).is_ok()))
    };
    // One that is whole will do: whoever has the old passphrase should not try them all.
    let fits = |passphrase: &Secret| -> Result<bool> {
        for (shelf, file, id) in &all {
            if let Some(envelope) = staging::read(&shelf.waiting, file, id)? {
                return Ok(envelope.open(passphrase).is_ok());
            }
        }
        Ok(true)
    };
    let kept = match master.origin() {
        Origin::Keychain if all.is_empty() || !fits(master.secret())? => {
            passphrase::next(realm.keychain)?
        }
        Origin::Keychain | Origin::Variable | Origin::File(_) | Origin::Credential(_) => None,
    };
    let next = kept.filter(|kept| kept.expose() != master.secret().expose());
    let passphrase = next.as_ref().unwrap_or(master.secret());
    if !fits(passphrase)? {
        return Ok(Settled::Waiting);
    }
    // Nothing takes the place of an envelope before it has been opened, or made once more.
    let sound = |file: &(&Shelf, &String, &KeyId)| -> Result<bool> {
        let (shelf, name, id) = file;
        Ok(opens(file, passphrase)?
            || shelf.stage(name, id, master, passphrase).is_ok() && opens(file, passphrase)?)
    };
    let sound = crew::each(&all, sound, |done| progress(done, all.len()));
    let sound = sound.into_iter().collect::<Result<Vec<bool>>>()?;
    let damaged = all.iter().zip(sound).filter(|(_, sound)| !sound);
    let damaged: Vec<PathBuf> = damaged
        .map(|((shelf, file, _), _)| shelf.waiting.path().join(file))
        .collect();
    if !damaged.is_empty() {
        return Ok(Settled::Damaged(damaged));
    }
    let locks = lock(shelves)?;
    if let Some(next) = &next {
        replace(realm, master.secret(), next)?;
    }
    switch(shelves, &locks, &staged)?;
    clear(realm, shelves, master.origin())?;
    Ok(Settled::Finished)
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

/// Steps 1 to 3. Keys are re-encrypted beside whoever works with them; what was changed meanwhile is
/// done again under the locks, which are handed on.
fn stage_all(
    realm: &Realm<'_>,
    shelves: &[Shelf],
    old: &Master<'_>,
    new: &Secret,
    mut progress: impl FnMut(usize, usize),
) -> Result<(Vec<Lock>, Vec<KeyId>)> {
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
    let done = crew::each(&before, stage, |done| progress(done, total));
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
                shelf.waiting.remove(&shelf.own, &file)?;
            }
        }
    }
    // The keys' is the one that counts; the gateway's keeps it from sealing meanwhile.
    for shelf in shelves.iter().rev() {
        staging::declare(&shelf.waiting, &shelf.own)?;
    }
    let keys = shelves[0].present()?.into_iter().map(|(_, id)| id);
    Ok((locks, keys.collect()))
}

/// Step 5, for these files.
fn switch(shelves: &[Shelf], locks: &[Lock], moving: &[Files]) -> Result<()> {
    for ((shelf, lock), files) in shelves.iter().zip(locks).zip(moving) {
        for (file, _) in files {
            // What was removed since does not come back.
            if shelf.dir.look(file)?.is_some() {
                shelf.dir.take(lock, &shelf.waiting, file)?;
            } else {
                shelf.waiting.remove(&shelf.own, file)?;
            }
        }
        shelf.dir.sync()?;
        shelf.waiting.sync()?;
    }
    Ok(())
}

/// Step 6, and the way back from before step 3. `ready` goes before anything that it vouches for, and
/// the keys' `.rekey` last, so that no rest is ever overlooked.
fn clear(realm: &Realm<'_>, shelves: &[Shelf], origin: &Origin) -> Result<()> {
    staging::retract(&shelves[0].waiting, &shelves[0].own)?;
    if *origin == Origin::Keychain {
        // A rest of it harms nobody, and the next change replaces it.
        let _ = passphrase::forget_next(realm.keychain);
    }
    for shelf in shelves.iter().rev() {
        shelf.empty()?;
        // What is not ours in it keeps it there, and does no harm.
        shelf.dir.remove_child(staging::NAME)?;
    }
    Ok(())
}

/// A `.rekey` of our own.
fn claim(dir: &Dir) -> Result<(Dir, Lock)> {
    let deadline = Deadline::after(PATIENCE);
    while deadline.left().is_some() {
        let waiting = dir.create_child(staging::NAME)?;
        match waiting.try_lock()? {
            Some(own) => {
                let stamp =
                    |dir: &Dir, name| dir.look(name).map(|look| look.map(|look| look.stamp));
                // Whoever settles may have cleared it away between the two.
                if stamp(dir, staging::NAME)? == stamp(&waiting, ".")? {
                    return Ok((waiting, own));
                }
            }
            // Somebody has just begun, or is about to clear away what is empty.
            None if waiting.names()?.is_empty() => thread::sleep(PAUSE),
            None => break,
        }
    }
    Err(at_work())
}

fn begun(realm: &Realm<'_>) -> Result<Option<(Dir, Dir)>> {
    let Some(dir) = realm.store.dir()? else {
        return Ok(None);
    };
    Ok(staging::of(&dir)?.map(|waiting| (dir, waiting)))
}

/// One of the keys that wait, if one is whole.
fn sample(waiting: &Dir) -> Result<Option<Envelope>> {
    for name in waiting.names()? {
        if let Some(id) = KeyId::from_file_name(&name)
            && let Some(envelope) = staging::read(waiting, &name, &id)?
        {
            return Ok(Some(envelope));
        }
    }
    Ok(None)
}

fn lock(shelves: &[Shelf]) -> Result<Vec<Lock>> {
    shelves.iter().map(|shelf| shelf.dir.lock()).collect()
}

fn staged(shelves: &[Shelf]) -> Result<Vec<Files>> {
    shelves.iter().map(Shelf::staged).collect()
}

fn at_work() -> Error {
    Error::Refused {
        sentence: "another change of the master passphrase is at work".to_owned(),
        hint: "wait for it to end; lf keys doctor tells how it went".to_owned(),
    }
}

type Files = Vec<(String, KeyId)>;

/// A directory of envelopes, with that of those that wait for a place in it.
struct Shelf {
    /// Which files there are envelopes, and which.
    id_of: fn(&str) -> Option<KeyId>,
    dir: Dir,
    waiting: Dir,
    /// The lock on `waiting`.
    own: Lock,
    /// What becomes of an envelope that does not open now.
    shut: Shut,
}

/// May an envelope that does not open be left where it is?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shut {
    /// No: it is a key, and a person has to decide.
    Refused,
    /// Yes: it holds a token that is dead already.
    Left,
}

impl Shelf {
    /// The keys' first, then the gateway's, if there is something in its `waiting_in`.
    fn all(
        realm: &Realm<'_>,
        dir: Dir,
        waiting: Dir,
        own: Lock,
        waiting_in: impl Fn(&Dir) -> Result<Option<Dir>>,
    ) -> Result<Vec<Shelf>> {
        let mut shelves = vec![Shelf {
            id_of: KeyId::from_file_name,
            dir,
            waiting,
            own,
            shut: Shut::Refused,
        }];
        let state = realm.state.map(Dir::open).transpose()?.flatten();
        if let Some(dir) = state
            && let Some(waiting) = waiting_in(&dir)?
        {
            let own = waiting.lock()?;
            shelves.push(Shelf {
                id_of: pairing::sealed_id,
                dir,
                waiting,
                own,
                shut: Shut::Left,
            });
        }
        Ok(shelves)
    }

    fn present(&self) -> Result<Files> {
        self.files_of(&self.dir)
    }

    fn staged(&self) -> Result<Files> {
        self.files_of(&self.waiting)
    }

    fn files_of(&self, dir: &Dir) -> Result<Files> {
        let names = dir.names()?.into_iter();
        Ok(names
            .filter_map(|name| (self.id_of)(&name).map(|id| (name, id)))
            .collect())
    }

    /// Re-encrypts one, and opens what has arrived on the disk. Returns the bytes that it began with;
    /// `None` if there is nothing to re-encrypt.
    fn stage(
        &self,
        file: &str,
        id: &KeyId,
        old: &Master<'_>,
        new: &Secret,
    ) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.dir.read(file, envelope::MAX_FILE)? else {
            return Ok(None);
        };
        // A token may still be in an envelope that another change has left waiting.
        let open = |passphrase: &Secret| staging::open(&self.dir, file, id, passphrase);
        let opened =
            Envelope::parse(&bytes, id).and_then(|envelope| Ok((old.open(open)?, envelope.meta)));
        let (value, meta) = match opened {
            Ok((Some(value), meta)) => (value, meta),
            Ok((None, _)) => return Ok(None),
            Err(_) if self.shut == Shut::Left => return Ok(Some(bytes)),
            Err(error) => return Err(error),
        };
        let next = envelope::seal(new, &value, meta)?;
        self.waiting.publish(
            &self.own,
            file,
            next.print().as_bytes(),
            Publish::Replacement,
        )?;
        let arrived = self.waiting.read(file, envelope::MAX_FILE)?;
        let arrived = Envelope::parse(&arrived.unwrap_or_default(), id)?.open(new)?;
        if arrived.expose() == value.expose() {
            Ok(Some(bytes))
        } else {
            Err(Error::DecryptionFailed(id.to_string()))
        }
    }

    /// Removes what a change puts there; what else there is, is somebody else's.
    fn empty(&self) -> Result<()> {
        for name in self.waiting.names()? {
            if self.waiting.look(&name)?.is_some_and(|look| look.is_file) {
                self.waiting.remove(&self.own, &name)?;
            }
        }
        Ok(())
    }
}

/// How long to wait for somebody who is about to begin, or to leave.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(3);
