//! Does the configured passphrase open every key?

use super::{Check, fail, failed, note, pass, place, quoted};
use crate::base::pool;
use crate::base::secret::{Secret, shown};
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;
use crate::vault::master::passphrase::{self, Origin};
use crate::vault::master::rekey::Realm;
use crate::vault::master::staging;
use crate::vault::predecessor::{self, Found, Remain};
use crate::vault::store;

/// The passphrase and where it is from, if there is one to choose.
pub(super) fn examine_passphrase(realm: &Realm<'_>) -> (Option<(Secret, Origin)>, Vec<Check>) {
    let (chosen, mut checks) = choose(realm);
    let left = realm.state.map(predecessor::find).transpose();
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

fn choose(realm: &Realm<'_>) -> (Option<(Secret, Origin)>, Vec<Check>) {
    let given = match passphrase::from_environment(realm.sources) {
        Ok(given) => given,
        Err(error) => return (None, vec![failed("passphrase", &error)]),
    };
    let (keychain, chosen) = match given {
        Some(given) if realm.sources.force => (
            note(
                "keychain",
                "not asked: LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1".to_owned(),
            ),
            Ok(given),
        ),
        given => {
            let kept = passphrase::from_keychain(realm.keychain);
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
            (Some((secret, origin)), checks)
        }
        Err(error) => (None, vec![keychain, failed("passphrase", &error)]),
    }
}

/// Is a change of the master passphrase under way?
pub(super) fn examine_rekey(dir: &Dir, master: Option<&(Secret, Origin)>) -> Result<Vec<Check>> {
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
    let origin = master.map(|(_, origin)| origin);
    checks.push(match (is_at_work, staging::is_ready(&waiting)?, origin) {
        (true, _, _) => note(
            "rekey",
            "the master passphrase is being changed right now".to_owned(),
        ),
        (false, false, _) => fail(
            "rekey",
            "a change of the master passphrase was cut short; every key opens as before".to_owned(),
            FINISH,
        ),
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

/// The envelopes that can be read, and what is to say of the others.
pub(super) fn read_envelopes(dir: &Dir) -> Result<(Vec<Envelope>, Vec<Check>)> {
    let (mut good, mut checks): (Vec<Envelope>, Vec<Check>) = (Vec::new(), Vec::new());
    for (name, read) in store::envelopes(dir)? {
        match read {
            Ok(Some(envelope)) => good.push(envelope),
            Ok(None) => {}
            Err(error) => {
                let path = place(dir, &name);
                // Removing is for the person to decide; only what has an id can be removed by it.
                let hint = match (&error, KeyId::from_file_name(&name)) {
                    (Error::Permission { .. }, _) => format!("chmod 600 {}", quoted(&path)),
                    (Error::CorruptEnvelope { .. }, Some(id)) => {
                        format!("lf keys restore FILE, from a backup, or: lf keys remove -- {id}")
                    }
                    _ => format!("look at it, and then: rm {}", quoted(&path)),
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
    Ok((good, checks))
}

/// Does each open?
pub(super) fn examine_envelopes(
    dir: &Dir,
    good: &[Envelope],
    passphrase: Option<&Secret>,
    previous: impl FnOnce() -> Option<Secret>,
    mut progress: impl FnMut(usize, usize),
) -> Vec<Check> {
    let mut checks = Vec::new();
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
        return checks;
    };
    let open = |envelope: &Envelope| {
        let id = &envelope.meta.id;
        envelope.open(passphrase).map(drop).or_else(|error| {
            let waiting = staging::open_waiting(dir, &id.file_name(), id, passphrase)?;
            waiting.map(drop).ok_or(error)
        })
    };
    let opened = pool::each(good, open, |done| progress(done, good.len()));
    let previous = if opened.iter().any(Result::is_err) {
        previous()
    } else {
        None
    };
    let none_opens = opened.iter().all(Result::is_err);
    let opens_with_previous = |envelope: &Envelope| {
        let previous = previous.as_ref();
        previous.is_some_and(|previous| envelope.open(previous).is_ok())
    };
    let shut: Vec<Check> = good
        .iter()
        .zip(opened)
        .filter_map(|(envelope, opened)| opened.err().map(|error| (envelope, error)))
        .map(|(envelope, error)| {
            let hint = if opens_with_previous(envelope) {
                format!("it is under the one before, which the keychain still has: lf keys rotate -- {}", envelope.meta.id)
            } else if none_opens {
                "the passphrase may be another one: lf keys recovery import, or lf keys init --help".to_owned()
            } else {
                format!("restore it from a backup (lf keys restore FILE), or give it a new value: lf keys update --rotate -- {}", envelope.meta.id)
            };
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
    checks
}
