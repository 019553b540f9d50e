//! A change of the master passphrase: every key of one store, re-encrypted under the next one.
//!
//! The protocol, for a passphrase in the keychain:
//!
//! |   | step                                                                | opens every key     |
//! |---|---------------------------------------------------------------------|---------------------|
//! | 1 | `.rekey/` is made and locked; `.rekey/id` names the change          | the old one         |
//! | 2 | the next passphrase goes into the keychain, as `rekey.<id>`         | the old one         |
//! | 3 | every key is re-encrypted into `.rekey/`, read back and opened      | the old one         |
//! | 4 | with the store locked, what was changed since is done again; `.rekey/ready` | either      |
//! | 5 | [`record::replace`]: the old one is put on record, the next one becomes `master` | either |
//! | 6 | every staged envelope is moved over the present one                 | the next one        |
//! | 7 | `ready`, the keychain's `rekey.<id>`, `id` and `.rekey/` go         | the next one        |
//!
//! A change that was cut short is settled by the next command that needs the passphrase. What it does
//! is decided by [`next_step`]: before step 4 the change is undone, after it it is finished.
//!
//! Several stores may share the keychain, and their changes may run in any order. They never write the
//! same account but `master` and the record, in step 5, under the user's lock. Whatever `master` is by
//! then goes on record, so the passphrase that any other store is under stays known.
//!
//! A passphrase in the environment is not ours to set. There steps 2 and 5 are the person's, and the
//! change waits after step 4 until a command finds the next passphrase configured.
//!
//! Proof: the model in rekey/tests.rs walks every interleaving of two stores' changes, their crashes and
//! their recovery; tests/pairs.rs and tests/torture.rs do so with real processes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::record::{self, Record};
use super::source::{self, Master, Origin};
use super::staging;
use crate::base::pool;
use crate::base::rng;
use crate::base::secret::Secret;
use crate::base::time::{Deadline, Timestamp};
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::environment::Sources;
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::envelope::{self, Envelope};
use crate::vault::files;
use crate::vault::key::KeyId;

/// A store by its directory, and where its master passphrase comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vault<'a> {
    /// The directory of the keys.
    pub(crate) keys: &'a Path,
    pub(crate) sources: &'a Sources,
    pub(crate) keychain: &'a Keychain,
}

/// What the passphrase is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Opening, which works in every state of a change, so nobody is waited for.
    Reading,
    /// Sealing: a change that is about to end is waited for.
    Sealing,
}

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

/// What [`run`] has reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The next passphrase is configured, and seals every key.
    Done(Vec<KeyId>),
    /// Every key is staged; the next passphrase is the person's to configure, where the old one is.
    Waiting(Vec<KeyId>),
}

/// What to do about a change that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Undo,
    Finish,
    Wait,
}

/// The decision, from what is known: is everything staged, and is the next passphrase at hand?
pub(crate) fn next_step(is_ready: bool, has_next: bool) -> Step {
    match (is_ready, has_next) {
        (false, _) => Step::Undo,
        (true, true) => Step::Finish,
        (true, false) => Step::Wait,
    }
}

/// The master passphrase, and what became of a change of it that was cut short. That a change cannot
/// be settled keeps nobody from reading.
pub(crate) fn master(
    vault: &Vault<'_>,
    wanted: For,
    mut progress: impl FnMut(usize, usize),
) -> Result<(Master, Result<Settled>)> {
    let find = || source::find(vault.sources, vault.keychain);
    let mut master = match find() {
        Err(Error::PassphraseMissing) if install_waiting(vault)? => find()?,
        found => found?,
    };
    loop {
        match settle(vault.keys, &master, wanted, &mut progress) {
            // Another process has had the lock, so everything may be otherwise now.
            Ok(None) => master = find()?,
            Ok(Some(settled @ (Settled::Nothing | Settled::Waiting | Settled::Damaged(_)))) => {
                return Ok((master, Ok(settled)));
            }
            Ok(Some(settled)) => return Ok((find()?, Ok(settled))),
            Err(error) => return Ok((find()?, Err(error))),
        }
    }
}

/// Where the keychain has lost `master`, and a change that is staged has its next passphrase there, that
/// one becomes `master`. `false` if there is none.
fn install_waiting(vault: &Vault<'_>) -> Result<bool> {
    let dir = Dir::open(vault.keys)?;
    let staging = dir.map(|dir| staging::ready(&dir)).transpose()?.flatten();
    let id = staging
        .map(|staging| staging::id(&staging))
        .transpose()?
        .flatten();
    let Some(id) = id else { return Ok(false) };
    let Some(next) = record::next(vault.keychain, Some(&id))? else {
        return Ok(false);
    };
    record::replace(
        vault.keychain,
        &next,
        Timestamp::now(),
        |there| match there {
            None => Ok(()),
            Some(_) => Err(record::changed("nothing was changed here")),
        },
    )?;
    Ok(true)
}

/// Re-encrypts every key under `new`. `progress` hears how many of how many are staged.
pub(crate) fn run(
    path: &Path,
    old: &Master,
    new: &Secret,
    progress: impl FnMut(usize, usize),
) -> Result<Outcome> {
    envelope::check_passphrase(new)?;
    if new.same(old.secret()) {
        return Err(Error::Refused {
            sentence: "this is the present master passphrase already; nothing was changed"
                .to_owned(),
            hint: "lf keys rotate --all gives every key a fresh salt and IV".to_owned(),
        });
    }
    if *old.origin() == Origin::Keychain {
        record::has_room(old.keychain())?;
    }
    let change = Change::claim(Dir::create(path)?)?;
    if staging::is_ready(&change.staging) {
        return Err(Error::RekeyPending); // another process was faster
    }
    // What a killed change has left behind must not be taken for this one's.
    let change = if change.staging.names()?.is_empty() {
        change
    } else {
        change.clear(old)?;
        Change::claim(change.dir)?
    };
    let (keys, files) = change.stage_all(old, new, progress).inspect_err(|_| {
        // Best effort: what stays behind is undone by the next command.
        let _ = change.clear(old);
    })?;
    let ids = files
        .iter()
        .filter_map(|file| KeyId::from_file_name(file))
        .collect();
    match old.origin() {
        Origin::Keychain => {
            change.commit(old, new)?;
            change.switch(&keys, &files)?;
            change.clear(old)?;
            Ok(Outcome::Done(ids))
        }
        _ if files.is_empty() => {
            change.clear(old)?;
            Ok(Outcome::Done(ids))
        }
        Origin::Variable | Origin::File(_) | Origin::Credential(_) => Ok(Outcome::Waiting(ids)),
    }
}

/// Drops a change that has not taken effect. `false` if there is none.
pub(crate) fn undo(path: &Path, master: &Master) -> Result<bool> {
    let Some(change) = Change::begun(path)? else {
        return Ok(false);
    };
    let change = change.ok_or_else(at_work)?;
    let keys = change.dir.lock()?;
    if staging::is_ready(&change.staging) {
        let too_late = |sentence: &str, hint: &str| {
            Err(Error::Refused {
                sentence: format!("{sentence}, so the change was not undone"),
                hint: hint.to_owned(),
            })
        };
        let next = change.next(master)?;
        if next.as_ref().is_some_and(|next| next.is_master) {
            return too_late("the new master passphrase is in use already", FINISH);
        }
        let files = staging::files(&keys)?;
        let opens = |(file, id): &(String, KeyId)| -> Result<bool> {
            let bytes = keys.read(file, envelope::MAX_FILE)?.unwrap_or_default();
            let open = |passphrase: &Secret| Envelope::parse(&bytes, id)?.open(passphrase);
            Ok(master.open(open).is_ok())
        };
        let opened = pool::each(&files, opens, |_| {});
        let opened = opened.into_iter().collect::<Result<Vec<bool>>>()?;
        if !files.is_empty() && !opened.contains(&true) {
            return Err(master.wrong(files.len(), path));
        }
        // The first version of lf declared no names.
        let declared = staging::declared(&change.staging)?;
        let is_declared = |file: &String| declared.is_empty() || declared.contains(file);
        for ((file, _), _) in files.iter().zip(opened).filter(|(_, opens)| !opens) {
            // Nothing that could be a key's only envelope that opens is thrown away.
            if next.is_some() {
                return too_late(
                    &format!("{file} opens only with the new master passphrase"),
                    FINISH,
                );
            }
            if let Some(staged) = change.staging.read(file, envelope::MAX_FILE)? {
                files::keep_aside(&keys, file, &staged)?;
            } else if is_declared(file) && *master.origin() != Origin::Keychain {
                return too_late(
                    &format!("{file} is under the new master passphrase already"),
                    "configure the new passphrase, and then: lf keys rekey --finish",
                );
            }
        }
    }
    change.clear(master).map(|()| true)
}

/// Whether a change that is ready could be finished with what is configured.
pub(crate) fn can_finish(path: &Path, master: &Master) -> bool {
    match Change::begun(path) {
        Ok(Some(Some(change))) => matches!(change.next(master), Ok(Some(_))),
        _ => true,
    }
}

/// `None` if another process has had the lock in the meantime.
fn settle(
    path: &Path,
    master: &Master,
    wanted: For,
    progress: &mut impl FnMut(usize, usize),
) -> Result<Option<Settled>> {
    let Some(dir) = Dir::open(path)? else {
        return Ok(Some(Settled::Nothing));
    };
    let Some(staging) = staging::of(&dir)? else {
        return Ok(Some(Settled::Nothing));
    };
    let is_ready = staging::is_ready(&staging);
    // Without the lock, which readers would only take from each other.
    if is_ready && is_for_others(&staging, master)? {
        return Ok(Some(Settled::Waiting));
    }
    let Some(staging) = staging.try_lock()? else {
        if !is_ready || wanted == For::Reading {
            return Ok(Some(Settled::Nothing)); // at work, and in nobody's way
        }
        drop(staging.lock()?);
        return Ok(None);
    };
    if staging::of(&dir)?.is_none() || staging::is_ready(&staging) != is_ready {
        return Ok(None);
    }
    let change = Change { dir, staging };
    let next = if is_ready { change.next(master)? } else { None };
    match (next_step(is_ready, next.is_some()), next) {
        (Step::Finish, Some(next)) => change.finish(master, &next, progress).map(Some),
        (Step::Undo, _) => {
            // Killed in its first or last step, it has changed nothing, or everything.
            let had_any = !staging::files(&change.staging)?.is_empty();
            change.clear(master)?;
            Ok(Some(if had_any {
                Settled::Undone
            } else {
                Settled::Nothing
            }))
        }
        (Step::Wait | Step::Finish, _) => Ok(Some(Settled::Waiting)),
    }
}

/// Does a change wait for the next passphrase of an environment that still has the old one?
fn is_for_others(staging: &Dir, master: &Master) -> Result<bool> {
    if *master.origin() == Origin::Keychain || staging::id(staging)?.is_some() {
        return Ok(false);
    }
    let sample = sample(staging)?;
    Ok(sample.is_some_and(|envelope| envelope.open(master.secret()).is_err()))
}

/// One of the staged envelopes, if one is whole.
fn sample(staging: &Dir) -> Result<Option<Envelope>> {
    for (file, id) in staging::files(staging)? {
        if let Some(envelope) = staging::read(staging, &file, &id)? {
            return Ok(Some(envelope));
        }
    }
    Ok(None)
}

/// The next passphrase of a change.
struct Next {
    passphrase: Secret,
    /// Is it the one that is configured? Then the change has taken effect.
    is_master: bool,
    /// Is it still to become that? Not where another store's change has replaced it since.
    is_due: bool,
}

/// A change, which this process alone works on.
struct Change {
    /// The keys' directory, not locked.
    dir: Dir,
    /// `.rekey` in it.
    staging: Locked,
}

impl Change {
    /// A staging directory of this process's own.
    fn claim(dir: Dir) -> Result<Change> {
        let deadline = Deadline::after(PATIENCE);
        while deadline.left().is_some() {
            let staging = dir.create_child(staging::NAME)?;
            match staging.try_lock()? {
                Some(staging) => {
                    let stamp =
                        |dir: &Dir, name| dir.look(name).map(|look| look.map(|look| look.stamp));
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
    fn begun(path: &Path) -> Result<Option<Option<Change>>> {
        let Some(dir) = Dir::open(path)? else {
            return Ok(None);
        };
        let Some(staging) = staging::of(&dir)? else {
            return Ok(None);
        };
        let staging = staging.try_lock()?;
        Ok(Some(staging.map(|staging| Change { dir, staging })))
    }

    /// Steps 1 to 4. Keys are re-encrypted while others work with them; what they have changed is done
    /// again under the store's lock, which is handed on with the names of the files.
    fn stage_all(
        &self,
        old: &Master,
        new: &Secret,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(Locked, Vec<String>)> {
        if *old.origin() == Origin::Keychain {
            let id = rng::token::<12>()?;
            staging::identify(&self.staging, &id)?;
            record::keep_next(old.keychain(), &id, new)?;
        }
        let before = staging::files(&self.dir)?;
        // One that is damaged is named before the others are re-encrypted for nothing.
        for (file, id) in &before {
            let bytes = self.dir.read(file, envelope::MAX_FILE)?;
            bytes.map(|bytes| Envelope::parse(&bytes, id)).transpose()?;
        }
        let stage =
            |(file, id): &(String, KeyId)| Ok((file.clone(), self.stage(file, id, old, new)?));
        let staged = pool::each(&before, stage, |done| progress(done, before.len()));
        let staged = staged.into_iter().collect::<Result<HashMap<_, _>>>()?;

        let keys = self.dir.lock()?;
        let mut files = Vec::new();
        for (file, id) in staging::files(&keys)? {
            let now = keys.read(&file, envelope::MAX_FILE)?;
            if staged.get(&file) != Some(&now) {
                self.stage(&file, &id, old, new)?;
            }
            files.push(file);
        }
        for (file, _) in staging::files(&self.staging)? {
            if !files.contains(&file) {
                self.staging.remove(&file)?;
            }
        }
        staging::declare(&self.staging, &files)?;
        Ok((keys, files))
    }

    /// Re-encrypts one key, and opens what has arrived on the disk. Gives back the bytes that it began
    /// with; `None` if the file has gone.
    fn stage(&self, file: &str, id: &KeyId, old: &Master, new: &Secret) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = self.dir.read(file, envelope::MAX_FILE)? else {
            return Ok(None);
        };
        let present = Envelope::parse(&bytes, id)?;
        let value = old.open(|passphrase| present.open(passphrase))?;
        let next = envelope::seal(new, &value, present.meta)?;
        self.staging
            .publish(file, next.print().as_bytes(), Publish::Replacement)?;
        let arrived = self.staging.read(file, envelope::MAX_FILE)?;
        let arrived = Envelope::parse(&arrived.unwrap_or_default(), id)?.open(new)?;
        if arrived.same(&value) {
            Ok(Some(bytes))
        } else {
            Err(Error::DecryptionFailed(id.to_string()))
        }
    }

    /// The passphrase of the staged envelopes, if it is at hand. A passphrase from the environment has
    /// nothing to do with a change of the keychain's, which waits until the keychain is asked again.
    fn next(&self, master: &Master) -> Result<Option<Next>> {
        let (id, staged) = (staging::id(&self.staging)?, staging::files(&self.staging)?);
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
        if *master.origin() != Origin::Keychain {
            let is_fit = id.is_none() && fits(master.secret());
            return Ok(is_fit.then(|| next(master.secret(), true, false)));
        }
        let keychain = master.keychain();
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
            let is_staged = |file: &String| staged.iter().any(|(staged, _)| staged == file);
            let is_whole = declared.iter().all(is_staged);
            let is_due = !is_master && (is_whole || !is_earlier);
            return Ok(Some(next(&waiting, is_master, is_due)));
        }
        let record = Record::read(keychain)?;
        let known = record.all().find(|known| fits(known));
        known
            .map(|known| Ok(next(known, is_present(known)?, false)))
            .transpose()
    }

    /// Goes forward from step 5.
    fn finish(
        &self,
        master: &Master,
        next: &Next,
        progress: &mut impl FnMut(usize, usize),
    ) -> Result<Settled> {
        let staged = staging::files(&self.staging)?;
        let opens = |file: &str, id: &KeyId| -> Result<bool> {
            let envelope = staging::read(&self.staging, file, id)?;
            Ok(envelope.is_some_and(|envelope| envelope.open(&next.passphrase).is_ok()))
        };
        // Nothing takes the place of an envelope before it has been opened, or made once more.
        let is_sound = |(file, id): &(String, KeyId)| -> Result<bool> {
            Ok(opens(file, id)?
                || self.stage(file, id, master, &next.passphrase).is_ok() && opens(file, id)?)
        };
        let sound = pool::each(&staged, is_sound, |done| progress(done, staged.len()));
        let sound = sound.into_iter().collect::<Result<Vec<bool>>>()?;
        if *master.origin() != Origin::Keychain {
            let damaged = staged
                .iter()
                .zip(&sound)
                .filter(|(_, is_sound)| !**is_sound);
            let damaged = damaged.map(|((file, _), _)| self.staging.path().join(file));
            let mut damaged: Vec<PathBuf> = damaged.collect();
            damaged.extend(self.lost(&staged, &next.passphrase)?);
            if !damaged.is_empty() {
                return Ok(Settled::Damaged(damaged));
            }
        }
        let keys = self.dir.lock()?;
        if next.is_due {
            self.commit(master, &next.passphrase)?;
        }
        let (mut files, mut damaged) = (Vec::new(), Vec::new());
        for ((file, _), is_sound) in staged.into_iter().zip(sound) {
            match self.staging.read(&file, envelope::MAX_FILE)? {
                _ if is_sound => files.push(file),
                Some(bytes) => {
                    damaged.push(files::keep_aside(&keys, &file, &bytes)?);
                    self.staging.remove(&file)?;
                }
                None => {} // its key was removed
            }
        }
        self.switch(&keys, &files)?;
        self.clear(master)?;
        Ok(Settled::Finished(damaged))
    }

    /// The staged envelopes that were declared and are gone, though nothing has taken their place.
    fn lost(&self, staged: &[(String, KeyId)], next: &Secret) -> Result<Vec<PathBuf>> {
        let mut lost = Vec::new();
        for file in staging::declared(&self.staging)? {
            let is_staged = staged.iter().any(|(staged, _)| *staged == file);
            let bytes = self.dir.read(&file, envelope::MAX_FILE)?;
            if let (Some(id), Some(bytes), false) = (KeyId::from_file_name(&file), bytes, is_staged)
                && Envelope::parse(&bytes, &id)
                    .and_then(|one| one.open(next))
                    .is_err()
            {
                lost.push(self.staging.path().join(file));
            }
        }
        Ok(lost)
    }

    /// Step 5.
    fn commit(&self, master: &Master, next: &Secret) -> Result<()> {
        let replaced = record::replace(master.keychain(), next, Timestamp::now(), |_| Ok(()));
        const BOTH: &str = "every key is there under the old and under the new master passphrase, and the next command that can change the keychain finishes the change";
        replaced.map_err(|error| match error {
            Error::KeychainUnavailable(reason) => {
                Error::KeychainUnavailable(format!("{reason}; {BOTH}"))
            }
            Error::Refused { sentence, hint } => Error::Refused {
                sentence: format!("{sentence}; {BOTH}"),
                hint,
            },
            error => error,
        })
    }

    /// Step 6, for these files.
    fn switch(&self, keys: &Locked, files: &[String]) -> Result<()> {
        for file in files {
            // What was removed since does not come back.
            if keys.look(file)?.is_some() {
                keys.take(&self.staging, file)?;
            } else {
                self.staging.remove(file)?;
            }
        }
        keys.sync()?;
        self.staging.sync()
    }

    /// Step 7, and the way back from before step 5. `ready` goes before anything that it vouches for,
    /// and the name of the change after the passphrase that is kept under it.
    fn clear(&self, master: &Master) -> Result<()> {
        let id = staging::id(&self.staging)?;
        let former = match id {
            None if *master.origin() == Origin::Keychain => sample(&self.staging)?,
            _ => None,
        };
        staging::retract(&self.staging)?;
        for name in self.staging.names()? {
            let is_ours = staging::is_own(&name) || KeyId::from_file_name(&name).is_some();
            if is_ours
                && name != staging::ID
                && self.staging.look(&name)?.is_some_and(|look| look.is_file)
            {
                self.staging.remove(&name)?;
            }
        }
        let keychain = master.keychain();
        match id {
            // Where the environment rules, the keychain is not asked; its entry opens nothing any more.
            Some(_) if *master.origin() != Origin::Keychain => staging::forget_id(&self.staging)?,
            Some(id) => {
                if record::drop_next(keychain, Some(&id)).is_err() {
                    return Ok(()); // the next command tries again, by the name that stays
                }
                staging::forget_id(&self.staging)?;
            }
            // The first version's account is another store's, unless it fits what is here.
            None if *master.origin() == Origin::Keychain => {
                if let Ok(Some(next)) = record::next(keychain, None)
                    && (former.is_some_and(|envelope| envelope.open(&next).is_ok())
                        || matches!(record::present(keychain), Ok(Some(present)) if present.same(&next)))
                {
                    let _ = record::drop_next(keychain, None);
                }
            }
            None => {}
        }
        // What is not ours in it keeps it there, and does no harm.
        self.dir.remove_child(staging::NAME)
    }
}

fn copy(secret: &Secret) -> Secret {
    Secret::new(secret.expose().to_owned())
}

fn at_work() -> Error {
    Error::Refused {
        sentence: "another change of the master passphrase is at work".to_owned(),
        hint: "wait for it to end; lf keys doctor tells how it went".to_owned(),
    }
}

const FINISH: &str = "lf keys rekey --finish";
/// How long to wait for another process that is about to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(3);

#[cfg(test)]
mod tests;
