//! `lf keys adopt`: the predecessor's plaintext secrets go where they belong, and off the disk.
//!
//! Each is erased only once it is where it belongs: in the keychain, from where it was read back; or, on
//! a machine without one, as the passphrase that the environment has, and as a token's digest in the
//! list of pairings. (tests/adopt.rs)

use crate::base::{Secret, printable, shell::quoted};
use crate::gateway::pairing::Pairings;
use crate::vault::{Master, Origin, Record, master::source, predecessor, predecessor::ALL};
use crate::vault::{predecessor::Found, predecessor::Remain, predecessor::Remains};

use super::master::{survey, take};
use super::{Context, Error, Result, Timestamp, confirm, host};

pub(super) fn run(context: &Context, yes: bool) -> Result<()> {
    context.settle()?;
    let found = predecessor::find(&context.environment.roots())?;
    if found.is_empty() {
        host::eprint("the predecessor left nothing in the clear; there is nothing to adopt\n");
        return Ok(());
    }
    let given = source::from_environment(&context.environment.passphrase)?;
    let given = given.map(|_| context.found_master()).transpose()?;
    for (left, remain) in found.iter().flat_map(|left| ALL.map(|remain| (left, remain))) {
        let done = match (left.read(remain)?, remain) {
            (None, _) => continue,
            (Some(Found::Erased), _) => "is already overwritten",
            (Some(Found::Secret(secret)), Remain::Passphrase) => match &given {
                None => passphrase(context, left, &secret)?,
                Some(given) => redundant(left, &secret, given)?,
            },
            (Some(Found::Secret(token)), Remain::Token) => {
                let (root, keychain) = (left.root.clone(), context.keychain.clone());
                let pairings = Pairings::at(root, &context.environment, keychain);
                match pairings.inherit(&token, Timestamp::now())? {
                    true => "is still valid",
                    false => "is no longer valid, and is dropped",
                }
            }
            (Some(Found::Secret(key)), Remain::Device) => device(context, left, &key, yes)?,
        };
        left.erase(remain)?;
        let [_, _, what] = remain.names();
        let path = printable(&left.path(remain).to_string_lossy());
        host::print(&format!("{what} {done}; {path} is overwritten and removed\n"))?;
    }
    Ok(())
}

/// Takes the passphrase into the keychain.
fn passphrase(context: &Context, left: &Remains, secret: &Secret) -> Result<&'static str> {
    let path = left.path(Remain::Passphrase).display().to_string();
    let record = Record::read(&context.keychain).map_err(|error| match error {
        Error::KeychainUnavailable(reason) => Error::KeychainUnavailable(format!(
            "{reason}; nothing was removed. Without a keychain, move {path} to a place where only you can read it (chmod 600), name it in LENSERFIGHT_KEYS_PASSPHRASE_FILE, and run lf keys adopt again for the rest"
        )),
        error => error,
    })?;
    if !record.has(secret) {
        let survey = survey(context, secret, &record)?;
        let (opens, total) = (survey.opened(), survey.keys.len());
        if opens == 0 && (total > 0 || record.present.is_some()) {
            let reason = format!(
                "the passphrase in {path} opens none of {total} keys, and the keychain has another one or none"
            );
            return Err(refused(&reason, "lf keys doctor".to_owned()));
        }
        take(context, &record, &survey, secret)?;
        host::eprint(&format!("it opens {opens} of {total} keys\n"));
    }
    Ok("is in the keychain")
}

/// Makes sure that the environment has the same passphrase, and not from this very file.
fn redundant(left: &Remains, secret: &Secret, given: &Master) -> Result<&'static str> {
    let (path, origin) = (left.path(Remain::Passphrase), &given.origin);
    let may_be_it = match origin {
        Origin::Variable => false,
        Origin::File(file) => left.is(Remain::Passphrase, file)?,
        _ => true,
    };
    let shown = path.display();
    let reason = match (secret.same(&given.secret), may_be_it) {
        (true, false) => return Ok("is the same as in the environment"),
        (true, true) => format!("{origin} may be where lf reads the passphrase in {shown}"),
        (false, _) => format!("{shown} has another passphrase than {origin}"),
    };
    let typed = quoted(&path.to_string_lossy());
    let hint = format!("move it to a file of your own; or, if nothing needs it: rm {typed}");
    Err(refused(&reason, hint))
}

/// Takes the device's key into the keychain; drops it where there is none, if a person agrees.
fn device(context: &Context, left: &Remains, key: &Secret, yes: bool) -> Result<&'static str> {
    let [service, account, _] = Remain::Device.names();
    let (path, keychain) = (left.path(Remain::Device).display().to_string(), &context.keychain);
    match keychain.find(service, account) {
        Ok(Some(_)) => {}
        Ok(None) => keychain.store(service, account, key)?,
        Err(error) if !keychain.is_absent() => return Err(error),
        Err(_) => {
            let question = format!(
                "{path} holds the private key of the device. Without a keychain lf cannot keep it; only full mode and the predecessor use it. lf removes it for good, unless you move it elsewhere first."
            );
            confirm(&question, yes, "lf keys adopt --yes")?;
            return Ok("is dropped, because there is no keychain");
        }
    }
    if !keychain.find(service, account)?.is_some_and(|there| there.same(key)) {
        let reason = format!("the keychain has another key of the device than {path}");
        let hint = format!("if you use the one in the keychain: rm {}", quoted(&path));
        return Err(refused(&reason, hint));
    }
    Ok("is in the keychain")
}

fn refused(reason: &str, hint: String) -> Error {
    Error::Refused { sentence: format!("{reason}; it was not removed"), hint }
}
