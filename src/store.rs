//! The directory of envelopes: list, select, add, edit, remove, resolve.
//!
//! Several processes may work on it at once: what reads and then writes holds the directory's lock
//! from the last look at the file to its publication (tests/concurrency.rs).

use std::path::{Path, PathBuf};

use crate::envelope::{self, Envelope};
use crate::error::{Error, Result};
use crate::fs::{Dir, Publish};
use crate::key::{KeyId, KeyMeta, Label, Provider};
use crate::secret::{Secret, shown};
use crate::time::Timestamp;

/// A store of keys, by its path. Nothing is opened before it is needed and nothing is kept open, so
/// that a directory that comes, goes or is replaced is seen as it is.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
}

/// What [`Store::list`] found.
#[derive(Debug)]
pub struct Listing {
    /// The readable keys, oldest first.
    pub keys: Vec<KeyMeta>,
    /// Why the other files that look like keys could not be read.
    pub unreadable: Vec<Error>,
}

impl Store {
    /// The store in this directory, whether it is there yet or not.
    #[must_use]
    pub fn at(path: PathBuf) -> Store {
        Store { path }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory; `None` if it has not been made.
    ///
    /// # Errors
    /// As [`Dir::open`].
    pub fn dir(&self) -> Result<Option<Dir>> {
        Dir::open(&self.path)
    }

    /// Every key's metadata; needs no passphrase. No directory is an empty store.
    ///
    /// # Errors
    /// As [`Dir::open`] and [`Dir::names`]; a single unreadable file is no error.
    pub fn list(&self) -> Result<Listing> {
        let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
        if let Some(dir) = self.dir()? {
            for (_, read) in envelopes(&dir)? {
                match read {
                    Ok(Some(envelope)) => keys.push(envelope.meta),
                    Ok(None) => {} // removed since the directory was read
                    Err(error) => unreadable.push(error),
                }
            }
        }
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(Listing { keys, unreadable })
    }

    /// The one key that a person means: by id, or by an id's first 4 or more characters, a label or
    /// a provider that only one key has. An id selects its file even if it is damaged.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`]; [`Error::AmbiguousKey`] with the candidates.
    pub fn select(&self, selector: &str) -> Result<KeyId> {
        if let (Ok(id), Some(dir)) = (KeyId::parse(selector), self.dir()?)
            && dir.look(&id.file_name())?.is_some()
        {
            return Ok(id);
        }
        let means = |key: &KeyMeta| {
            key.label.as_str() == selector
                || key.provider.as_str() == selector
                || (selector.len() >= MIN_PREFIX && key.id.as_str().starts_with(selector))
        };
        let mut matches: Vec<KeyMeta> = self.list()?.keys.into_iter().filter(means).collect();
        match (matches.pop(), matches.len()) {
            (None, _) => Err(Error::KeyNotFound(shown(selector))),
            (Some(only), 0) => Ok(only.id),
            (Some(last), _) => {
                let candidates = matches
                    .iter()
                    .chain([&last])
                    .map(ToString::to_string)
                    .collect();
                Err(Error::AmbiguousKey {
                    selector: shown(selector),
                    candidates,
                })
            }
        }
    }

    /// Encrypts and stores a new key; makes the directory if need be, but only once nothing else
    /// can fail.
    ///
    /// # Errors
    /// As [`envelope::seal`] and [`Dir::publish`].
    pub fn add(
        &self,
        provider: Provider,
        label: Label,
        value: &Secret,
        passphrase: &Secret,
        now: Timestamp,
    ) -> Result<KeyMeta> {
        let meta = KeyMeta {
            id: KeyId::mint()?,
            provider,
            label,
            created_at: now,
        };
        let envelope = envelope::seal(passphrase, value, meta)?;
        let dir = Dir::create(&self.path)?;
        let lock = dir.lock()?;
        dir.publish(
            &lock,
            &envelope.meta.id.file_name(),
            envelope.print().as_bytes(),
            Publish::New,
        )?;
        Ok(envelope.meta)
    }

    /// Gives a key a new label; its encryption stays as it is, and no passphrase is needed.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`], [`Error::CorruptEnvelope`], and as [`Dir::publish`].
    pub fn relabel(&self, id: &KeyId, label: &Label) -> Result<KeyMeta> {
        self.edit(id, |mut envelope| {
            envelope.meta.label = label.clone();
            Ok(envelope)
        })
    }

    /// Gives a key a new value, and a new label if there is one.
    ///
    /// # Errors
    /// As [`Store::relabel`] and [`envelope::seal`].
    pub fn replace(
        &self,
        id: &KeyId,
        value: &Secret,
        label: Option<&Label>,
        passphrase: &Secret,
    ) -> Result<KeyMeta> {
        self.edit(id, |mut envelope| {
            if let Some(label) = label {
                envelope.meta.label = label.clone();
            }
            envelope::seal(passphrase, value, envelope.meta)
        })
    }

    /// Re-encrypts a key's value, as it is, under a fresh salt and IV.
    ///
    /// # Errors
    /// As [`Store::replace`] and [`Envelope::open`].
    pub fn rotate(&self, id: &KeyId, passphrase: &Secret) -> Result<KeyMeta> {
        self.edit(id, |envelope| {
            envelope::seal(passphrase, &envelope.open(passphrase)?, envelope.meta)
        })
    }

    /// Removes a key's file, readable or not.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`], and as [`Dir::remove`].
    pub fn remove(&self, id: &KeyId) -> Result<()> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        let lock = dir.lock()?;
        if dir.remove(&lock, &id.file_name())? {
            Ok(())
        } else {
            Err(missing(id))
        }
    }

    /// Decrypts a key's value.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`], [`Error::CorruptEnvelope`], [`Error::DecryptionFailed`].
    pub fn resolve(&self, id: &KeyId, passphrase: &Secret) -> Result<Secret> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        Envelope::parse(&read(&dir, id)?, id)?.open(passphrase)
    }

    /// Reads, changes and publishes a key. The change, which may take two key derivations, is made
    /// before the lock is taken; if somebody was faster, it is made again under it.
    fn edit(&self, id: &KeyId, change: impl Fn(Envelope) -> Result<Envelope>) -> Result<KeyMeta> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        let before = read(&dir, id)?;
        let mut changed = change(Envelope::parse(&before, id)?)?;
        let lock = dir.lock()?;
        let current = read(&dir, id)?;
        if current != before {
            changed = change(Envelope::parse(&current, id)?)?;
        }
        dir.publish(
            &lock,
            &id.file_name(),
            changed.print().as_bytes(),
            Publish::Replacement,
        )?;
        Ok(changed.meta)
    }
}

/// Every file in the directory that is a key or is named like one, with what reading it gave;
/// `None` for one that has gone since.
///
/// # Errors
/// As [`Dir::names`].
pub fn envelopes(dir: &Dir) -> Result<impl Iterator<Item = (String, Result<Option<Envelope>>)>> {
    let names = dir
        .names()?
        .into_iter()
        .filter(|name| name.ends_with(".json") && !name.starts_with('.'));
    Ok(names.map(|name| {
        let read = match KeyId::from_file_name(&name) {
            Some(id) => dir
                .read(&name, envelope::MAX_FILE)
                .and_then(|bytes| bytes.map(|bytes| Envelope::parse(&bytes, &id)).transpose()),
            None => Err(Error::CorruptEnvelope {
                file: shown(&name),
                reason: "its name is not a key id".to_owned(),
            }),
        };
        (name, read)
    }))
}

fn read(dir: &Dir, id: &KeyId) -> Result<Vec<u8>> {
    dir.read(&id.file_name(), envelope::MAX_FILE)?
        .ok_or_else(|| missing(id))
}

fn missing(id: &KeyId) -> Error {
    Error::KeyNotFound(id.to_string())
}

/// Fewer characters of an id are too easily those of another.
const MIN_PREFIX: usize = 4;
