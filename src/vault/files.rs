//! The files of a keys directory: which are keys, and those that are kept aside below it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{secret::shown, time::Timestamp};
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir, Locked, Publish};
use crate::vault::{Envelope, KeyId, envelope, envelope::corrupt};

/// A key with its file as it is.
#[derive(Clone, Debug)]
pub(crate) struct KeyFile {
    /// What the file holds.
    pub(crate) envelope: Envelope,
    /// The file, which may have members that only another version knows.
    pub(crate) bytes: Vec<u8>,
}

/// A file that is named like a key and cannot be read as one, or is a conflict copy.
pub(crate) struct Unreadable {
    /// The file's name.
    pub(crate) name: String,
    /// Why not.
    pub(crate) error: Error,
    /// The key that it is a copy of, under another name than its id.
    pub(crate) copy_of: Option<KeyId>,
}

impl Unreadable {
    /// The id that it is named by, if it is a damaged key.
    pub(crate) fn id(&self) -> Option<KeyId> {
        KeyId::from_file_name(&self.name).filter(|_| self.copy_of.is_none())
    }
}

/// A key with its file's name.
pub(crate) type Named = (String, KeyFile);

/// Is there a file that is a key or is named like one?
pub(crate) fn has_keys(path: &Path) -> bool {
    let dir = Dir::open(path).ok().flatten();
    dir.and_then(|dir| names(&dir).ok()).is_some_and(|names| !names.is_empty())
}

/// Every key's file in the directory, and the files that are named like one and cannot be read as one.
pub(crate) fn read_all(dir: &Dir) -> Result<(Vec<KeyFile>, Vec<Unreadable>)> {
    let (files, mut unreadable) = read_files(dir)?;
    let mut keys = Vec::with_capacity(files.len());
    for (name, file) in files {
        let id = &file.envelope.meta.id;
        // Some file systems give back a name in other letters than it was given in.
        let is_same = || matches!(read(dir, id), Ok(Some(same)) if same.bytes == file.bytes);
        if name == id.file_name() || name.eq_ignore_ascii_case(&id.file_name()) && is_same() {
            keys.push(file);
        } else {
            let error =
                corrupt(shown(&name), &format!("by its meta.id it is a copy of the key {id}"));
            unreadable.push(Unreadable { name, error, copy_of: Some(file.envelope.meta.id) });
        }
    }
    Ok((keys, unreadable))
}

/// The same, with conflict copies among the keys: what programs that synchronise or merge
/// directories make of the second of two versions, such as `ID (1).json`, `ID-LAPTOP.json`,
/// `ID.json.orig`.
pub(crate) fn read_files(dir: &Dir) -> Result<(Vec<Named>, Vec<Unreadable>)> {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    let mut bad = |name, error| unreadable.push(Unreadable { name, error, copy_of: None });
    let may_be_key = |name: &String| may_be_copy(name) && !is_left_over(dir, name);
    for name in dir.names()?.into_iter().filter(may_be_key) {
        let read = dir.read(&name, envelope::MAX_FILE).and_then(|bytes| {
            let Some(bytes) = bytes else { return Ok(None) };
            let envelope =
                Envelope::parse_any(&bytes).map_err(|reason| corrupt(shown(&name), reason))?;
            Ok(Some(KeyFile { envelope, bytes }))
        });
        match read {
            Ok(file) => files.extend(file.map(|file| (name, file))), // none: removed since
            Err(error) if KeyId::from_file_name(&name).is_some() => bad(name, error),
            Err(_) if name.ends_with(".json") => bad(name.clone(), corrupt(shown(&name), NO_ID)),
            Err(_) => {}
        }
    }
    Ok((files, unreadable))
}

/// The keys, damaged ones too. A copy is none that is named like a key, as long as there is its
/// key.
pub(crate) fn ids(dir: &Dir) -> Result<Vec<KeyId>> {
    let (keys, mut others) = read_all(dir)?;
    let mut ids: Vec<KeyId> = keys.into_iter().map(|file| file.envelope.meta.id).collect();
    others.retain(|file| file.copy_of.as_ref().is_none_or(|id| !ids.contains(id)));
    ids.extend(others.iter().filter_map(|file| KeyId::from_file_name(&file.name)));
    Ok(ids)
}

/// The names of the files that are keys or are named like one.
pub(crate) fn names(dir: &Dir) -> Result<Vec<String>> {
    let mut names = dir.names()?;
    names.retain(|name| name.ends_with(".json") && !name.starts_with('.'));
    Ok(names)
}

/// May a file of this name be a copy of a key that some program has made? Hidden ones are left
/// alone.
pub(crate) fn may_be_copy(name: &str) -> bool {
    !name.starts_with('.') && (name.contains(".json") || name.ends_with(".orig"))
}

/// Is this a temporary file of the predecessor's, such as `ID.json.next`, of a key whose own file is
/// sound, or with no envelope in it? One that may be the only copy of a key is none.
pub(crate) fn is_left_over(dir: &Dir, name: &str) -> bool {
    let Some((Ok(id), end)) = name.split_once('.').map(|(id, end)| (KeyId::parse(id), end)) else {
        return false;
    };
    let has_envelope = || {
        let bytes = dir.read(name, envelope::MAX_FILE).ok().flatten();
        bytes.is_none_or(|bytes| Envelope::parse_any(&bytes).is_ok())
    };
    (end == "json.next" || end.ends_with("tmp"))
        && (matches!(read_sound(dir, &id), Ok(Some(_))) || !has_envelope())
}

/// The file of a key; `None` if there is none. Where case makes no difference, an id in other
/// letters leads to the file as well, so its meta.id decides. Only where that does not fit is the
/// directory's list asked for the exact name, so that reading a key costs the same in a store of
/// any size.
/// (tests/filesystems.rs: `an_id_in_other_letters_is_no_key`)
pub(crate) fn read(dir: &Dir, id: &KeyId) -> Result<Option<KeyFile>> {
    let Some(bytes) = dir.read(&id.file_name(), envelope::MAX_FILE)? else { return Ok(None) };
    match Envelope::parse(&bytes, id) {
        Ok(envelope) => Ok(Some(KeyFile { envelope, bytes })),
        Err(_) if !dir.has(&id.file_name())? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Is there a file of this key, damaged or not?
pub(crate) fn is_there(dir: &Dir, id: &KeyId) -> Result<bool> {
    read(dir, id).map_or_else(|_| dir.has(&id.file_name()), |file| Ok(file.is_some()))
}

/// The same; `None` also if it is damaged.
pub(crate) fn read_sound(dir: &Dir, id: &KeyId) -> Result<Option<Envelope>> {
    let bytes = dir.read(&id.file_name(), envelope::MAX_FILE)?;
    Ok(bytes.and_then(|bytes| Envelope::parse(&bytes, id).ok()))
}

/// Whether a directory is for keys alone: closing `/` or a home, for which a variable was set by
/// mistake, would lock others out.
pub(crate) fn alone(dir: &Dir) -> Result<()> {
    for name in dir.names()? {
        let stat = dir.stat(&name)?;
        if !name.starts_with('.')
            && ![UNREADABLE, REPLACED].contains(&name.as_str())
            && stat.is_some_and(|stat| !stat.is_file && !stat.is_symlink)
        {
            let sentence = format!(
                "{} also has \"{}\" in it; lf did not change its permissions",
                dir.path().display(),
                shown(&name)
            );
            let hint = "set LENSERFIGHT_KEYS_DIR to a directory that holds nothing else";
            return Err(Error::refused(sentence, hint));
        }
    }
    Ok(())
}

/// What is to be said of a directory that keys were written to: it is another user's, or others can reach
/// it. One of ours for keys alone is made private, as `lf keys doctor --fix` would.
pub(crate) fn tighten(path: &Path) -> Option<String> {
    let dir = Dir::open(path).ok()??;
    let (stat, path) = (dir.stat(".").ok()??, path.display());
    if stat.owner != fs::own_user() {
        let owner = stat.owner;
        return Some(format!("{path} belongs to user {owner}, who can change what is in it"));
    }
    if stat.mode & 0o077 == 0 {
        return None;
    }
    let mode = fs::mode(stat.mode);
    Some(match alone(&dir).and_then(|()| dir.make_private(".")) {
        Ok(true) => format!("{path} had {mode}; now only its owner can reach it"),
        Ok(false) => format!("{path} has {mode}, and others can reach it"),
        Err(error) => format!("{path} has {mode}, and others can reach it: {error}"),
    })
}

/// A way to keep what a key's file holds.
pub(crate) type Keep = fn(&Locked, &KeyId, &[u8]) -> Result<PathBuf>;

/// Keeps a file that is no key of this store any more below it, in `unreadable/`, under a name that
/// nothing has yet. `lf keys recovery import` looks there.
pub(crate) fn keep_aside(dir: &Locked, id: &KeyId, bytes: &[u8]) -> Result<PathBuf> {
    let aside = below(dir, UNREADABLE)?;
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

/// Keeps the value of a key that a paired page is about to replace or remove in `replaced/`, for 30
/// days. The page may be somebody else's by now; so its owner can take back what it did:
///
/// 1. with the store locked, what the key's file holds is published as
///    `replaced/<id>.<milliseconds>.json`;
/// 2. only then the file is replaced or removed.
///
/// Killed between the two, what is kept is the key as it is; `lf keys restore --replaced` drops it.
///
/// Nothing is dropped before its time. Where 256 are kept, the change is refused: if it dropped an
/// older one, a page could push its owner's value out with changes of its own.
/// (tests/limits.rs: `no_number_of_changes_pushes_the_owners_value_out`)
pub(crate) fn keep_value(dir: &Locked, id: &KeyId, bytes: &[u8]) -> Result<PathBuf> {
    let (kept, now) = (below(dir, REPLACED)?, Timestamp::now());
    let (mut names, begin) = (kept.names()?, now.before(KEPT_FOR).millis());
    let is_over = |name: &str| number(name).is_some_and(|at| at < begin);
    // Whoever writes here has the lock, so a temporary file is one that was left behind.
    for name in names.extract_if(.., |name| is_over(name) || fs::is_temporary(name)) {
        kept.remove(&name)?;
    }
    if names.len() >= MOST_REPLACED {
        return Err(Error::StoreFull(format!("replaced/ has {MOST_REPLACED} former values")));
    }
    let mut free = (now.millis()..).map(|at| format!("{id}.{at}.json"));
    let name = free.find(|name| !names.contains(name)).unwrap_or_default();
    kept.publish(&name, bytes, Publish::New)?;
    Ok(kept.path().join(name))
}

/// Drops the values that pages replaced, of a key that its owner removes.
pub(crate) fn forget_values(dir: &Locked, id: &KeyId) -> Result<()> {
    let Some(kept) = dir.covered_child(REPLACED)? else { return Ok(()) };
    let (names, of_key) = (names(&kept)?, format!("{id}."));
    let mut names = names.iter().filter(|name| name.starts_with(&of_key));
    names.try_for_each(|name| kept.remove(name).map(drop))
}

/// A directory below the keys, made if need be.
fn below(dir: &Locked, place: &str) -> Result<Locked> {
    drop(dir.create_child(place)?);
    let below = dir.covered_child(place)?;
    below.ok_or_else(|| Error::from_io("make", dir.path(), ErrorKind::NotFound.into()))
}

/// The envelopes in `unreadable/` or `replaced/` that can be read; of several of one key the newest first.
pub(crate) fn kept(dir: &Dir, place: &str) -> Result<Vec<Named>> {
    let Some(aside) = dir.child(place)? else { return Ok(Vec::new()) };
    let (mut files, _) = read_files(&aside)?;
    files.sort_by_key(|(name, _)| std::cmp::Reverse(number(name)));
    Ok(files)
}

/// What stands between the id and the end of a kept envelope's name.
fn number(name: &str) -> Option<u64> {
    name.split('.').nth(1)?.parse().ok()
}

const NO_ID: &str = "its name is not a key id";
/// The directory below the keys for envelopes that nothing opened when they were given up.
pub(crate) const UNREADABLE: &str = "unreadable";
/// The one for values that paired pages replaced or removed.
pub(crate) const REPLACED: &str = "replaced";
const MOST_REPLACED: usize = 256;
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests;
