//! A new master passphrase for all that is sealed under the old one: keys, and the gateway's tokens.
//!
//! |   | step                                                          | opens everything    |
//! |---|---------------------------------------------------------------|---------------------|
//! | 1 | the new passphrase into the keychain, as `master.next`        | the old one         |
//! | 2 | every envelope, re-encrypted, into `.rekey`; read back, opened | the old one         |
//! | 3 | `.rekey/ready`                                                | either              |
//! | 4 | the new passphrase into the keychain, as `master`             | either              |
//! | 5 | every envelope over its predecessor                           | the new one         |
//! | 6 | `master.next`, `ready` and `.rekey` go                        | the new one         |
//!
//! Killed before step 3, the change is undone by the next command that needs the passphrase; after
//! it, finished. A passphrase in the environment is not ours to set: there the change waits after
//! step 3 until somebody comes with the new one. (tests/torture.rs kills it at every system call.)

use std::collections::HashMap;
use std::path::Path;

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

/// What became of a change that was begun before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// There was none, or one that is at work right now.
    Nothing,
    /// It waits for somebody with the new passphrase; the old one is what we have.
    Waiting,
    /// It was finished: so many envelopes are in their place now, and so many stay behind because
    /// they were damaged meanwhile.
    Finished {
        /// In their place.
        moved: usize,
        /// Left in `.rekey`.
        damaged: usize,
    },
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

/// The master passphrase, once a change that was cut short has been finished or undone.
///
/// # Errors
/// As [`passphrase::find`], and as [`Dir::lock`] and [`Dir::take`].
pub fn master<'a>(
    realm: &Realm<'a>,
    progress: impl FnMut(usize, usize),
) -> Result<(Master<'a>, Settled)> {
    let find = || passphrase::find(realm.sources, realm.keychain);
    let master = find()?;
    match settle(realm, &master, progress)? {
        (settled @ (Settled::Nothing | Settled::Waiting), Waited::No) => Ok((master, settled)),
        (settled, _) => Ok((find()?, settled)),
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
    let shelves = Shelf::all(realm, dir, waiting, own)?;
    let (locks, keys) = stage_all(realm, &shelves, old, new, progress).inspect_err(|_| {
        // Best effort: what stays behind is undone by the next command.
        let _ = clear(realm, &shelves, old.origin());
    })?;
    match old.origin() {
        Origin::Keychain => {
            passphrase::keep(realm.keychain, new).map_err(|error| match error {
                Error::KeychainUnavailable(reason) => Error::KeychainUnavailable(format!(
                    "{reason}; every key is there under the old and under the new master passphrase, and the next command that reaches the keychain finishes the change"
                )),
                error => error,
            })?;
            switch(&shelves, &locks, &staged(&shelves)?)?;
            clear(realm, &shelves, old.origin())?;
            Ok(Stand::Done(keys))
        }
        origin if keys.is_empty() => {
            clear(realm, &shelves, origin)?;
            Ok(Stand::Done(keys))
        }
        origin => Ok(Stand::Waiting(keys, origin.clone())),
    }
}

/// Drops a change that was begun, if the passphrase of now opens every key without it. `false` if
/// there is none.
///
/// # Errors
/// [`Error::Refused`] if it does not, or the change is at work; what the system says.
pub fn undo(realm: &Realm<'_>, master: &Master<'_>) -> Result<bool> {
    let Some((dir, waiting)) = begun(realm)? else {
        return Ok(false);
    };
    let own = waiting.try_lock()?.ok_or_else(at_work)?;
    let shelves = Shelf::all(realm, dir, waiting, own)?;
    let _locks = lock(&shelves)?;
    let present = shelves[0].present()?;
    let opens = |(file, id): &(String, KeyId)| {
        let bytes = shelves[0].dir.read(file, envelope::MAX_FILE)?;
        let envelope = Envelope::parse(&bytes.unwrap_or_default(), id)?;
        envelope.open(master.secret()).map(drop)
    };
    let shut = crew::each(&present, opens, |_| {});
    if shut.iter().any(Result::is_err) {
        return Err(Error::Refused {
            sentence: format!(
                "the passphrase from {} does not open every key without the change, so it was not undone",
                master.origin()
            ),
            hint: "lf keys doctor".to_owned(),
        });
    }
    clear(realm, &shelves, master.origin()).map(|()| true)
}

/// Did somebody else finish it while we waited for the lock?
enum Waited {
    Yes,
    No,
}

fn settle(
    realm: &Realm<'_>,
    master: &Master<'_>,
    progress: impl FnMut(usize, usize),
) -> Result<(Settled, Waited)> {
    let mut waited = Waited::No;
    while let Some((dir, waiting)) = begun(realm)? {
        if waiting.names()?.is_empty() {
            break; // one has just begun, or nothing is left of it: there is nothing to settle
        }
        let Some(own) = waiting.try_lock()? else {
            if !staging::is_ready(&waiting)? {
                break; // at work, and no business of ours yet
            }
            drop(waiting.lock()?);
            waited = Waited::Yes;
            continue;
        };
        if begun(realm)?.is_none() {
            continue; // whoever had the lock has cleared it away
        }
        let is_ready = staging::is_ready(&waiting)?;
        let shelves = Shelf::all(realm, dir, waiting, own)?;
        let settled = if is_ready {
            finish(realm, &shelves, master, progress)?
        } else {
            clear(realm, &shelves, master.origin())?;
            Settled::Undone
        };
        return Ok((settled, waited));
    }
    Ok((Settled::Nothing, waited))
}

/// Goes forward from step 3, with whichever passphrase opens what waits.
fn finish(
    realm: &Realm<'_>,
    shelves: &[Shelf],
    master: &Master<'_>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Settled> {
    let staged = staged(shelves)?;
    let all: Vec<(usize, &(String, KeyId))> = staged
        .iter()
        .enumerate()
        .flat_map(|(shelf, files)| files.iter().map(move |file| (shelf, file)))
        .collect();
    let opens = |(shelf, (file, id)): &(usize, &(String, KeyId)), passphrase: &Secret| {
        let opened = staging::open_waiting(&shelves[*shelf].dir, file, id, passphrase);
        opened.map(|value| value.is_some())
    };
    // Two samples: one may be damaged, and whoever has the old passphrase should not try them all.
    let fits = |passphrase: &Secret| -> Result<bool> {
        match (all.first(), all.last()) {
            (Some(first), Some(last)) => {
                Ok(opens(first, passphrase)? || all.len() > 1 && opens(last, passphrase)?)
            }
            _ => Ok(true),
        }
    };
    let next = if fits(master.secret())? {
        None
    } else {
        let kept = match master.origin() {
            Origin::Keychain => passphrase::next(realm.keychain)?,
            Origin::Variable | Origin::File(_) | Origin::Credential(_) => None,
        };
        match kept {
            Some(kept) if fits(&kept)? => Some(kept),
            Some(_) | None => return Ok(Settled::Waiting),
        }
    };
    // Nothing takes the place of an envelope before it has been opened.
    let good = crew::each(
        &all,
        |file| opens(file, next.as_ref().unwrap_or(master.secret())),
        |done| progress(done, all.len()),
    );
    let good = good.into_iter().collect::<Result<Vec<bool>>>()?;
    let damaged = good.iter().filter(|good| !**good).count();
    let mut moving = vec![Vec::new(); shelves.len()];
    for ((shelf, file), _) in all.iter().zip(&good).filter(|(_, good)| **good) {
        moving[*shelf].push((*file).clone());
    }
    let locks = lock(shelves)?;
    match &next {
        Some(_) if damaged > 0 => return Ok(Settled::Waiting),
        Some(next) => passphrase::keep(realm.keychain, next)?,
        None => {}
    }
    switch(shelves, &locks, &moving)?;
    if damaged == 0 {
        clear(realm, shelves, master.origin())?;
    }
    let moved = all.len() - damaged;
    Ok(Settled::Finished { moved, damaged })
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
    shelves.iter().try_for_each(Shelf::empty)?;
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
    let total = before.len();
    let stage = |(at, file, id): &(usize, String, KeyId)| {
        let source = shelves[*at].stage(file, id, old.secret(), new)?;
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
                shelf.stage(&file, &id, old.secret(), new)?;
            }
        }
        for (file, _) in shelf.staged()? {
            if shelf.dir.look(&file)?.is_none() {
                shelf.waiting.remove(&shelf.own, &file)?;
            }
        }
    }
    staging::declare(&shelves[0].waiting, &shelves[0].own)?;
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
        shelf.dir.remove_child(staging::NAME)?;
    }
    Ok(())
}

/// A `.rekey` of our own.
fn claim(dir: &Dir) -> Result<(Dir, Lock)> {
    loop {
        let waiting = dir.create_child(staging::NAME)?;
        let own = waiting.try_lock()?.ok_or_else(at_work)?;
        let stamp = |dir: &Dir, name| dir.look(name).map(|look| look.map(|look| look.stamp));
        // Somebody may have cleared it away between the two.
        if stamp(dir, staging::NAME)? == stamp(&waiting, ".")? {
            return Ok((waiting, own));
        }
    }
}

fn begun(realm: &Realm<'_>) -> Result<Option<(Dir, Dir)>> {
    let Some(dir) = realm.store.dir()? else {
        return Ok(None);
    };
    Ok(staging::of(&dir)?.map(|waiting| (dir, waiting)))
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
    /// The keys' first, then the gateway's.
    fn all(realm: &Realm<'_>, dir: Dir, waiting: Dir, own: Lock) -> Result<Vec<Shelf>> {
        let mut shelves = vec![Shelf {
            id_of: KeyId::from_file_name,
            dir,
            waiting,
            own,
            shut: Shut::Refused,
        }];
        let state = realm.state.map(Dir::open).transpose()?.flatten();
        if let Some(dir) = state {
            let waiting = dir.create_child(staging::NAME)?;
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
    fn stage(&self, file: &str, id: &KeyId, old: &Secret, new: &Secret) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.dir.read(file, envelope::MAX_FILE)? else {
            return Ok(None);
        };
        let opened = Envelope::parse(&bytes, id)
            .and_then(|envelope| Ok((envelope.open(old)?, envelope.meta)));
        let (value, meta) = match opened {
            Err(_) if self.shut == Shut::Left => return Ok(Some(bytes)),
            opened => opened?,
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

    fn empty(&self) -> Result<()> {
        let mut names = self.waiting.names()?.into_iter();
        names.try_for_each(|name| self.waiting.remove(&self.own, &name).map(drop))
    }
}
