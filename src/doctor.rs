//! Look at everything and name what is wrong, with the command that mends it.

use std::path::Path;

use crate::audit;
use crate::crew;
use crate::envelope::{self, Envelope};
use crate::error::{Error, Result};
use crate::fs::{self, Dir};
use crate::key::KeyId;
use crate::keychain::Keychain;
use crate::passphrase::{self, Sources};
use crate::secret::{Secret, shown};
use crate::store::{self, Store};

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
    /// The keys.
    pub store: &'a Store,
    /// The directory above them, if it is ours too.
    pub root: Option<&'a Path>,
    /// Where the passphrase may come from.
    pub sources: &'a Sources,
    /// The keychain.
    pub keychain: &'a Keychain,
}

/// Runs every check; changes nothing. `progress` hears how many envelopes of how many are decrypted.
pub fn examine(patient: &Patient<'_>, progress: impl FnMut(usize, usize)) -> Vec<Check> {
    let mut checks = Vec::new();
    let (passphrase, passphrase_checks) = examine_passphrase(patient);
    match patient.store.dir() {
        Ok(Some(dir)) => {
            let root = patient.root.and_then(|root| Dir::open(root).ok().flatten());
            checks.push(pass("keys_directory", dir.path().display().to_string()));
            checks.extend(
                examine_files(&dir, root.as_ref())
                    .unwrap_or_else(|error| vec![failed("keys_directory", &error)]),
            );
            checks.extend(passphrase_checks);
            checks.extend(
                examine_envelopes(&dir, passphrase.as_ref(), progress)
                    .unwrap_or_else(|error| vec![failed("envelopes", &error)]),
            );
            checks.push(examine_space(&dir));
            checks.push(examine_audit_log(&dir));
        }
        Ok(None) => {
            let message = format!("{} does not exist", patient.store.path().display());
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
///
/// # Errors
/// What keeps it from looking at all.
pub fn fix(store: &Store, root: Option<&Path>) -> Result<(Vec<String>, Vec<Error>)> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    let Some(dir) = store.dir()? else {
        return Ok((done, failed));
    };
    let root = root.and_then(|root| Dir::open(root).ok().flatten());
    for (dir, name, mode) in loose(&dir, root.as_ref())? {
        match dir.tighten(&name) {
            Ok(()) => done.push(format!(
                "{} had mode {mode:04o}; now only its owner can reach it",
                place(dir, &name)
            )),
            Err(error) => failed.push(error),
        }
    }
    for dir in [Some(dir), state_of(root.as_ref())].into_iter().flatten() {
        // Whoever publishes holds the lock while its temporary file is there: under it, all are stale.
        let lock = dir.lock()?;
        for name in dir
            .names()?
            .into_iter()
            .filter(|name| fs::is_temporary(name))
        {
            match dir.remove(&lock, &name) {
                Ok(true) => done.push(format!(
                    "{} was left behind by a process that was killed; removed",
                    place(&dir, &name)
                )),
                Ok(false) => {}
                Err(error) => failed.push(error),
            }
        }
    }
    Ok((done, failed))
}

fn examine_files(dir: &Dir, root: Option<&Dir>) -> Result<Vec<Check>> {
    let mut modes: Vec<Check> = loose(dir, root)?
        .into_iter()
        .map(|(dir, name, mode)| {
            let place = place(dir, &name);
            let kind = if name == "." { "0700" } else { "0600" };
            fail(
                "modes",
                format!("{place} has mode {mode:04o} in place of {kind}"),
                &format!("{FIX}, or: chmod {kind} '{place}'"),
            )
        })
        .collect();
    let (mut owners, mut others) = (Vec::new(), Vec::new());
    for name in dir.names()?.into_iter().chain([".".to_owned()]) {
        if dir
            .look(&name)?
            .is_some_and(|look| look.owner != fs::own_user())
        {
            owners.push(fail(
                "owners",
                format!("{} belongs to another user", place(dir, &name)),
                "chown it to yourself, or remove it",
            ));
        }
        if name != "." && !is_ours(&name) && !fs::is_temporary(&name) {
            others.push(note(
                "other_files",
                format!("{} is not lf's; it is left alone", place(dir, &name)),
            ));
        }
    }
    if modes.is_empty() {
        modes.push(pass(
            "modes",
            "only their owner can reach the directory and the files".to_owned(),
        ));
    }
    if owners.is_empty() {
        owners.push(pass("owners", "everything belongs to this user".to_owned()));
    }
    Ok(modes
        .into_iter()
        .chain(owners)
        .chain(examine_all_temporary(dir, root)?)
        .chain(others)
        .collect())
}

/// The gateway's own directory, if it is there.
fn state_of(root: Option<&Dir>) -> Option<Dir> {
    Dir::open(&root?.path().join("gateway")).ok().flatten()
}

/// Those in the keys directory and in the gateway's.
fn examine_all_temporary(dir: &Dir, root: Option<&Dir>) -> Result<Vec<Check>> {
    let mut checks = examine_temporary(dir)?;
    if let Some(state) = state_of(root) {
        checks.extend(
            examine_temporary(&state)?
                .into_iter()
                .filter(|check| check.status == Status::Fail),
        );
    }
    Ok(checks)
}

fn examine_temporary(dir: &Dir) -> Result<Vec<Check>> {
    let names = |dir: &Dir| -> Result<Vec<String>> {
        Ok(dir
            .names()?
            .into_iter()
            .filter(|name| fs::is_temporary(name))
            .collect())
    };
    let mut left = names(dir)?;
    if !left.is_empty() {
        // One that is in use belongs to the holder of the lock, and is gone when we get it.
        let _lock = dir.lock()?;
        let still = names(dir)?;
        left.retain(|name| still.contains(name));
    }
    if left.is_empty() {
        return Ok(vec![pass("temporary_files", "none left behind".to_owned())]);
    }
    let found = |name: String| {
        fail(
            "temporary_files",
            format!(
                "{} was left behind by a process that was killed",
                place(dir, &name)
            ),
            FIX,
        )
    };
    Ok(left.into_iter().map(found).collect())
}

/// Our files, and the directories themselves, whose mode is not their owner's alone, or not enough
/// for the owner.
fn loose<'a>(dir: &'a Dir, root: Option<&'a Dir>) -> Result<Vec<(&'a Dir, String, u32)>> {
    let mut loose = Vec::new();
    let files = dir
        .names()?
        .into_iter()
        .filter(|name| is_ours(name))
        .map(|name| (dir, name));
    for (dir, name) in files.chain(
        [Some(dir), root]
            .into_iter()
            .flatten()
            .map(|dir| (dir, ".".to_owned())),
    ) {
        let Some(look) = dir.look(&name)? else {
            continue;
        };
        let wanted = if name == "." { 0o700 } else { 0o600 };
        if (look.is_file || name == ".") && (look.mode & 0o077 != 0 || look.mode & wanted != wanted)
        {
            loose.push((dir, name, look.mode));
        }
    }
    Ok(loose)
}

fn is_ours(name: &str) -> bool {
    name.ends_with(".json") || name == audit::FILE || name.strip_suffix(".1") == Some(audit::FILE)
}

fn examine_passphrase(patient: &Patient<'_>) -> (Option<Secret>, Vec<Check>) {
    let given = match passphrase::from_environment(patient.sources) {
        Ok(given) => given,
        Err(error) => return (None, vec![failed("passphrase", &error)]),
    };
    let (keychain, chosen) = match given {
        Some(given) if patient.sources.force => (
            note(
                "keychain",
                "not asked: LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1".to_owned(),
            ),
            Ok(given),
        ),
        given => {
            let kept = passphrase::from_keychain(patient.keychain);
            let keychain = match (&kept, &given) {
                (Ok(Some(_)), _) => pass(
                    "keychain",
                    "it answers, and has a master passphrase".to_owned(),
                ),
                (Ok(None), _) => pass(
                    "keychain",
                    "it answers, and has no master passphrase".to_owned(),
                ),
                (Err(error), Some(_)) => note("keychain", error.to_string()),
                (Err(error), None) => failed("keychain", error),
            };
            (keychain, passphrase::choose(kept, given))
        }
    };
    match chosen {
        Ok((secret, origin)) => {
            let mut checks = vec![keychain, pass("passphrase", format!("from {origin}"))];
            if let Err(error) = envelope::check_passphrase(&secret) {
                checks.push(failed("passphrase", &error));
            }
            (Some(secret), checks)
        }
        Err(error) => (None, vec![keychain, failed("passphrase", &error)]),
    }
}

fn examine_envelopes(
    dir: &Dir,
    passphrase: Option<&Secret>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Check>> {
    let (mut good, mut checks): (Vec<Envelope>, Vec<Check>) = (Vec::new(), Vec::new());
    for (name, read) in store::envelopes(dir)? {
        match read {
            Ok(Some(envelope)) => good.push(envelope),
            Ok(None) => {}
            Err(error) => {
                let path = place(dir, &name);
                // Removing is for the person to decide; only what has an id can be removed by it.
                let hint = match (&error, KeyId::from_file_name(&name)) {
                    (Error::Permission { .. }, _) => format!("chmod 600 '{path}'"),
                    (Error::CorruptEnvelope { .. }, Some(id)) => {
                        format!("restore '{path}' from a backup, or: lf keys remove -- {id}")
                    }
                    _ => format!("look at it, and then: rm '{path}'"),
                };
                checks.push(fail("envelopes", error.to_string(), &hint));
            }
        }
    }
    if checks.is_empty() {
        checks.push(pass(
            "envelopes",
            format!("{} of {} well formed", good.len(), good.len()),
        ));
    }
    let Some(passphrase) = passphrase else {
        if !good.is_empty() {
            checks.push(fail(
                "decryption",
                format!(
                    "{} envelopes could not be checked without a passphrase",
                    good.len()
                ),
                "lf keys init --help",
            ));
        }
        return Ok(checks);
    };
    let opened = crew::each(
        &good,
        |envelope| envelope.open(passphrase).map(drop),
        |done| progress(done, good.len()),
    );
    let shut: Vec<Check> = good
        .iter()
        .zip(opened)
        .filter_map(|(envelope, opened)| opened.err().map(|error| (envelope, error)))
        .map(|(envelope, error)| {
            let hint = format!(
                "give it a new value: lf keys update --rotate -- {}",
                envelope.meta.id
            );
            fail(
                "decryption",
                format!(
                    "{error} ({} \"{}\")",
                    envelope.meta.provider,
                    shown(envelope.meta.label.as_str())
                ),
                &hint,
            )
        })
        .collect();
    if shut.is_empty() {
        checks.push(pass(
            "decryption",
            format!("{} of {} open", good.len(), good.len()),
        ));
    }
    checks.extend(shut);
    Ok(checks)
}

fn examine_space(dir: &Dir) -> Check {
    let path = dir.path().display();
    if dir.is_full() {
        return fail(
            "writable",
            format!("the file system of {path} is full; nothing can be stored"),
            "make room on it",
        );
    }
    if !dir.can_append(".") {
        return fail(
            "writable",
            format!("{path} cannot be written; nothing can be stored"),
            &format!("chmod 0700 '{path}', if it is on a file system that can be written"),
        );
    }
    pass("writable", format!("{path} can be written"))
}

fn examine_audit_log(dir: &Dir) -> Check {
    let older = format!("{}.1", audit::FILE);
    for name in [audit::FILE, &older] {
        match dir.look(name) {
            Ok(Some(look)) if !look.is_file => {
                let path = place(dir, name);
                return fail(
                    "audit_log",
                    format!("{path} is not a regular file; nothing is logged"),
                    &format!("look at it, and then: rm '{path}'"),
                );
            }
            Ok(_) => {}
            Err(error) => return failed("audit_log", &error),
        }
    }
    if dir.can_append(audit::FILE) {
        pass("audit_log", "it can be written".to_owned())
    } else {
        let path = place(dir, audit::FILE);
        fail(
            "audit_log",
            format!("{path} cannot be written; nothing is logged"),
            &format!("chmod 600 '{path}'"),
        )
    }
}

fn place(dir: &Dir, name: &str) -> String {
    if name == "." {
        dir.path().display().to_string()
    } else {
        dir.path().join(shown(name)).display().to_string()
    }
}

fn pass(id: &'static str, message: String) -> Check {
    Check {
        id,
        status: Status::Pass,
        message,
        hint: None,
    }
}

fn note(id: &'static str, message: String) -> Check {
    Check {
        id,
        status: Status::Note,
        message,
        hint: None,
    }
}

fn fail(id: &'static str, message: String, hint: &str) -> Check {
    Check {
        id,
        status: Status::Fail,
        message,
        hint: Some(hint.to_owned()),
    }
}

fn failed(id: &'static str, error: &Error) -> Check {
    Check {
        id,
        status: Status::Fail,
        message: error.to_string(),
        hint: error.hint(),
    }
}

const FIX: &str = "lf keys doctor --fix";
