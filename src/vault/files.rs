//! The files of a keys directory: which are keys, and those that are kept aside below it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::base::secret::shown;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::KeyId;

/// A key with its file as it is.
#[derive(Debug)]
pub(crate) struct KeyFile {
    /// What the file holds.
    pub(crate) envelope: Envelope,
    /// The file, which may have members that only another version knows.
    pub(crate) bytes: Vec<u8>,
}

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

/// Every key's file in the directory, and the files that are named like one and cannot be read as one.
pub(crate) fn read_all(dir: &Dir) -> Result<(Vec<KeyFile>, Vec<Unreadable>)> {
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    for name in names(dir)? {
        let no_id = || Error::CorruptEnvelope {
            file: shown(&name),
            reason: "its name is not a key id".to_owned(),
        };
        let id = KeyId::from_file_name(&name).ok_or_else(no_id);
        match id.and_then(|id| read(dir, &id)) {
            Ok(file) => keys.extend(file), // none: removed since the directory was read
            Err(error) => unreadable.push(Unreadable { name, error }),
        }
    }
    Ok((keys, unreadable))
}

/// The file of a key; `None` if there is none.
pub(crate) fn read(dir: &Dir, id: &KeyId) -> Result<Option<KeyFile>> {
    let Some(bytes) = dir.read(&id.file_name(), envelope::MAX_FILE)? else {
        return Ok(None);
    };
    let envelope = Envelope::parse(&bytes, id)?;
    Ok(Some(KeyFile { envelope, bytes }))
}

/// The same; `None` also if it is damaged.
pub(crate) fn read_sound(dir: &Dir, id: &KeyId) -> Result<Option<Envelope>> {
    let bytes = dir.read(&id.file_name(), envelope::MAX_FILE)?;
    Ok(bytes.and_then(|bytes| Envelope::parse(&bytes, id).ok()))
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
        let stat = dir.stat(&name)?;
        if !name.starts_with('.')
            && name != UNREADABLE
            && stat.is_some_and(|stat| !stat.is_file && !stat.is_symlink)
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

/// Keeps a file that is no key of this store any more below it, in `unreadable/`, under a name that
/// nothing has yet. `lf keys recovery import` looks there.
pub(crate) fn keep_aside(dir: &Locked, id: &KeyId, bytes: &[u8]) -> Result<PathBuf> {
    drop(dir.create_child(UNREADABLE)?);
    let aside = dir.covered_child(UNREADABLE)?;
    let aside =
        aside.ok_or_else(|| Error::from_io("make", dir.path(), ErrorKind::NotFound.into()))?;
    let mut name = id.file_name();
    for nth in 1.. {
        match aside.read(&name, envelope::MAX_FILE)? {
            None => {
                aside.publish(&name, bytes, Publish::New)?;
                break;
            }
            Some(kept) if kept == bytes => break,
            Some(_) => name = format!("{id}.{nth}.json"),
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
            kept.push(Kept { name, bytes, envelope });
        }
    }
    Ok(kept)
}

/// The directory below the keys for envelopes that nothing opened when they were given up.
pub(crate) const UNREADABLE: &str = "unreadable";
