//! Look at everything and name what is wrong, with the command that mends it.

mod files;
mod ground;
mod keys;

use std::path::Path;

use crate::base::secret::shown;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir};
use crate::vault::master::record::Record;
use crate::vault::master::rekey::Vault;
use crate::vault::master::source::Origin;
use crate::vault::store::Store;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well.
    Pass,
    /// Something is wrong.
    Fail,
    /// Nothing is wrong, but a person may want to know.
    Note,
}

/// One line of the report. A check that finds several things has a line for each.
#[derive(Debug)]
pub struct Check {
    /// The check's stable name.
    pub id: &'static str,
    /// How it went.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What to type.
    pub hint: Option<String>,
}

/// Everything that a diagnosis looks at.
#[derive(Debug)]
pub struct Patient<'a> {
    /// The keys, and where their master passphrase comes from.
    pub vault: Vault<'a>,
    /// The gateway's directory, if it is known.
    pub state: Option<&'a Path>,
    /// The directory above the keys, if it is ours too.
    pub root: Option<&'a Path>,
}

/// Runs every check; changes nothing. `progress` hears how many envelopes of how many are decrypted.
pub fn examine(
    patient: &Patient<'_>,
    now: Timestamp,
    progress: impl FnMut(usize, usize),
) -> Vec<Check> {
    let mut checks = Vec::new();
    let (master, passphrase_checks) = keys::examine_passphrase(patient);
    match patient.vault.store.dir() {
        Ok(Some(dir)) => {
            let root = patient.root.and_then(|root| Dir::open(root).ok().flatten());
            let or_failed = |id, examined: Result<Vec<Check>>| {
                examined.unwrap_or_else(|error| vec![failed(id, &error)])
            };
            checks.push(pass("keys_directory", dir.path().display().to_string()));
            checks.extend(or_failed(
                "keys_directory",
                files::examine(&dir, root.as_ref()),
            ));
            checks.extend(passphrase_checks);
            checks.extend(or_failed(
                "rekey",
                keys::examine_rekey(patient.vault.store, &dir, master.as_ref()),
            ));
            let record = match &master {
                Some(master) if *master.origin() == Origin::Keychain => {
                    Record::read(patient.vault.keychain).unwrap_or_else(|error| {
                        checks.push(failed("keychain", &error));
                        Record::default()
                    })
                }
                Some(_) | None => Record::default(),
            };
            let examined = keys::examine_envelopes(&dir, master.as_ref(), &record, progress);
            let (envelopes, about) =
                examined.unwrap_or_else(|error| (Vec::new(), vec![failed("envelopes", &error)]));
            checks.extend(about);
            checks.extend(ground::examine(&dir, &envelopes, now));
        }
        Ok(None) => {
            let message = format!("{} does not exist", patient.vault.store.path().display());
            checks.push(fail("keys_directory", message, "lf keys init"));
            checks.extend(passphrase_checks);
        }
        Err(error) => {
            checks.push(failed("keys_directory", &error));
            checks.extend(passphrase_checks);
        }
    }
    checks
}

/// Takes loose permissions away and removes temporary files that a killed process left behind;
/// nothing else. Tells what it did, a sentence each, and what it could not do.
#[must_use]
pub fn fix(store: &Store, root: Option<&Path>) -> (Vec<String>, Vec<Error>) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    if let Err(error) = fix_all(store, root, &mut done, &mut failed) {
        failed.push(error);
    }
    (done, failed)
}

/// An error is what kept it from looking any further.
fn fix_all(
    store: &Store,
    root: Option<&Path>,
    done: &mut Vec<String>,
    failed: &mut Vec<Error>,
) -> Result<()> {
    let Some(keys) = store.dir()? else {
        return Ok(());
    };
    let root = root.and_then(|root| Dir::open(root).ok().flatten());
    for loose in files::loose(&keys, root.as_ref())? {
        let (place, mode) = (place(loose.dir, &loose.name), loose.mode);
        let barred = loose.barred.map_or(Ok(()), Err);
        match barred.and_then(|()| loose.dir.tighten(&loose.name)) {
            Ok(()) => done.push(format!(
                "{place} had mode {mode:04o}; now only its owner can reach it"
            )),
            Err(error) => failed.push(error),
        }
    }
    for dir in [Some(keys), state_of(root.as_ref())].into_iter().flatten() {
        // Whoever publishes holds the lock while its temporary file is there: under it, all are stale.
        let dir = dir.lock()?;
        for name in dir
            .names()?
            .into_iter()
            .filter(|name| fs::is_temporary(name))
        {
            match dir.remove(&name) {
                Ok(true) => done.push(format!(
                    "{} was left behind by a process that was killed; removed",
                    place(&dir, &name)
                )),
                Ok(false) => {}
                Err(error) => failed.push(error),
            }
        }
    }
    Ok(())
}

/// The gateway's own directory, if it is there.
fn state_of(root: Option<&Dir>) -> Option<Dir> {
    Dir::open(&root?.path().join("gateway")).ok().flatten()
}

fn place(dir: &Dir, name: &str) -> String {
    if name == "." {
        dir.path().display().to_string()
    } else {
        dir.path().join(shown(name)).display().to_string()
    }
}

/// Fit for a shell.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''"))
}

pub(crate) fn pass(id: &'static str, message: String) -> Check {
    Check {
        id,
        status: Status::Pass,
        message,
        hint: None,
    }
}

pub(crate) fn note(id: &'static str, message: String) -> Check {
    Check {
        id,
        status: Status::Note,
        message,
        hint: None,
    }
}

pub(crate) fn fail(id: &'static str, message: String, hint: &str) -> Check {
    Check {
        id,
        status: Status::Fail,
        message,
        hint: Some(hint.to_owned()),
    }
}

pub(crate) fn failed(id: &'static str, error: &Error) -> Check {
    Check {
        id,
        status: Status::Fail,
        message: error.to_string(),
        hint: error
            .hint()
            .or_else(|| Some(error.facts().way_out.to_owned())),
    }
}

const FIX: &str = "lf keys doctor --fix";
