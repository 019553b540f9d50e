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

use std::path::Path;

use super::change::{Change, at_work, sample};
pub(crate) use super::change::{FINISH, Settled};
use super::source::{self, Master, Origin};
use super::{record, staging};
use crate::base::{Secret, Timestamp, pool, pool::Progress};
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::{environment::Sources, fs::Dir};
use crate::vault::{envelope, files, key::KeyId};

/// What the passphrase is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Opening, which works in every state of a change, so nobody is waited for.
    Reading,
    /// Sealing: a change that is about to end is waited for.
    Sealing,
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
    keys: &Path,
    sources: &Sources,
    keychain: &Keychain,
    wanted: For,
    tell: &Progress,
) -> Result<(Master, Result<Settled>)> {
    let find = || source::find(sources, keychain);
    let mut master = match find() {
        Err(Error::PassphraseMissing) if install_waiting(keys, keychain)? => find()?,
        found => found?,
    };
    loop {
        match settle(keys, &master, wanted, tell) {
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

/// Has a change begun that has not ended?
pub(crate) fn has_begun(keys: &Path) -> Result<bool> {
    Ok(staging::at(keys)?.is_some())
}

/// Where the keychain has lost `master`, and a change that is staged has its next passphrase there, that
/// one becomes `master`. `false` if there is none.
fn install_waiting(keys: &Path, keychain: &Keychain) -> Result<bool> {
    let staging = staging::at(keys)?.filter(|(_, staging)| staging::is_ready(staging));
    let id = staging.map(|(_, staging)| staging::id(&staging)).transpose()?;
    let Some(id) = id.flatten() else { return Ok(false) };
    let Some(next) = record::next(keychain, Some(&id))? else { return Ok(false) };
    record::replace(keychain, &next, Timestamp::now(), |there| match there {
        None => Ok(()),
        Some(_) => Err(record::changed("nothing was changed here")),
    })?;
    Ok(true)
}

/// Re-encrypts every key under `new`, and names them. Where the passphrase comes from the environment and
/// there are keys, these then wait for it there. `tell` is told how many are staged.
pub(crate) fn run(path: &Path, old: &Master, new: &Secret, tell: &Progress) -> Result<Vec<KeyId>> {
    envelope::check_passphrase(new)?;
    if new.same(&old.secret) {
        let sentence = "this is already the current master passphrase; nothing was changed";
        let hint = "lf keys rotate --all gives every key a fresh salt and IV";
        return Err(Error::refused(sentence, hint));
    }
    if old.origin == Origin::Keychain {
        record::has_room(&old.keychain)?;
    }
    let mut change = Change::claim(Dir::create(path)?)?;
    if staging::is_ready(&change.staging) {
        return Err(Error::RekeyPending); // another process was faster
    }
    // What a killed change has left behind must not be taken for this one's.
    if !change.staging.names()?.is_empty() {
        change.clear(old)?;
        change = Change::claim(change.dir)?;
    }
    let (keys, ids) = change.stage_all(old, new, tell).inspect_err(|_| {
        // Best effort: what stays behind is undone by the next command.
        let _ = change.clear(old);
    })?;
    if old.origin == Origin::Keychain {
        change.commit(old, new)?;
        change.switch(keys, &ids)?;
        change.clear(old)?;
    } else if ids.is_empty() {
        change.clear(old)?;
    }
    Ok(ids)
}

/// Drops a change that has not taken effect. `false` if there is none.
pub(crate) fn undo(path: &Path, master: &Master) -> Result<bool> {
    let Some(change) = Change::begun(path)? else { return Ok(false) };
    let change = change.ok_or_else(at_work)?;
    let keys = change.dir.lock()?;
    if staging::is_ready(&change.staging) {
        let too_late = |sentence: &str, hint: &str| {
            Err(Error::refused(format!("{sentence}, so the change was not undone"), hint))
        };
        let next = change.next(master)?;
        if next.as_ref().is_some_and(|next| next.is_master) {
            return too_late("the new master passphrase is already in use", FINISH);
        }
        let ids = files::ids(&keys)?;
        let opens = |id: &KeyId| -> Result<bool> {
            let present = files::read_sound(&keys, id)?;
            Ok(present.is_some_and(|present| master.open(|known| present.open(known)).is_ok()))
        };
        let opened =
            pool::each(&ids, opens, &|_, _| {}).into_iter().collect::<Result<Vec<bool>>>()?;
        if !ids.is_empty() && !opened.contains(&true) {
            return Err(master.wrong(ids.len(), path));
        }
        // The first version of lf declared no names.
        let declared = staging::declared(&change.staging)?;
        let is_declared = |file: &String| declared.is_empty() || declared.contains(file);
        for (id, _) in ids.iter().zip(opened).filter(|(_, opens)| !opens) {
            let file = id.file_name();
            // Nothing that could be a key's only envelope that opens is thrown away.
            if next.is_some() {
                return too_late(
                    &format!("{file} opens only with the new master passphrase"),
                    FINISH,
                );
            }
            if let Some(staged) = change.staging.read(&file, envelope::MAX_FILE)? {
                files::keep_aside(&keys, id, &staged)?;
            } else if is_declared(&file) && master.origin != Origin::Keychain {
                return too_late(
                    &format!("{file} is already under the new master passphrase"),
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
fn settle(path: &Path, master: &Master, wanted: For, tell: &Progress) -> Result<Option<Settled>> {
    let Some((dir, staging)) = staging::at(path)? else { return Ok(Some(Settled::Nothing)) };
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
    // It may have become ready in the meantime.
    let (is_ready, change) = (staging::is_ready(&staging), Change { dir, staging });
    if staging::of(&change.dir)?.is_none() {
        return Ok(None);
    }
    let next = if is_ready { change.next(master)? } else { None };
    match (next_step(is_ready, next.is_some()), next) {
        (Step::Finish, Some(next)) => change.finish(master, &next, tell).map(Some),
        (Step::Undo, _) => {
            // Killed in its first or last step, it has changed nothing, or everything.
            let had_any = !staging::keys(&change.staging)?.is_empty();
            change.clear(master)?;
            Ok(Some(if had_any { Settled::Undone } else { Settled::Nothing }))
        }
        (Step::Wait | Step::Finish, _) => Ok(Some(Settled::Waiting)),
    }
}

/// Does a change wait for the next passphrase of an environment that still has the old one?
fn is_for_others(staging: &Dir, master: &Master) -> Result<bool> {
    if master.origin == Origin::Keychain || staging::id(staging)?.is_some() {
        return Ok(false);
    }
    Ok(sample(staging)?.is_some_and(|envelope| envelope.open(&master.secret).is_err()))
}

#[cfg(test)]
mod tests;
