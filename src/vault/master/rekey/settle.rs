//! Finishes or undoes a change of the master passphrase that was begun before.

use std::path::PathBuf;

use super::shelf::{Shelf, begun, clear, lock, sample, staged, switch};
use super::{For, Realm, Settled, replace};
use crate::base::pool;
use crate::base::secret::Secret;
use crate::error::Result;
use crate::vault::key::KeyId;
use crate::vault::master::passphrase::{self, Master, Origin};
use crate::vault::master::staging;

/// Did somebody else finish it while we waited for the lock?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    Yes,
    No,
}

pub(super) fn settle(
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
    let shelves = Shelf::all(realm, dir, own, staging::of)?;
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
    let sound = pool::each(&all, sound, |done| progress(done, all.len()));
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
