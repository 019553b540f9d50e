//! Looks at everything and names what is wrong, with the command that repairs it.

pub(crate) mod files;
mod keys;
#[cfg(test)]
mod tests;

use std::path::Path;

use miniserde::Serialize;

use crate::base::{pool::Progress, shell, shell::quoted, shown};
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::{Environment, fs::Dir};
use crate::vault::{master::record::Record, master::source::Origin, store::Store};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Status {
    /// All is well.
    #[serde(rename = "pass")]
    Pass,
    /// Something is wrong.
    #[serde(rename = "fail")]
    Fail,
    /// Nothing is wrong, but a person may want to know.
    #[serde(rename = "note")]
    Note,
}

/// One line of the report. A check that finds several things has a line for each.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// The check's stable name.
    pub(crate) id: &'static str,
    /// How it went.
    pub(crate) status: Status,
    /// What was found.
    pub(crate) message: String,
    /// What to type.
    pub(crate) hint: Option<String>,
}

/// Runs every check on the keys, on the directory above them if it is ours too, and on the roots where
/// the predecessor may have left something; changes nothing.
/// `tell` is told how many envelopes are decrypted.
pub(crate) fn examine(
    environment: &Environment,
    keys: &Path,
    keychain: &Keychain,
    root: Option<&Path>,
    tell: &Progress,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let or_failed = |id, examined: Result<()>| examined.err().map(|error| failed(id, &error));
    let dir = Dir::open(keys).unwrap_or_else(|error| {
        checks.push(failed("keys_directory", &error));
        None
    });
    if let Some(dir) = &dir {
        checks.push(pass("keys_directory", place(dir, ".")));
        let examined = files::examine(dir, root, &mut checks);
        checks.extend(or_failed("keys_directory", examined));
    } else if checks.is_empty() {
        let message = format!("{} does not exist", keys.display());
        checks.push(fail("keys_directory", message, "lf keys init"));
    }
    let master = keys::examine_passphrase(keys, &environment.passphrase, keychain, &mut checks);
    let examined = keys::examine_predecessor(&environment.roots(), &mut checks);
    checks.extend(or_failed("plaintext_passphrase", examined));
    let Some(dir) = &dir else { return checks };
    let examined = keys::examine_rekey(dir, master.as_ref(), &mut checks);
    checks.extend(or_failed("rekey", examined));
    let record = match &master {
        Some(master) if master.origin == Origin::Keychain => Record::read(keychain),
        Some(_) | None => Ok(Record::default()),
    };
    let record = record.unwrap_or_else(|error| {
        checks.push(failed("keychain", &error));
        Record::default()
    });
    let examined = keys::examine_envelopes(dir, master.as_ref(), &record, tell, &mut checks);
    checks.extend(or_failed("envelopes", examined));
    checks
}

/// Takes loose permissions away and removes temporary files that a killed process left behind;
/// nothing else. Tells each thing that it did, and what it could not do.
pub(crate) fn fix(store: &Store, root: Option<&Path>) -> Vec<Result<String>> {
    let mut done = Vec::new();
    let dir = store.dir();
    let looked = dir.and_then(|dir| dir.map_or(Ok(()), |dir| files::fix(&dir, root, &mut done)));
    done.extend(looked.err().map(Err));
    done
}

fn place(dir: &Dir, name: &str) -> String {
    if name == "." {
        dir.path().display().to_string()
    } else {
        dir.path().join(shown(name)).display().to_string()
    }
}

/// Says this of a check that has found nothing.
fn pass_unless_found(checks: &mut Vec<Check>, id: &'static str, message: impl Into<String>) {
    if checks.iter().all(|check| check.id != id) {
        checks.push(pass(id, message));
    }
}

pub(crate) fn pass(id: &'static str, message: impl Into<String>) -> Check {
    Check { id, status: Status::Pass, message: message.into(), hint: None }
}

pub(crate) fn note(id: &'static str, message: impl Into<String>) -> Check {
    Check { id, status: Status::Note, message: message.into(), hint: None }
}

pub(crate) fn fail(id: &'static str, message: impl Into<String>, hint: &str) -> Check {
    Check { id, status: Status::Fail, message: message.into(), hint: Some(shell::hint(hint)) }
}

pub(crate) fn failed(id: &'static str, error: &Error) -> Check {
    let hint = error.hint();
    fail(id, error.to_string(), hint.as_deref().unwrap_or_else(|| error.info().hint()))
}
