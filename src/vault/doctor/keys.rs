//! Does the configured passphrase open every key?

use std::path::Path;

use super::{Check, fail, failed, note, pass, place, quoted};
use crate::base::secret::shown;
use crate::base::text::{count, opens_none};
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::envelope;
use crate::vault::files;
use crate::vault::key::{KeyId, KeyMeta};
use crate::vault::master::record::{self, Record};
use crate::vault::master::rekey::{self, Vault};
use crate::vault::master::source::{self, Master, Origin};
use crate::vault::master::staging;
use crate::vault::master::survey::{Opens, Survey};
use crate::vault::predecessor::{self, Found, Remain};

/// The passphrase and where it is from, if there is one to choose.
pub(super) fn examine_passphrase(
    vault: &Vault<'_>,
    state: Option<&Path>,
) -> (Option<Master>, Vec<Check>) {
    let (chosen, mut checks) = choose(vault);
    let left = state.map(predecessor::find).transpose();
    match left.map(Option::flatten) {
        Ok(None) => {}
        Ok(Some(left)) => checks.extend(
            [
                (Remain::Passphrase, "the master passphrase"),
                (Remain::Token, "the token of a paired browser"),
            ]
            .into_iter()
            .filter_map(|(remain, what)| {
                let path = left.path(remain).display().to_string();
                let (message, hint) = match left.read(remain) {
                    Ok(None) => return None,
                    Ok(Some(Found::Secret(_))) => (
                        format!("{path} holds {what} in the clear"),
                        "lf keys adopt".to_owned(),
                    ),
                    Ok(Some(Found::Erased)) => (
                        format!("{path} held {what}, and is overwritten already"),
                        "lf keys adopt".to_owned(),
                    ),
                    Err(error) => (
                        error.to_string(),
                        format!("look at it, and then: rm -r {}", quoted(&path)),
                    ),
                };
                Some(fail("plaintext_passphrase", message, &hint))
            }),
        ),
        Err(error) => checks.push(failed("plaintext_passphrase", &error)),
    }
    (chosen, checks)
}

fn choose(vault: &Vault<'_>) -> (Option<Master>, Vec<Check>) {
    let given = match source::from_environment(vault.sources) {
        Ok(given) => given,
        Err(error) => return (None, vec![failed("passphrase", &error)]),
    };
    let mut checks = Vec::new();
    if given.is_some() && vault.sources.force {
        checks.push(note(
            "keychain",
            "not asked: LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1".to_owned(),
        ));
    } else {
        checks.push(match (record::present(vault.keychain), &given) {
            (Ok(Some(_)), _) => pass(
                "keychain",
                "it answers, and has a master passphrase".to_owned(),
            ),
            (Ok(None), _) => pass(
                "keychain",
                "it answers, and has no master passphrase".to_owned(),
            ),
            (Err(error), Some(_)) => note("keychain", error.to_string()),
            (Err(error), None) => failed("keychain", &error),
        });
    }
    match source::find(vault.sources, vault.keychain) {
        Ok(master) => {
            checks.push(pass("passphrase", format!("from {}", master.origin())));
            if let Err(error) = envelope::check_passphrase(master.secret()) {
                let hint = "lf keys rekey, which gives every key a longer one";
                checks.push(fail("passphrase", error.to_string(), hint));
            }
            (Some(master), checks)
        }
        Err(Error::PassphraseMissing) if files::has_keys(vault.keys) => {
            checks.push(failed("passphrase", &Error::PassphraseLost));
            (None, checks)
        }
        Err(error) => {
            checks.push(failed("passphrase", &error));
            (None, checks)
        }
    }
}

/// Is a change of the master passphrase under way?
pub(super) fn examine_rekey(dir: &Dir, master: Option<&Master>) -> Result<Vec<Check>> {
    const FINISH: &str = "lf keys rekey --finish";
    let waiting = match staging::of(dir) {
        Ok(Some(waiting)) => waiting,
        Ok(None) => {
            let message = "no change of the master passphrase is unfinished".to_owned();
            return Ok(vec![pass("rekey", message)]);
        }
        Err(error) => {
            let hint = format!(
                "look at it, and then: rm -r {}",
                quoted(&place(dir, staging::NAME))
            );
            return Ok(vec![fail("rekey", error.to_string(), &hint)]);
        }
    };
    let mut checks = Vec::new();
    for name in waiting.names()? {
        let is_whole = match KeyId::from_file_name(&name) {
            Some(id) => staging::read(&waiting, &name, &id).is_ok_and(|read| read.is_some()),
            None => staging::is_own(&name),
        };
        if !is_whole {
            checks.push(fail(
                "rekey",
                format!(
                    "{} is not what a change of the master passphrase puts there",
                    place(&waiting, &name)
                ),
                "lf keys rekey --finish, or with the old passphrase: lf keys rekey --undo",
            ));
        }
    }
    let is_at_work = waiting.try_lock()?.is_none();
    let waits_for_keychain = staging::id(&waiting)?.is_some();
    let origin = master.map(Master::origin).filter(|_| !waits_for_keychain);
    checks.push(match (is_at_work, staging::is_ready(&waiting), origin) {
        (true, _, _) => note(
            "rekey",
            "the master passphrase is being changed right now".to_owned(),
        ),
        (false, false, _) => fail(
            "rekey",
            "a change of the master passphrase was cut short; every key opens as before".to_owned(),
            FINISH,
        ),
        (false, true, None | Some(Origin::Keychain))
            if master.is_some_and(|master| !rekey::can_finish(dir.path(), master)) =>
        {
            fail(
                "rekey",
                "a change of the master passphrase is staged here, and its new passphrase is nowhere; every key opens as before".to_owned(),
                "lf keys rekey --undo",
            )
        }
        (false, true, None | Some(Origin::Keychain)) => fail(
            "rekey",
            "a change of the master passphrase was cut short, after everything was re-encrypted".to_owned(),
            FINISH,
        ),
        (false, true, Some(origin)) => note(
            "rekey",
            format!("everything is there under the old and the new master passphrase, until a command finds the new one in {origin}"),
        ),
    });
    Ok(checks)
}

/// Are the files envelopes, and does each open?
pub(super) fn examine_envelopes(
    dir: &Dir,
    master: Option<&Master>,
    record: &Record,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Check>> {
    let Some(master) = master else {
        // Without a passphrase there is nothing to try, only to read.
        let survey = Survey::of(dir, None, &Record::default(), progress)?;
        let mut checks = unreadable(dir, &survey);
        if !survey.keys.is_empty() {
            let keys = count(survey.keys.len(), "envelope");
            let message = format!("{keys} could not be checked without a passphrase");
            checks.push(fail("decryption", message, "lf keys recovery import"));
        }
        return Ok(checks);
    };
    let survey = Survey::of(dir, Some(master.secret()), record, progress)?;
    let mut checks = unreadable(dir, &survey);
    let total = survey.keys.len();
    for (at, known) in record.all().enumerate() {
        let under: Vec<&KeyMeta> = survey
            .keys
            .iter()
            .filter(|(_, _, opens)| matches!(opens, Opens::Recorded(under) if *under == at))
            .map(|(_, meta, _)| meta)
            .collect();
        if under.is_empty() {
            continue;
        }
        let earlier = record
            .earlier
            .iter()
            .find(|earlier| earlier.passphrase.same(known));
        let until = earlier.and_then(|earlier| earlier.until);
        let until = until.map_or_else(String::new, |until| {
            format!(", replaced {}", until.minute())
        });
        let names = under.iter().map(|meta| shown(meta.label.as_str()));
        let message = format!(
            "{} under an earlier master passphrase{until}, which the keychain has on record: {}",
            count_are(under.len()),
            names.collect::<Vec<_>>().join(", ")
        );
        checks.push(fail("decryption", message, "lf keys rotate --all"));
    }
    let shut = survey.shut().count();
    const WRONG: &str =
        "if it is another passphrase: lf keys recovery import, or correct it where it is from";
    if shut == total && total > 1 {
        let message = format!(
            "the master passphrase from {} {}",
            master.origin(),
            opens_none(total)
        );
        checks.push(fail("decryption", message, WRONG));
    } else {
        for (_, meta, opens) in &survey.keys {
            if let Opens::No(error) = opens {
                let name = format!("{} \"{}\"", meta.provider, shown(meta.label.as_str()));
                let mut hint = format!(
                    "if a copy of the directory has it: lf keys remove -- {0} and lf keys restore DIR; or give it a new value: lf keys update --rotate -- {0}",
                    meta.id
                );
                if total == 1 {
                    hint = format!("{WRONG}; {hint}");
                }
                checks.push(fail("decryption", format!("{error} ({name})"), &hint));
            }
        }
    }
    if survey.opened() == total {
        checks.push(pass("decryption", format!("{total} of {total} open")));
    }
    let aside = files::kept_aside(dir)?.len();
    if aside > 0 {
        let message = format!(
            "{} kept aside in {}; lf keys recovery import brings back what its sheet opens, and lf keys restore what opens by now",
            count(aside, "envelope"),
            place(dir, files::UNREADABLE)
        );
        checks.push(note("unreadable", message));
    }
    Ok(checks)
}

fn count_are(number: usize) -> String {
    let are = if number == 1 { "is" } else { "are" };
    format!("{} {are}", count(number, "key"))
}

/// What is to say of the files that are no envelopes.
fn unreadable(dir: &Dir, survey: &Survey) -> Vec<Check> {
    let mut checks = Vec::new();
    for file in &survey.unreadable {
        let path = place(dir, &file.name);
        // Removing is for the person to decide; only what has an id can be removed by it.
        let hint = match (&file.error, KeyId::from_file_name(&file.name)) {
            (Error::Permission { .. }, _) => format!("chmod 600 {}", quoted(&path)),
            (Error::CorruptEnvelope { .. }, Some(id)) => {
                format!(
                    "lf keys remove -- {id}, and then, if there is a copy of the directory: lf keys restore DIR"
                )
            }
            _ => format!("look at it, and then: rm {}", quoted(&path)),
        };
        checks.push(fail("envelopes", file.error.to_string(), &hint));
    }
    if checks.is_empty() {
        let total = survey.keys.len();
        checks.push(pass("envelopes", format!("{total} of {total} well formed")));
    }
    checks
}
