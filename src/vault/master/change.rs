//! A change of one store's master passphrase while it is under way: the steps of [`super::rekey`], which says in
//! what order they are taken.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{record, record::Record, source::Master, source::Origin, staging};
use crate::base::{Deadline, Secret, Timestamp, pool, pool::Progress, rng};
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::{Envelope, KeyId, envelope, files};

/// What became of a change that was begun before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There was none, or a process is at work on it right now.
    Nothing,
    /// It waits for a command with the next passphrase.
    Waiting,
    /// These staged envelopes are damaged, and nobody here knows the old passphrase, so nothing was moved.
    Damaged(Vec<PathBuf>),
    /// It was finished. These staged envelopes were damaged, and are kept aside.
    Finished(Vec<PathBuf>),
    /// It was not complete, and is undone.
    Undone,
}

/// One of the staged envelopes, if one is whole.
pub(super) fn sample(staging: &Dir) -> Result<Option<Envelope>> {
    for id in staging::keys(staging)? {
        if let Some(envelope) = files::read_sound(staging, &id)? {
            return Ok(Some(envelope));
        }
    }
    Ok(None)
}

/// The next passphrase of a change.
pub(super) struct Next {
    passphrase: Secret,
    /// Is it the one that is configured? Then the change has taken effect.
    pub(super) is_master: bool,
    /// Is it still to become that? Not where another store's change has replaced it since.
    is_due: bool,
}

/// A change, which this process alone works on.
pub(super) struct Change {
    /// The keys' directory, not locked.
    pub(super) dir: Dir,
    /// `.rekey` in it.
    pub(super) staging: Locked,
}

impl Change {
    /// A staging directory of this process's own.
    pub(super) fn claim(dir: Dir) -> Result<Change> {
        let deadline = Deadline::after(PATIENCE);
        while deadline.left().is_some() {
            let staging = dir.create_child(staging::NAME)?;
            match staging.try_lock()? {
                Some(staging) => {
                    let stamp =
                        |dir: &Dir, name| dir.stat(name).map(|stat| stat.map(|stat| stat.stamp));
                    // A process that has settled a change may have removed it between the two.
                    if stamp(&dir, staging::NAME)? == stamp(&staging, ".")? {
                        return Ok(Change { dir, staging });
                    }
                }
                // Another process has just begun, or is about to remove what is empty.
                None if staging.names()?.is_empty() => thread::sleep(PAUSE),
                None => break,
            }
        }
        Err(at_work())
    }

    /// The change that was begun in a store; `Some(None)` if another process is at work on it.
    pub(super) fn begun(path: &Path) -> Result<Option<Option<Change>>> {
        let Some((dir, staging)) = staging::at(path)? else { return Ok(None) };
        let staging = staging.try_lock()?;
        Ok(Some(staging.map(|staging| Change { dir, staging })))
    }

    /// Steps 1 to 4. Keys are re-encrypted while others work with them; what they have changed is done
    /// again under the store's lock, which is handed on with the keys.
    pub(super) fn stage_all(
        &self,
        old: &Master,
        new: &Secret,
        tell: &Progress,
    ) -> Result<(Locked, Vec<KeyId>)> {
        if old.origin == Origin::Keychain {
            let id = rng::token::<12>()?;
            self.staging.publish(staging::ID, id.as_bytes(), Publish::Replacement)?;
            record::keep(&old.keychain, &record::next_account(Some(&id)), new)?;
        }
        let before = files::ids(&self.dir)?;
        // One that is damaged is named before the others are re-encrypted for nothing.
        for id in &before {
            files::read(&self.dir, id)?;
        }
        let stage = |id: &KeyId| Ok((id.clone(), self.stage(id, old, new)?));
        let staged = pool::each(&before, stage, tell);
        let staged = staged.into_iter().collect::<Result<HashMap<_, _>>>()?;

        let keys = self.dir.lock()?;
        let ids = files::ids(&keys)?;
        for id in &ids {
            let now = keys.read(&id.file_name(), envelope::MAX_FILE)?;
            if staged.get(id) != Some(&now) {
                self.stage(id, old, new)?;
            }
        }
        for id in staging::keys(&self.staging)? {
            if !ids.contains(&id) {
                self.staging.remove(&id.file_name())?;
            }
        }
        staging::declare(&self.staging, &ids)?;
        Ok((keys, ids))
    }

    /// Re-encrypts one key, and opens what has arrived on the disk. Gives back the bytes that it began
    /// with; `None` if the file has gone.
    fn stage(&self, id: &KeyId, old: &Master, new: &Secret) -> Result<Option<Vec<u8>>> {
        let Some(present) = files::read(&self.dir, id)? else { return Ok(None) };
        let value = old.open(|passphrase| present.envelope.open(passphrase))?;
        let next = envelope::seal(new, &value, present.envelope.meta)?.print();
        let file = id.file_name();
        self.staging.publish(&file, next.as_bytes(), Publish::Replacement)?;
        let arrived = self.staging.read(&file, envelope::MAX_FILE)?;
        let arrived = Envelope::parse(&arrived.unwrap_or_default(), id)?.open(new)?;
        if arrived.same(&value) {
            Ok(Some(present.bytes))
        } else {
            Err(Error::DecryptionFailed(id.to_string()))
        }
    }

    /// The passphrase of the staged envelopes, if it is at hand. A passphrase from the environment has
    /// nothing to do with a change of the keychain's, which waits until the keychain is asked again.
    pub(super) fn next(&self, master: &Master) -> Result<Option<Next>> {
        let (id, staged) = (staging::id(&self.staging)?, staging::keys(&self.staging)?);
        let sample = sample(&self.staging)?;
        let fits = |passphrase: &Secret| match &sample {
            Some(sample) => sample.open(passphrase).is_ok(),
            None => staged.is_empty(),
        };
        let next = |passphrase: &Secret, is_master, is_due| Next {
            passphrase: copy(passphrase),
            is_master,
            is_due,
        };
        if master.origin != Origin::Keychain {
            let is_fit = id.is_none() && fits(&master.secret);
            return Ok(is_fit.then(|| next(&master.secret, true, false)));
        }
        let keychain = &master.keychain;
        let is_present = |passphrase: &Secret| -> Result<bool> {
            Ok(record::present(keychain)?.is_some_and(|present| present.same(passphrase)))
        };
        // The first version's account belonged to no store: only an envelope tells whose it is.
        let waiting = record::next(keychain, id.as_deref())?;
        let waiting = waiting.filter(|next| id.is_some() || (sample.is_some() && fits(next)));
        if let Some(waiting) = waiting {
            let is_master = is_present(&waiting)?;
            // A damaged record is no reason to do nothing: replacing the passphrase refuses it.
            let earlier = record::earlier(keychain).unwrap_or_default();
            let is_earlier = earlier.iter().any(|known| known.passphrase.same(&waiting));
            let declared = staging::declared(&self.staging)?;
            let is_staged = |file: &String| staged.iter().any(|id| id.file_name() == *file);
            let is_whole = declared.iter().all(is_staged);
            let is_due = !is_master && (is_whole || !is_earlier);
            return Ok(Some(next(&waiting, is_master, is_due)));
        }
        let record = Record::read(keychain)?;
        let known = record.all().find(|known| fits(known));
        known.map(|known| Ok(next(known, is_present(known)?, false))).transpose()
    }

    /// Goes forward from step 5.
    pub(super) fn finish(&self, master: &Master, next: &Next, tell: &Progress) -> Result<Settled> {
        let staged = staging::keys(&self.staging)?;
        let opens = |id: &KeyId| -> Result<bool> {
            let envelope = files::read_sound(&self.staging, id)?;
            Ok(envelope.is_some_and(|envelope| envelope.open(&next.passphrase).is_ok()))
        };
        // Nothing takes the place of an envelope before it has been opened, or made once more.
        let is_sound = |id: &KeyId| -> Result<bool> {
            Ok(opens(id)? || self.stage(id, master, &next.passphrase).is_ok() && opens(id)?)
        };
        let sound = pool::each(&staged, is_sound, tell);
        let sound = sound.into_iter().collect::<Result<Vec<bool>>>()?;
        if master.origin != Origin::Keychain {
            let damaged = staged.iter().zip(&sound).filter(|(_, is_sound)| !**is_sound);
            let mut damaged: Vec<KeyId> = damaged.map(|(id, _)| id.clone()).collect();
            damaged.extend(self.lost(&staged, &next.passphrase)?);
            if !damaged.is_empty() {
                let place = |id: &KeyId| self.staging.path().join(id.file_name());
                return Ok(Settled::Damaged(damaged.iter().map(place).collect()));
            }
        }
        let keys = self.dir.lock()?;
        if next.is_due {
            self.commit(master, &next.passphrase)?;
        }
        let (mut ids, mut damaged) = (Vec::new(), Vec::new());
        for (id, is_sound) in staged.into_iter().zip(sound) {
            match self.staging.read(&id.file_name(), envelope::MAX_FILE)? {
                _ if is_sound => ids.push(id),
                Some(bytes) => {
                    damaged.push(files::keep_aside(&keys, &id, &bytes)?);
                    self.staging.remove(&id.file_name())?;
                }
                None => {} // its key was removed
            }
        }
        self.switch(keys, &ids)?;
        self.clear(master)?;
        Ok(Settled::Finished(damaged))
    }

    /// The keys that were declared and are not staged any more, though nothing has taken their place.
    fn lost(&self, staged: &[KeyId], next: &Secret) -> Result<Vec<KeyId>> {
        let mut lost = Vec::new();
        for file in staging::declared(&self.staging)? {
            if let Some(id) = KeyId::from_file_name(&file).filter(|id| !staged.contains(id))
                && self.dir.stat(&file)?.is_some()
                && files::read_sound(&self.dir, &id)?.is_none_or(|one| one.open(next).is_err())
            {
                lost.push(id);
            }
        }
        Ok(lost)
    }

    /// Step 5.
    pub(super) fn commit(&self, master: &Master, next: &Secret) -> Result<()> {
        let replaced = record::replace(&master.keychain, next, Timestamp::now(), |_| Ok(()));
        const BOTH: &str = "every key exists under the old and the new master passphrase, and the next command that can change the keychain finishes the change";
        replaced.map_err(|error| error.with(BOTH))
    }

    /// Step 6, for these keys. The lock on the keys ends here, before the keychain may ask whether to
    /// delete what step 7 drops; so does `ready`, for which others would have to wait. (tests/keychains.rs:
    /// `the_store_is_free_while_keepassxc_asks_whether_to_delete`)
    pub(super) fn switch(&self, keys: Locked, ids: &[KeyId]) -> Result<()> {
        for file in ids.iter().map(KeyId::file_name) {
            // What was removed since does not come back.
            if keys.stat(&file)?.is_some() {
                keys.move_here(&self.staging, &file, &file)?;
            } else {
                self.staging.remove(&file)?;
            }
        }
        keys.sync()?;
        self.staging.sync()?;
        staging::retract(&self.staging).map(|()| drop(keys))
    }

    /// Step 7, and the way back from before step 5. `ready` goes before anything that it vouches for,
    /// and the name of the change after the passphrase that is kept under it.
    pub(super) fn clear(&self, master: &Master) -> Result<()> {
        let id = staging::id(&self.staging)?;
        let is_former = id.is_none() && master.origin == Origin::Keychain;
        let former = if is_former { sample(&self.staging)? } else { None };
        staging::retract(&self.staging)?;
        let is_file = |name: &str| -> Result<bool> {
            Ok(self.staging.stat(name)?.is_some_and(|stat| stat.is_file))
        };
        for name in self.staging.names()? {
            let is_ours = staging::is_own(&name) || KeyId::from_file_name(&name).is_some();
            if is_ours && name != staging::ID && is_file(&name)? {
                self.staging.remove(&name)?;
            }
        }
        // Where the environment rules, the keychain is not asked; its entry opens nothing any more.
        if master.origin == Origin::Keychain {
            let keychain = &master.keychain;
            match &id {
                Some(id) if record::drop_next(keychain, Some(id)).is_err() => {
                    return Ok(()); // the next command tries again, by the name that stays
                }
                Some(_) => {}
                // The first version's account may be another store's, unless it fits what is here.
                None => {
                    if let Ok(Some(next)) = record::next(keychain, None)
                        && (former.is_some_and(|envelope| envelope.open(&next).is_ok())
                            || record::present(keychain)?.is_some_and(|it| it.same(&next)))
                    {
                        record::drop_next(keychain, None)?;
                    }
                }
            }
        }
        if is_file(staging::ID)? {
            self.staging.remove(staging::ID)?;
        }
        // What is not ours in it keeps it there, and does no harm.
        self.dir.remove_child(staging::NAME)
    }
}

fn copy(secret: &Secret) -> Secret {
    Secret::new(secret.expose().to_owned())
}

pub(super) fn at_work() -> Error {
    let sentence = "another change of the master passphrase is running";
    Error::refused(sentence, "wait until it has ended; lf keys doctor tells the result")
}

pub(crate) const FINISH: &str = "lf keys rekey --finish";
/// How long to wait for another process that is about to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(3);
