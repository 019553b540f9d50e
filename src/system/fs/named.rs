//! Files that the user names, anywhere: a passphrase's, a backup's. Links are followed there, because
//! systemd, Kubernetes and people use them.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Dir, OPEN, platform};
use crate::error::{Error, Result};

/// Reads a secret's file, of at most `limit` bytes; a pipe will do, but nobody outside the owner and
/// group may have any right to it. `None` if there is none.
pub(crate) fn read_private(path: &Path, limit: usize) -> Result<Option<Vec<u8>>> {
    let failed = |error| Error::from_io("read the passphrase file", path, error);
    let unfit = |fault: String| {
        let sentence = format!("the passphrase file {} {fault}", path.display());
        Err(Error::PassphraseInvalid(sentence))
    };
    let (file, is_exposed) = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    if is_exposed {
        return unfit(format!("can be reached by other users; {CLOSE} first"));
    }
    let bytes = read(file, 0, limit).map_err(failed)?;
    if bytes.len() > limit {
        return unfit(format!("has more than {limit} bytes"));
    }
    Ok(Some(bytes))
}

/// The first `limit` + 1 bytes of a file, or of a pipe, so that the caller sees when there are more;
/// and whether users outside the file's owner and group can reach it.
pub(crate) fn read_exposed(path: &Path, limit: usize) -> Result<(Vec<u8>, bool)> {
    open(path)
        .and_then(|(file, is_exposed)| Ok((read(file, 0, limit)?, is_exposed)))
        .map_err(|error| Error::from_io("read", path, error))
}

fn open(path: &Path) -> io::Result<(File, bool)> {
    let file = File::open(path)?;
    let is_exposed = platform::others_can_reach(&file)?;
    Ok((file, is_exposed))
}

/// The first `limit` + 1 bytes of what has about this size, for which there is room from the start.
pub(crate) fn read(file: File, size: u64, limit: usize) -> io::Result<Vec<u8>> {
    let expected = usize::try_from(size).unwrap_or(limit).min(limit);
    let mut bytes = Vec::with_capacity(expected + 1);
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The nearest file of this name in the working directory or above it.
pub(crate) fn find_above(name: &str) -> Result<Option<PathBuf>> {
    let failed = |error| Error::from_io(OPEN, ".".as_ref(), error);
    let here = fs::canonicalize(".").map_err(failed)?;
    Ok(here.ancestors().map(|dir| dir.join(name)).find(|path| path.is_file()))
}

/// Makes a file with one line that only its owner can read, and the directories above it; returns its
/// absolute path. Nothing that is there is replaced: [`Error::DuplicateKey`].
pub(crate) fn create_private(path: &Path, line: &str) -> Result<PathBuf> {
    let failed = |error| Error::from_io("write", path, error);
    let path = std::path::absolute(path).map_err(failed)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| failed(ErrorKind::InvalidFilename.into()))?;
    let text = zeroize::Zeroizing::new(format!("{line}\n"));
    let parent = parent(&path);
    let dir = open_named(parent)?.map_or_else(|| Dir::create(parent), Ok)?;
    dir.lock()?.publish(name, text.as_bytes(), super::Publish::New).map(|()| path.clone())
}

/// Is this file, there or not, in this very directory?
pub(crate) fn is_below(path: &Path, dir: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    real(parent(path)).is_some_and(|parent| Some(parent) == real(dir))
}

/// Where a path leads, without links; as it is where it does not exist.
pub(crate) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A directory that the user names, wherever links lead; `None` if there is none.
pub(crate) fn open_named(path: &Path) -> Result<Option<Dir>> {
    match fs::canonicalize(path) {
        Ok(real) => Dir::open(&real),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from_io(OPEN, path, error)),
    }
}

/// What keeps other users from a file.
pub(crate) const CLOSE: &str =
    if cfg!(windows) { "run icacls FILE /inheritance:r /grant:r USER:F" } else { "chmod 600 it" };

/// The directory that a path names its last part in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
