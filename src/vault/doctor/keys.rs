//! Does the configured passphrase open every key?

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Check, fail, failed, note, pass, pass_unless_found, place, quoted};
use crate::base::{
    Timestamp, pool::Progress, shown, text::count, text::count_are, text::opens_none,
};
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::{environment::Sources, fs::Dir};
use crate::vault::{KeyId, KeyMeta, Master, Record, master::record, master::source};
use crate::vault::{Opens, Origin, Survey, master::rekey, master::rekey::FINISH, master::staging};
use crate::vault::{envelope, files, predecessor, predecessor::Found};

/// The passphrase and where it is from, if there is one to choose.
pub(super) fn examine_passphrase(
    keys: &Path,
    sources: &Sources,
    keychain: &Keychain,
    checks: &mut Vec<Check>,
) -> Option<Master> {
    let found = source::from_environment(sources).and_then(|given| {
        checks.push(match given {
            Some(_) if sources.force => {
                note("keychain", "not asked: LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1")
            }
            given => match record::present(keychain) {
                Ok(Some(_)) => pass("keychain", "it answers, and has a master passphrase"),
                Ok(None) => pass("keychain", "it answers, and has no master passphrase"),
                Err(error) if given.is_some() => note("keychain", error.to_string()),
                Err(error) => failed("keychain", &error),
            },
        });
        source::find(sources, keychain)
    });
    match &found {
        Ok(master) => {
            checks.push(pass("passphrase", format!("from {}", &master.origin)));
            if let Err(error) = envelope::check_passphrase(&master.secret) {
                let hint = "lf keys rekey, which gives every key a longer one";
                checks.push(fail("passphrase", error.to_string(), hint));
            }
        }
        Err(Error::PassphraseMissing) if files::has_keys(keys) => {
            checks.push(failed("passphrase", &Error::PassphraseLost));
        }
        Err(error) => checks.push(failed("passphrase", error)),
    }
    found.ok()
}

/// Has the predecessor left secrets in the clear?
pub(super) fn examine_predecessor(roots: &[PathBuf], checks: &mut Vec<Check>) -> Result<()> {
    let left = predecessor::find(roots)?;
    for (left, remain) in left.iter().flat_map(|left| predecessor::ALL.map(|it| (left, it))) {
        let (path, [_, _, what]) = (left.path(remain).display().to_string(), remain.names());
        let message = match left.read(remain) {
            Ok(None) => continue,
            Ok(Some(Found::Secret(_))) => format!("{path} holds {what} in the clear"),
            Ok(Some(Found::Erased)) => format!("{path} held {what}, and is already overwritten"),
            Err(error) => {
                let hint = format!("look at it; then rm -r {}", quoted(&path));
                checks.push(fail("plaintext_passphrase", error.to_string(), &hint));
                continue;
            }
        };
        checks.push(fail("plaintext_passphrase", message, "lf keys adopt"));
    }
    Ok(())
}

/// Is a change of the master passphrase under way?
pub(super) fn examine_rekey(
    dir: &Dir,
    master: Option<&Master>,
    checks: &mut Vec<Check>,
) -> Result<()> {
    let waiting = match staging::of(dir) {
        Ok(Some(waiting)) => waiting,
        Ok(None) => {
            checks.push(pass("rekey", "no change of the master passphrase is unfinished"));
            return Ok(());
        }
        Err(error) => {
            let path = quoted(&place(dir, staging::NAME));
            let hint = format!("look at it; then rm -r {path}");
            checks.push(fail("rekey", error.to_string(), &hint));
            return Ok(());
        }
    };
    for name in waiting.names()? {
        let is_whole = match KeyId::from_file_name(&name) {
            Some(id) => files::read_sound(&waiting, &id).is_ok_and(|read| read.is_some()),
            None => staging::is_own(&name),
        };
        if !is_whole {
            let place = place(&waiting, &name);
            checks.push(fail(
                "rekey",
                format!("{place} is not part of a change of the master passphrase"),
                "lf keys rekey --finish, or with the old passphrase: lf keys rekey --undo",
            ));
        }
    }
    let is_at_work = waiting.try_lock()?.is_none();
    let waits_for_keychain = staging::id(&waiting)?.is_some();
    let origin = master.map(|master| &master.origin).filter(|_| !waits_for_keychain);
    checks.push(match (is_at_work, staging::is_ready(&waiting), origin) {
        (true, _, _) => note("rekey", "the master passphrase is being changed right now"),
        (false, false, _) => fail(
            "rekey",
            "a change of the master passphrase was interrupted; every key opens as before",
            FINISH,
        ),
        (false, true, None | Some(Origin::Keychain))
            if master.is_some_and(|master| !rekey::can_finish(dir.path(), master)) =>
        {
            fail(
                "rekey",
                "a change of the master passphrase was begun, but its new passphrase is lost; every key opens as before",
                "lf keys rekey --undo",
            )
        }
        (false, true, None | Some(Origin::Keychain)) => fail(
            "rekey",
            "a change of the master passphrase was interrupted after everything was re-encrypted",
            FINISH,
        ),
        (false, true, Some(origin)) => note(
            "rekey",
            format!("every key exists under the old and the new master passphrase, until a command finds the new one in {origin}"),
        ),
    });
    Ok(())
}

/// Are the files envelopes, and does each open?
pub(super) fn examine_envelopes(
    dir: &Dir,
    master: Option<&Master>,
    record: &Record,
    tell: &Progress,
    checks: &mut Vec<Check>,
) -> Result<()> {
    let survey = Survey::of(dir, master.map(|master| &master.secret), record, tell)?;
    let total = survey.keys.len();
    examine_unreadable(dir, &survey, checks);
    examine_times(&survey, Timestamp::now(), checks);
    let Some(master) = master else {
        // Without a passphrase there is nothing to try, only to read.
        if total > 0 {
            let keys = count(total, "envelope");
            let message = format!("without a passphrase lf could not check {keys}");
            checks.push(fail("decryption", message, "lf keys recovery import"));
        }
        return Ok(());
    };
    for (at, known) in record.all().enumerate() {
        let is_under = |opens: &Opens| matches!(opens, Opens::Recorded(under) if *under == at);
        let labels = survey.that(is_under).map(|meta| shown(meta.label.as_str()));
        let labels: Vec<String> = labels.collect();
        if labels.is_empty() {
            continue;
        }
        let mut earlier = record.earlier.iter();
        let until = earlier
            .find(|earlier| earlier.passphrase.same(known))
            .and_then(|earlier| earlier.until)
            .map_or_else(String::new, |until| format!(", replaced {}", until.minute()));
        let message = format!(
            "{} under an earlier master passphrase{until}, which the keychain has on record: {}",
            count_are(labels.len(), "key"),
            labels.join(", ")
        );
        checks.push(fail("decryption", message, "lf keys rotate --all"));
    }
    const WRONG: &str =
        "if you have the right passphrase: lf keys recovery import, or correct it at its source";
    if survey.shut().len() == total && total > 1 {
        let (origin, opens) = (&master.origin, opens_none(total));
        let message = format!("the master passphrase from {origin} {opens}");
        checks.push(fail("decryption", message, WRONG));
    } else {
        for (meta, opens) in &survey.keys {
            if let Opens::No(error) = opens {
                let name = format!("{} \"{}\"", meta.provider, shown(meta.label.as_str()));
                let mut hint = format!(
                    "with a copy of the directory: lf keys remove -- {0} and lf keys restore DIR; without one: lf keys update --rotate -- {0}",
                    meta.id
                );
                if total == 1 {
                    hint = format!("{WRONG}; {hint}");
                }
                checks.push(fail("decryption", format!("{error} ({name})"), &hint));
            }
        }
    }
    pass_unless_found(checks, "decryption", format!("{total} of {total} open"));
    let aside = files::kept(dir, files::UNREADABLE)?.len();
    if aside > 0 {
        let (envelopes, place) = (count(aside, "envelope"), place(dir, files::UNREADABLE));
        let message = format!(
            "{envelopes} in {place}; lf keys recovery import brings back those that the sheet opens, and lf keys restore those that open now"
        );
        checks.push(note("unreadable", message));
    }
    for (_, kept) in files::kept(dir, files::REPLACED)? {
        let (meta, hint) = (kept.envelope.meta, "lf keys restore --replaced");
        let message = format!("lf keeps a value of {meta} that a paired page changed; {hint}");
        checks.push(note("replaced", message));
    }
    Ok(())
}

/// What is to say of the files that are no envelopes.
pub(super) fn examine_unreadable(dir: &Dir, survey: &Survey, checks: &mut Vec<Check>) {
    for file in &survey.unreadable {
        let path = place(dir, &file.name);
        // Removing is for the person to decide; only what has an id can be removed by it.
        let hint = match (&file.error, file.id()) {
            _ if file.copy_of.is_some() => {
                format!("lf keys restore -- {}", quoted(&place(dir, ".")))
            }
            (Error::Foreign { hint, .. }, _) => hint.clone(),
            (Error::Permission(..), _) => format!("chmod 600 {}", quoted(&path)),
            (Error::CorruptEnvelope { .. }, Some(id)) => format!(
                "lf keys remove -- {id}; then, with a copy of the directory: lf keys restore DIR"
            ),
            _ => format!("look at it; then rm {}", quoted(&path)),
        };
        checks.push(fail("envelopes", file.error.to_string(), &hint));
    }
    let total = survey.keys.len();
    pass_unless_found(checks, "envelopes", format!("{total} of {total} well formed"));
}

/// Notes the values that are expired, that soon will be, and that are old. They are used all the same.
fn examine_times(survey: &Survey, now: Timestamp, checks: &mut Vec<Check>) {
    let soon = now.after(SOON);
    let is_soon = |key: &KeyMeta| key.expires_by(soon) && !key.expires_by(now);
    let mut tell = |noun: &str, what: &str, is_meant: &dyn Fn(&KeyMeta) -> bool| {
        let keys = survey.keys.iter().map(|(key, _)| key).filter(|key| is_meant(key));
        let labels: Vec<String> = keys.map(|key| shown(key.label.as_str())).collect();
        if !labels.is_empty() {
            let keys = count_are(labels.len(), noun);
            checks.push(note("age", format!("{keys} {what}: {}", labels.join(", "))));
        }
    };
    tell("value", "expired", &|key| key.expires_by(now));
    tell("value", "about to expire, within 14 days", &is_soon);
    tell("value", "older than a year", &|key| key.is_older(YEAR, now));
    let what = "marked with a rotatedAt or expiresAt that is not a timestamp; lf ignores it";
    tell("key", what, &|key| key.has_odd_times);
    pass_unless_found(checks, "age", "no value has expired or is older than a year");
}

/// An expiry is told of this long before.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// A value that is older is called old.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
