//! `.rekey`: the directory in which a store's envelopes wait under its next master passphrase.
//!
//! | file        | says                                                                             |
//! |-------------|----------------------------------------------------------------------------------|
//! | `id`        | the name under which the keychain has this change's next passphrase; none where the passphrase comes from the environment |
//! | `<id>.json` | a key's envelope under the next passphrase; it will take the place of the present one |
//! | `ready`     | all of them are here and have been opened: from now on the change goes forward. It lists their names |
//!
//! Whoever makes, finishes or undoes a change holds the lock on `.rekey` ([`super::rekey`]).

use std::path::Path;

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir, Locked, Publish};
use crate::vault::{files, key::KeyId};

/// The directory's name.
pub(crate) const NAME: &str = ".rekey";

/// The staging directory in `dir`, complete or not.
pub(crate) fn of(dir: &Dir) -> Result<Option<Dir>> {
    dir.child(NAME)
}

/// The directory of keys and the staging directory in it, if both are there.
pub(crate) fn at(keys: &Path) -> Result<Option<(Dir, Dir)>> {
    let Some(dir) = Dir::open(keys)? else { return Ok(None) };
    Ok(of(&dir)?.map(|staging| (dir, staging)))
}

/// The staging directory, if everything is staged; to be changed under the lock on the keys' directory.
pub(crate) fn ready(dir: &Locked) -> Result<Option<Locked>> {
    let staging = dir.covered_child(NAME)?;
    Ok(staging.filter(|staging| is_ready(staging)))
}

/// Is everything staged? What cannot be looked at is taken to be, because only what is not staged may be
/// thrown away.
pub(crate) fn is_ready(staging: &Dir) -> bool {
    staging.stat(READY).map_or(true, |stat| stat.is_some_and(|stat| stat.is_file))
}

/// Says that the envelopes of these keys, and no others, take the place of the present ones.
pub(crate) fn declare(staging: &Locked, keys: &[KeyId]) -> Result<()> {
    let names: Vec<String> = keys.iter().map(KeyId::file_name).collect();
    staging.publish(READY, names.join("\n").as_bytes(), Publish::Replacement)
}

/// Takes that back.
pub(crate) fn retract(staging: &Locked) -> Result<()> {
    if is_ready(staging) {
        staging.remove(READY)?;
    }
    Ok(())
}

/// The files of the envelopes that were declared; none in a change of the first version of lf.
pub(crate) fn declared(staging: &Dir) -> Result<Vec<String>> {
    let text = staging.read(READY, MAX_LIST)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// The change's name; `None` for one whose passphrase comes from the environment, for one of the first
/// version of lf, and where the name is damaged, so that its passphrase cannot be found anyway.
pub(crate) fn id(staging: &Dir) -> Result<Option<String>> {
    let bytes = staging.read(ID, MAX_ID).unwrap_or_default();
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_id = |bytes: &Vec<u8>| (1..=MAX_ID).contains(&bytes.len()) && bytes.iter().all(is_fit);
    Ok(bytes.filter(is_id).and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// The keys that have a file here: in the directory of keys or staged.
pub(crate) fn keys(dir: &Dir) -> Result<Vec<KeyId>> {
    Ok(dir.names()?.iter().filter_map(|name| KeyId::from_file_name(name)).collect())
}

/// Decrypts an envelope of this directory, or the staged one where the passphrase is already the next
/// one: a change that was cut short keeps nobody from a key.
/// (tests/rekey.rs: `whoever_has_the_passphrase_of_the_moment_reads_every_key`)
///
/// `None` if there is no such file.
pub(crate) fn open(dir: &Dir, id: &KeyId, passphrase: &Secret) -> Result<Option<Secret>> {
    let Some(before) = files::read(dir, id)? else { return Ok(None) };
    let opened = before.envelope.open(passphrase);
    if !matches!(opened, Err(Error::DecryptionFailed(_))) {
        return opened.map(Some);
    }
    if let Some(value) = open_staged(dir, id, passphrase)? {
        return Ok(Some(value));
    }
    // It may have taken its place while we looked.
    match files::read(dir, id)? {
        Some(now) if now.bytes != before.bytes => now.envelope.open(passphrase).map(Some),
        Some(_) => opened.map(Some),
        None => Ok(None),
    }
}

/// Decrypts the staged envelope of a key; `None` if there is none, or it does not open.
pub(crate) fn open_staged(dir: &Dir, id: &KeyId, passphrase: &Secret) -> Result<Option<Secret>> {
    let Some(staging) = of(dir)? else { return Ok(None) };
    let envelope = files::read_sound(&staging, id)?;
    Ok(envelope.and_then(|envelope| envelope.open(passphrase).ok()))
}

/// Is this a name that a change uses beside those of envelopes?
pub(crate) fn is_own(name: &str) -> bool {
    name == READY || name == ID || fs::is_temporary(name)
}

/// The file that says that everything is staged.
pub(crate) const READY: &str = "ready";
/// The file that names the change.
pub(crate) const ID: &str = "id";
/// Bytes; an id has 16.
const MAX_ID: usize = 64;
/// Bytes; room for a hundred thousand names.
const MAX_LIST: usize = 8 * 1024 * 1024;
