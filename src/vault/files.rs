//! The files of a keys directory: which are keys, and those that are kept aside below it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::secret::shown;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;

/// A file that is named like a key and cannot be read as one.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The file's name.
    pub(crate) name: String,
    /// Why not.
    pub(crate) error: Error,
}

/// Is there a file that is a key or is named like one?
pub(crate) fn has_keys(path: &Path) -> bool {
    let names = || names(&Dir::open(path).ok()??).ok();
    names().is_some_and(|names| !names.is_empty())
}

/// Every file in the directory that is a key or is named like one, with what reading it gave;
/// `None` for one that has gone since.
pub(crate) fn envelopes(
    dir: &Dir,
) -> Result<impl Iterator<Item = (String, Result<Option<Envelope>>)>> {
    let names = names(dir)?.into_iter();
    Ok(names.map(|name| {
        let read = read_as(dir, &name, Envelope::parse);
        (name, read)
    }))
}

/// The names of the files that are keys or are named like one.
pub(crate) fn names(dir: &Dir) -> Result<Vec<String>> {
    let mut names = dir.names()?;
    names.retain(|name| name.ends_with(".json") && !name.starts_with('.'));
    Ok(names)
}

/// Whether a directory is for keys alone: closing `/` or a home, for which a variable was set by
/// mistake, would lock others out.
pub(crate) fn alone(dir: &Dir) -> Result<()> {
    for name in dir.names()? {
        let look = dir.look(&name)?;
        if !name.starts_with('.')
            && name != UNREADABLE
            && look.is_some_and(|look| !look.is_file && !look.is_symlink)
        {
            return Err(Error::Refused {
                sentence: format!(
                    "{} has \"{}\" in it, and is not for keys alone; its permissions were left as they are",
                    dir.path().display(),
                    shown(&name)
                ),
                hint: "set LENSERFIGHT_KEYS_DIR to a directory that holds nothing else".to_owned(),
            });
        }
    }
    Ok(())
}

/// A key's file, read as `parse` does it; `None` if it has gone.
pub(crate) fn read_as<T>(
    dir: &Dir,
    name: &str,
    parse: fn(&[u8], &KeyId) -> Result<T>,
) -> Result<Option<T>> {
    let Some(id) = KeyId::from_file_name(name) else {
        return Err(Error::CorruptEnvelope {
            file: shown(name),
            reason: "its name is not a key id".to_owned(),
        });
    };
    let bytes = dir.read(name, envelope::MAX_FILE)?;
    bytes.map(|bytes| parse(&bytes, &id)).transpose()
}

/// Keeps a file that is no key of this store any more below it, in `unreadable/`, under a name that
/// nothing has yet. `lf keys recovery import` looks there.
pub(crate) fn keep_aside(dir: &Locked, file: &str, bytes: &[u8]) -> Result<PathBuf> {
    drop(dir.create_child(UNREADABLE)?);
    let aside = dir.covered_child(UNREADABLE)?;
    let aside =
        aside.ok_or_else(|| Error::from_io("make", dir.path(), ErrorKind::NotFound.into()))?;
    let stem = file.trim_end_matches(".json");
    let mut name = file.to_owned();
    for nth in 1.. {
        match aside.read(&name, envelope::MAX_FILE)? {
            None => {
                aside.publish(&name, bytes, Publish::New)?;
                break;
            }
            Some(kept) if kept == bytes => break,
            Some(_) => name = format!("{stem}.{nth}.json"),
        }
    }
    Ok(aside.path().join(name))
}

/// An envelope in `unreadable/`.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) envelope: Envelope,
}

/// Those that can be read; of several of one key the newest first.
pub(crate) fn kept_aside(dir: &Dir) -> Result<Vec<Kept>> {
    let Some(aside) = dir.child(UNREADABLE)? else {
        return Ok(Vec::new());
    };
    let number = |name: &String| -> usize {
        let middle = name.split('.').nth(1).unwrap_or_default();
        middle.parse().unwrap_or_default()
    };
    let mut names = names(&aside)?;
    names.sort_by_key(|name| std::cmp::Reverse(number(name)));
    let mut kept = Vec::new();
    for name in names {
        let stem = name.split('.').next().unwrap_or_default();
        if let Ok(id) = KeyId::parse(stem)
            && let Some(bytes) = aside.read(&name, envelope::MAX_FILE)?
            && let Ok(envelope) = Envelope::parse(&bytes, &id)
        {
            kept.push(Kept {
                name,
                bytes,
                envelope,
            });
        }
    }
    Ok(kept)
}

/// The directory below the keys for envelopes that nothing opened when they were given up.
pub(crate) const UNREADABLE: &str = "unreadable";
