//! Envelopes under the next master passphrase, which wait beside the present ones to take their place.
//!
//! They lie in `.rekey`, a directory in that of the present ones, under the same names. Once a file
//! `ready` is there too, all of them are, and have been opened: from then on the change goes forward.
//! Until then it can only be undone. Whoever changes passphrases holds the lock on `.rekey`
//! (src/rekey/).

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir, Locked, Publish};
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;

/// The directory's name.
pub const NAME: &str = ".rekey";

/// The envelopes that wait beside those in `dir`, complete or not.
///
/// # Errors
/// As [`Dir::child`].
pub fn of(dir: &Dir) -> Result<Option<Dir>> {
    dir.child(NAME)
}

/// Those that wait, if they are complete.
///
/// # Errors
/// As [`Dir::child`].
pub fn ready(dir: &Dir) -> Result<Option<Dir>> {
    match of(dir)? {
        Some(waiting) if is_ready(&waiting)? => Ok(Some(waiting)),
        Some(_) | None => Ok(None),
    }
}

/// As [`ready`], to be changed under the lock on the present ones.
///
/// # Errors
/// As [`Dir::child`].
pub fn ready_covered(dir: &Locked) -> Result<Option<Locked>> {
    match dir.covered_child(NAME)? {
        Some(waiting) if is_ready(&waiting)? => Ok(Some(waiting)),
        Some(_) | None => Ok(None),
    }
}

/// Are all of them here?
///
/// # Errors
/// As [`Dir::look`].
pub fn is_ready(waiting: &Dir) -> Result<bool> {
    Ok(waiting.look(READY)?.is_some())
}

/// Says that all of them are here.
///
/// # Errors
/// As [`Locked::publish`].
pub fn declare(waiting: &Locked) -> Result<()> {
    waiting.publish(READY, b"", Publish::Replacement)
}

/// Takes that back.
///
/// # Errors
/// As [`Locked::remove`].
pub fn retract(waiting: &Locked) -> Result<()> {
    waiting.remove(READY).map(drop)
}

/// Decrypts an envelope of this directory. Where the passphrase is already the next one, that is the
/// envelope that waits: a change that was cut short keeps nobody from a key.
/// (tests/rekey.rs: `whoever_has_the_passphrase_of_the_moment_reads_every_key`)
///
/// `None` if there is no such file.
///
/// # Errors
/// [`Error::CorruptEnvelope`], [`Error::DecryptionFailed`], what reading says.
pub fn open(dir: &Dir, file: &str, id: &KeyId, passphrase: &Secret) -> Result<Option<Secret>> {
    let Some(bytes) = dir.read(file, envelope::MAX_FILE)? else {
        return Ok(None);
    };
    let opened = Envelope::parse(&bytes, id)?.open(passphrase);
    if !matches!(opened, Err(Error::DecryptionFailed(_))) {
        return opened.map(Some);
    }
    if let Some(value) = open_waiting(dir, file, id, passphrase)? {
        return Ok(Some(value));
    }
    // It may have taken its place while we looked.
    match dir.read(file, envelope::MAX_FILE)? {
        Some(now) if now != bytes => Envelope::parse(&now, id)?.open(passphrase).map(Some),
        Some(_) => opened.map(Some),
        None => Ok(None),
    }
}

/// Decrypts the envelope that waits for this one's place; `None` if there is none, or it does not open.
///
/// # Errors
/// What reading says.
pub fn open_waiting(
    dir: &Dir,
    file: &str,
    id: &KeyId,
    passphrase: &Secret,
) -> Result<Option<Secret>> {
    let Some(waiting) = of(dir)? else {
        return Ok(None);
    };
    let envelope = read(&waiting, file, id)?;
    Ok(envelope.and_then(|envelope| envelope.open(passphrase).ok()))
}

/// One of those that wait; `None` if it is not there, or damaged.
///
/// # Errors
/// What reading says.
pub fn read(waiting: &Dir, file: &str, id: &KeyId) -> Result<Option<Envelope>> {
    let bytes = waiting.read(file, envelope::MAX_FILE)?;
    Ok(bytes.and_then(|bytes| Envelope::parse(&bytes, id).ok()))
}

/// Is this a name that a change uses beside those of envelopes?
#[must_use]
pub fn is_own(name: &str) -> bool {
    name == READY || fs::is_temporary(name)
}

const READY: &str = "ready";
