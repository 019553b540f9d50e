//! Looks at everything and names what is wrong, with the command that repairs it.

mod files;
mod keys;

use std::path::Path;

use miniserde::Serialize;

use crate::base::secret::shown;
use crate::base::shell::quoted;
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::master::record::Record;
use crate::vault::master::rekey::Vault;
use crate::vault::master::source::Origin;
use crate::vault::store::Store;

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

/// Runs every check on the keys, and on the directory above them if it is ours too; changes nothing.
/// `progress` is told how many envelopes of how many are decrypted.
pub(crate) fn examine(
    vault: &Vault<'_>,
    state: Option<&Path>,
    root: Option<&Path>,
    progress: impl FnMut(usize, usize),
) -> Vec<Check> {
    let (master, passphrase) = keys::examine_passphrase(vault, state);
    let (first, dir) = match Dir::open(vault.keys) {
        Ok(Some(dir)) => (pass("keys_directory", place(&dir, ".")), Some(dir)),
        Ok(None) => {
            let message = format!("{} does not exist", vault.keys.display());
            (fail("keys_directory", message, "lf keys init"), None)
        }
        Err(error) => (failed("keys_directory", &error), None),
    };
    let mut checks = vec![first];
    let or_failed = |id, examined: Result<Vec<Check>>| {
        examined.unwrap_or_else(|error| vec![failed(id, &error)])
    };
    if let Some(dir) = &dir {
        checks.extend(or_failed("keys_directory", files::examine(dir, root)));
    }
    checks.extend(passphrase);
    let Some(dir) = &dir else { return checks };
    checks.extend(or_failed(
        "rekey",
        keys::examine_rekey(dir, master.as_ref()),
    ));
    let record = match &master {
        Some(master) if *master.origin() == Origin::Keychain => Record::read(vault.keychain),
        Some(_) | None => Ok(Record::default()),
    };
    let record = record.unwrap_or_else(|error| {
        checks.push(failed("keychain", &error));
        Record::default()
    });
    let opened = keys::examine_envelopes(dir, master.as_ref(), &record, progress);
    checks.extend(or_failed("envelopes", opened));
    checks
}

/// Takes loose permissions away and removes temporary files that a killed process left behind;
/// nothing else. Tells each thing that it did, and what it could not do.
pub(crate) fn fix(store: &Store, root: Option<&Path>) -> Vec<Result<String>> {
    let mut done = Vec::new();
    let looked = match store.dir() {
        Ok(Some(dir)) => files::fix(&dir, root, &mut done),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
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

pub(crate) fn pass(id: &'static str, message: String) -> Check {
    check(id, Status::Pass, message, None)
}

pub(crate) fn note(id: &'static str, message: String) -> Check {
    check(id, Status::Note, message, None)
}

pub(crate) fn fail(id: &'static str, message: String, hint: &str) -> Check {
    check(id, Status::Fail, message, Some(hint.to_owned()))
}

pub(crate) fn failed(id: &'static str, error: &Error) -> Check {
    let hint = error.hint();
    let hint = hint.unwrap_or_else(|| error.facts().hint.to_owned());
    check(id, Status::Fail, error.to_string(), Some(hint))
}

fn check(id: &'static str, status: Status, message: String, hint: Option<String>) -> Check {
    Check {
        id,
        status,
        message,
        hint,
    }
}
