//! Look at everything and name what is wrong, with the command that mends it.

use crate::audit;
use crate::crew;
use crate::envelope::Envelope;
use crate::error::{Error, Result};
use crate::fs::{self, Dir};
use crate::key::KeyId;
use crate::keychain::Keychain;
use crate::passphrase::{self, Origin, Sources};
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
            checks.push(pass("keys_directory", dir.path().display().to_string()));
            checks.extend(
                examine_files(&dir).unwrap_or_else(|error| vec![failed("keys_directory", &error)]),
            );
            checks.extend(passphrase_checks);
            checks.extend(
                examine_envelopes(&dir, passphrase.as_ref(), progress)
                    .unwrap_or_else(|error| vec![failed("envelopes", &error)]),
            );
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
/// nothing else. Tells what it did, a sentence each.
///
/// # Errors
/// What the system says.
pub fn fix(store: &Store) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let Some(dir) = store.dir()? else {
        return Ok(done);
    };
    // Whoever publishes holds the lock while its temporary file is there: under it, all are stale.
    let lock = dir.lock()?;
    for (name, mode) in loose(&dir)? {
        dir.tighten(&name)?;
        done.push(format!(
            "{} had mode {mode:04o}; now only its owner can reach it",
            place(&dir, &name)
        ));
    }
    for name in dir
        .names()?
        .into_iter()
        .filter(|name| fs::is_temporary(name))
    {
        if dir.remove(&lock, &name)? {
            done.push(format!(
                "{} was left behind by a process that was killed; removed",
                place(&dir, &name)
            ));
        }
    }
    Ok(done)
}

fn examine_files(dir: &Dir) -> Result<Vec<Check>> {
    let mut modes: Vec<Check> = loose(dir)?
        .into_iter()
        .map(|(name, mode)| {
            let message = format!(
                "{} has mode {mode:04o}; other users may reach it",
                place(dir, &name)
            );
            fail("modes", message, FIX)
        })
        .collect();
    let (mut owners, mut temporary, mut others) = (Vec::new(), Vec::new(), Vec::new());
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
        if fs::is_temporary(&name) {
            temporary.push(fail(
                "temporary_files",
                format!(
                    "{} was left behind by a process that was killed",
                    place(dir, &name)
                ),
                FIX,
            ));
        } else if name != "." && !is_ours(&name) {
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
    if temporary.is_empty() {
        temporary.push(pass("temporary_files", "none left behind".to_owned()));
    }
    Ok(modes
        .into_iter()
        .chain(owners)
        .chain(temporary)
        .chain(others)
        .collect())
}

/// Our files, and the directory itself, that somebody but the owner has rights to.
fn loose(dir: &Dir) -> Result<Vec<(String, u32)>> {
    let mut loose = Vec::new();
    for name in dir
        .names()?
        .into_iter()
        .filter(|name| is_ours(name))
        .chain([".".to_owned()])
    {
        if let Some(look) = dir.look(&name)?
            && (look.is_file || name == ".")
            && look.mode & 0o077 != 0
        {
            loose.push((name, look.mode));
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
            if origin != Origin::Keychain
                && let Err(error) = crate::envelope::check_passphrase(&secret)
            {
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
                // Removing is for the person to decide; only what has an id can be removed by it.
                let id = KeyId::from_file_name(&name);
                let hint = id.map(|id| {
                    format!(
                        "restore {} from a backup, or: lf keys remove -- {id}",
                        shown(&name)
                    )
                });
                checks.push(Check {
                    id: "envelopes",
                    status: Status::Fail,
                    message: error.to_string(),
                    hint,
                });
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

fn examine_audit_log(dir: &Dir) -> Check {
    match dir.look(audit::FILE) {
        Ok(Some(look)) if look.is_symlink || !look.is_file => fail(
            "audit_log",
            format!(
                "{} is not a regular file; nothing is logged",
                place(dir, audit::FILE)
            ),
            "remove it",
        ),
        Ok(_) if !dir.can_append(audit::FILE) => fail(
            "audit_log",
            format!(
                "{} cannot be written; nothing is logged",
                place(dir, audit::FILE)
            ),
            "make the file and its directory writable for yourself",
        ),
        Ok(Some(look)) => pass("audit_log", format!("{} bytes", look.size)),
        Ok(None) => pass("audit_log", "nothing logged yet".to_owned()),
        Err(error) => failed("audit_log", &error),
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
