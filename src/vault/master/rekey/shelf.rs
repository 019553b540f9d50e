//! The directories that have envelopes, and what is done in them to change the passphrase.

use std::thread;
use std::time::Duration;

use super::Realm;
use crate::base::secret::Secret;
use crate::base::time::Deadline;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;
use crate::vault::master::passphrase::{self, Master, Origin};
use crate::vault::master::staging;

pub(super) type Files = Vec<(String, KeyId)>;

/// A directory of envelopes, with that of those that wait for a place in it.
pub(super) struct Shelf {
    /// Which files there are envelopes, and which.
    id_of: fn(&str) -> Option<KeyId>,
    pub(super) dir: Dir,
    pub(super) waiting: Locked,
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
    pub(super) fn all(
        realm: &Realm<'_>,
        dir: Dir,
        waiting: Locked,
        waiting_in: impl Fn(&Dir) -> Result<Option<Dir>>,
    ) -> Result<Vec<Shelf>> {
        let mut shelves = vec![Shelf {
            id_of: KeyId::from_file_name,
            dir,
            waiting,
            shut: Shut::Refused,
        }];
        let state = realm.state.map(Dir::open).transpose()?.flatten();
        if let Some(dir) = state
            && let Some(waiting) = waiting_in(&dir)?
        {
            let waiting = waiting.lock()?;
            shelves.push(Shelf {
                id_of: sealed_id,
                dir,
                waiting,
                shut: Shut::Left,
            });
        }
        Ok(shelves)
    }

    pub(super) fn present(&self) -> Result<Files> {
        self.files_of(&self.dir)
    }

    pub(super) fn staged(&self) -> Result<Files> {
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
    pub(super) fn stage(
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
        self.waiting
            .publish(file, next.print().as_bytes(), Publish::Replacement)?;
        let arrived = self.waiting.read(file, envelope::MAX_FILE)?;
        let arrived = Envelope::parse(&arrived.unwrap_or_default(), id)?.open(new)?;
        if arrived.expose() == value.expose() {
            Ok(Some(bytes))
        } else {
            Err(Error::DecryptionFailed(id.to_string()))
        }
    }

    /// Removes what a change puts there; what else there is, is somebody else's.
    pub(super) fn empty(&self) -> Result<()> {
        for name in self.waiting.names()? {
            if self.waiting.look(&name)?.is_some_and(|look| look.is_file) {
                self.waiting.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// Step 5, for these files.
pub(super) fn switch(shelves: &[Shelf], locks: &[Locked], moving: &[Files]) -> Result<()> {
    for ((shelf, lock), files) in shelves.iter().zip(locks).zip(moving) {
        for (file, _) in files {
            // What was removed since does not come back.
            if shelf.dir.look(file)?.is_some() {
                lock.take(&shelf.waiting, file)?;
            } else {
                shelf.waiting.remove(file)?;
            }
        }
        shelf.dir.sync()?;
        shelf.waiting.sync()?;
    }
    Ok(())
}

/// Step 6, and the way back from before step 3. `ready` goes before anything that it vouches for, and
/// the keys' `.rekey` last, so that no rest is ever overlooked.
pub(super) fn clear(realm: &Realm<'_>, shelves: &[Shelf], origin: &Origin) -> Result<()> {
    staging::retract(&shelves[0].waiting)?;
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
pub(super) fn claim(dir: &Dir) -> Result<Locked> {
    let deadline = Deadline::after(PATIENCE);
    while deadline.left().is_some() {
        let waiting = dir.create_child(staging::NAME)?;
        match waiting.try_lock()? {
            Some(waiting) => {
                let stamp =
                    |dir: &Dir, name| dir.look(name).map(|look| look.map(|look| look.stamp));
                // Whoever settles may have cleared it away between the two.
                if stamp(dir, staging::NAME)? == stamp(&waiting, ".")? {
                    return Ok(waiting);
                }
            }
            // Somebody has just begun, or is about to clear away what is empty.
            None if waiting.names()?.is_empty() => thread::sleep(PAUSE),
            None => break,
        }
    }
    Err(at_work())
}

pub(super) fn begun(realm: &Realm<'_>) -> Result<Option<(Dir, Dir)>> {
    let Some(dir) = realm.store.dir()? else {
        return Ok(None);
    };
    Ok(staging::of(&dir)?.map(|waiting| (dir, waiting)))
}

/// One of the keys that wait, if one is whole.
pub(super) fn sample(waiting: &Dir) -> Result<Option<Envelope>> {
    for name in waiting.names()? {
        if let Some(id) = KeyId::from_file_name(&name)
            && let Some(envelope) = staging::read(waiting, &name, &id)?
        {
            return Ok(Some(envelope));
        }
    }
    Ok(None)
}

pub(super) fn lock(shelves: &[Shelf]) -> Result<Vec<Locked>> {
    shelves.iter().map(|shelf| shelf.dir.lock()).collect()
}

pub(super) fn staged(shelves: &[Shelf]) -> Result<Vec<Files>> {
    shelves.iter().map(Shelf::staged).collect()
}

pub(super) fn at_work() -> Error {
    Error::Refused {
        sentence: "another change of the master passphrase is at work".to_owned(),
        hint: "wait for it to end; lf keys doctor tells how it went".to_owned(),
    }
}

/// How long to wait for somebody who is about to begin, or to leave.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(3);

/// The id of the envelope in this file of the gateway's directory, if it is one with a token.
#[must_use]
pub fn sealed_id(name: &str) -> Option<KeyId> {
    KeyId::from_file_name(name.strip_prefix(SEALED_PREFIX)?)
}

/// What a sealed token's file name begins with.
pub const SEALED_PREFIX: &str = "bearer-";
