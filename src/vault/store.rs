//! The directory of envelopes: list, select, add, edit, remove, resolve.
//!
//! Several processes may work on it at once: what reads and then writes holds the directory's lock
//! from the last look at the file to its publication (tests/concurrency.rs).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::{Secret, Timestamp, pool, shown};
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Locked, Publish};
use crate::vault::{Envelope, audit, audit::Event, envelope, files, files::Keep};
use crate::vault::{KeyFile, KeyId, KeyMeta, Master, files::Unreadable, history};
use crate::vault::{master::staging, provider};

/// A store of keys, by its path. Nothing is opened before it is needed and nothing is kept open, so
/// that a directory that comes, goes or is replaced is seen as it is.
pub struct Store {
    path: PathBuf,
    /// Is it paired pages that change it?
    is_for_pages: bool,
}

/// What [`Store::list`] found.
pub(crate) struct Listing {
    /// The readable keys, oldest first.
    pub(crate) keys: Vec<KeyMeta>,
    /// The other files that look like keys.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Listing {
    /// The keys that a person may mean by this, each as it is shown. [`Store::select`] says by what.
    pub(crate) fn select(&self, selector: &str) -> Vec<(String, KeyId)> {
        let begins = |id: &KeyId| selector.len() >= MIN_PREFIX && id.as_str().starts_with(selector);
        let has_name = |key: &&KeyMeta| {
            key.label.as_str() == selector || key.provider.as_str() == selector || begins(&key.id)
        };
        let named = |key: &KeyMeta| (key.to_string(), key.id.clone());
        let damaged = self.unreadable.iter().filter_map(Unreadable::id).filter(begins);
        let damaged = damaged.map(|id| (format!("{id} (unreadable)"), id));
        let found: Vec<_> = self.keys.iter().filter(has_name).map(named).chain(damaged).collect();
        if !found.is_empty() {
            return found;
        }
        let is_meant = |key: &&KeyMeta| provider::is_same(selector, key.provider.as_str());
        self.keys.iter().filter(is_meant).map(named).collect()
    }

    /// How many of its first characters select a key, whichever it is: no other id begins with them, and
    /// no label and no provider is the same.
    pub(crate) fn prefix(&self) -> usize {
        let is_fit = |length: &usize| {
            let keys = self.keys.iter();
            let names = keys.clone().flat_map(|key| [key.label.as_str(), key.provider.as_str()]);
            let mut taken: BTreeSet<&str> = names.collect();
            let damaged = self.unreadable.iter().map(|file| file.name.as_str());
            let mut ids = keys.map(|key| key.id.as_str()).chain(damaged);
            ids.all(|id| taken.insert(id.get(..*length).unwrap_or(id)))
        };
        (MIN_PREFIX..WHOLE).find(is_fit).unwrap_or(WHOLE)
    }
}

impl Store {
    /// The store in this directory, whether it is there yet or not.
    pub fn at(path: PathBuf) -> Store {
        Store { path, is_for_pages: false }
    }

    /// The same, as paired pages may change it: they can add [`MOST_KEYS`], and what they replace
    /// or remove is kept ([`files::keep_value`]). What its owner removes is gone for good.
    pub(crate) fn for_pages(path: PathBuf) -> Store {
        Store { path, is_for_pages: true }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its directory; `None` if it has not been made.
    pub(crate) fn dir(&self) -> Result<Option<Dir>> {
        Dir::open(&self.path)
    }

    /// Every key's metadata; needs no passphrase. No directory is an empty store.
    pub(crate) fn list(&self) -> Result<Listing> {
        let (files, unreadable) = self.read_all()?;
        let mut keys: Vec<KeyMeta> = files.into_iter().map(|file| file.envelope.meta).collect();
        keys.sort_by(|a, b| a.age().cmp(&b.age()));
        Ok(Listing { keys, unreadable })
    }

    /// The one key that a person means: by id, or by an id's first 4 or more characters, a label or
    /// a provider that only one key has; else by another name of its provider. Ids select damaged
    /// files too.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`]; [`Error::AmbiguousKey`] with the candidates.
    pub fn select(&self, selector: &str) -> Result<KeyId> {
        if let (Ok(id), Some(dir)) = (KeyId::parse(selector), self.dir()?)
            && files::is_there(&dir, &id)?
        {
            return Ok(id);
        }
        let listing = self.list()?;
        let mut matches = listing.select(selector);
        match matches.len() {
            1 => Ok(matches.swap_remove(0).1),
            0 => {
                // The key that is meant may be in a file that another user's command has left.
                let mut errors = listing.unreadable.into_iter().map(|file| file.error);
                let foreign = errors.find(|error| matches!(error, Error::Foreign { .. }));
                Err(foreign.unwrap_or_else(|| Error::KeyNotFound(shown(selector))))
            }
            _ => {
                let candidates = matches.into_iter().map(|(name, _)| name).collect();
                Err(Error::AmbiguousKey(shown(selector), candidates))
            }
        }
    }

    /// Encrypts and stores a new key; makes the directory if need be, but only once nothing else
    /// can fail.
    pub(crate) fn add(&self, meta: KeyMeta, value: &Secret, master: &Master) -> Result<KeyMeta> {
        self.insert(meta.clone(), value, master, || Ok(true))?;
        Ok(meta)
    }

    /// As [`Store::add`]; `None` if a key with this provider and label has been stored by anybody.
    pub(crate) fn add_missing(
        &self,
        meta: KeyMeta,
        value: &Secret,
        master: &Master,
    ) -> Result<Option<KeyMeta>> {
        let is_twin = |key: &KeyMeta| key.is_named(&meta.provider, &meta.label);
        let is_missing = || Ok(!self.list()?.keys.iter().any(is_twin));
        Ok(self.insert(meta.clone(), value, master, is_missing)?.then_some(meta))
    }

    /// Stores a new key if it is wanted, which is asked under the lock; whether it was. That the
    /// passphrase is this store's own is found out beside the derivation that seals.
    fn insert(
        &self,
        meta: KeyMeta,
        value: &Secret,
        master: &Master,
        is_wanted: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let (checked, sealed) = pool::beside(
            || master.check(self.dir()?.as_ref()),
            || envelope::seal(&master.secret, value, meta),
        );
        let mut envelope = sealed?;
        checked?;
        let dir = Dir::create(&self.path)?.lock()?;
        if staging::ready(&dir)?.is_some() {
            return Err(Error::RekeyPending);
        }
        if self.is_for_pages && files::names(&dir)?.len() >= MOST_KEYS {
            return Err(Error::StoreFull(format!("there are {MOST_KEYS} keys or more")));
        }
        if !is_wanted()? {
            return Ok(false);
        }
        // Another one may have come first, or have changed what was looked at.
        master.check(Some(&dir))?;
        if let Some(passphrase) = master.replaced()? {
            envelope = envelope::seal(&passphrase, value, envelope.meta)?;
        }
        let bytes = envelope.print().into_bytes();
        dir.publish(&envelope.meta.id.file_name(), &bytes, Publish::New)?;
        *master.evidence() = Some(KeyFile { envelope, bytes });
        Ok(true)
    }

    /// Changes a key's label or its expiry; its encryption stays as it is, and no passphrase is needed.
    pub(crate) fn amend(&self, id: &KeyId, amend: impl Fn(&mut KeyMeta)) -> Result<KeyMeta> {
        self.edit(id, None, |mut envelope, _| {
            amend(&mut envelope.meta);
            Ok((envelope, None))
        })
    }

    /// Gives a key a new value now, and amends the rest. The present value has to open, so that the new
    /// one is not sealed under a passphrase that opens nothing here. Where it is only this one that does
    /// not open, its envelope is put into `unreadable/`.
    pub(crate) fn replace(
        &self,
        id: &KeyId,
        value: &Secret,
        amend: impl Fn(&mut KeyMeta),
        master: &Master,
        now: Timestamp,
    ) -> Result<KeyMeta> {
        self.edit(id, Some(master), |old, replaced| {
            let mut meta = old.meta.clone();
            meta.renew(now);
            amend(&mut meta);
            let (opened, sealed) = pool::beside(
                || master.open(|passphrase| old.open(passphrase)),
                || envelope::seal(replaced.unwrap_or(&master.secret), value, meta),
            );
            let sealed = sealed?;
            match opened {
                Ok(_) => Ok((sealed, self.is_for_pages.then_some(files::keep_value as Keep))),
                Err(Error::DecryptionFailed(_)) => {
                    master.check(self.dir()?.as_ref())?;
                    Ok((sealed, Some(files::keep_aside as Keep)))
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Re-encrypts a key's value, as it is, under a fresh salt and IV.
    pub(crate) fn rotate(&self, id: &KeyId, master: &Master) -> Result<KeyMeta> {
        self.edit(id, Some(master), |envelope, replaced| {
            let value = master.open(|passphrase| envelope.open(passphrase))?;
            Ok((envelope::seal(replaced.unwrap_or(&master.secret), &value, envelope.meta)?, None))
        })
    }

    /// Removes a key's file, readable or not.
    pub(crate) fn remove(&self, id: &KeyId) -> Result<()> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?.lock()?;
        let name = id.file_name();
        // Where case makes no difference, the name alone would do for the key with the same
        // letters.
        let remove = |dir: &Locked| Ok(files::is_there(dir, id)? && dir.remove(&name)?);
        if !self.is_for_pages {
            files::forget_values(&dir, id)?;
        } else if files::is_there(&dir, id)?
            && let Some(bytes) = dir.read(&name, envelope::MAX_FILE)?
        {
            files::keep_value(&dir, id, &bytes)?;
        }
        let was_there = remove(&dir)?;
        if let Some(waiting) = staging::ready(&dir)? {
            remove(&waiting)?;
        }
        if was_there { Ok(()) } else { Err(missing(id)) }
    }

    /// What is known of a key without a passphrase.
    pub(crate) fn meta(&self, id: &KeyId) -> Result<KeyMeta> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        Ok(files::read(&dir, id)?.ok_or_else(|| missing(id))?.envelope.meta)
    }

    /// Decrypts a key's value.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`], [`Error::CorruptEnvelope`], [`Error::DecryptionFailed`].
    pub fn resolve(&self, id: &KeyId, master: &Master) -> Result<Secret> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        let open = |passphrase: &Secret| staging::open(&dir, id, passphrase);
        master.open(open)?.ok_or_else(|| missing(id))
    }

    /// Every key with its file as it is, and the files that cannot be read as one. Takes no lock, because
    /// a copy of a store may be read-only.
    pub(crate) fn read_all(&self) -> Result<(Vec<KeyFile>, Vec<Unreadable>)> {
        self.dir()?.as_ref().map_or(Ok(Default::default()), files::read_all)
    }

    /// Publishes these files, none of which may be there, unless the passphrase that was tried on them
    /// has been replaced. After an error, the same again does the rest.
    pub(crate) fn restore(&self, copies: &[KeyFile], master: Option<&Master>) -> Result<()> {
        let dir = Dir::create(&self.path)?.lock()?;
        if staging::ready(&dir)?.is_some() {
            return Err(Error::RekeyPending);
        }
        if let Some(master) = master
            && master.replaced()?.is_some()
        {
            let sentence = "another process changed the master passphrase; nothing was restored";
            return Err(Error::refused(sentence, "run this command again"));
        }
        copies.iter().try_for_each(|copy| {
            dir.publish(&copy.envelope.meta.id.file_name(), &copy.bytes, Publish::New)
        })
    }

    /// Removes a conflict copy, if it is what was read and its key is there under its exact name:
    /// where case makes no difference, the copy could be the key. Whether it was removed.
    pub(crate) fn drop_copy(&self, name: &str, copy: &KeyFile) -> Result<bool> {
        let Some(dir) = self.dir()? else { return Ok(false) };
        let dir = dir.lock()?;
        let is_same = dir.read(name, envelope::MAX_FILE)?.as_ref() == Some(&copy.bytes);
        Ok(is_same && dir.has(&copy.envelope.meta.id.file_name())? && dir.remove(name)?)
    }

    /// Writes an event into the audit log. Without a directory there is none, and nothing to tell.
    pub(crate) fn audit(&self, event: &Event<'_>, now: Timestamp) -> Result<()> {
        let Some(dir) = self.dir()? else { return Ok(()) };
        history::turn_over(&dir)?;
        dir.append(audit::FILE, &audit::line(event, now))
    }

    /// Reads, changes and publishes a key, also where it waits under the next passphrase. The change,
    /// which may take two key derivations, is made before the lock is taken; if the file or the
    /// passphrase is another one under it, it is made again. Without `master` it needs no passphrase.
    /// With the changed envelope, `change` says how the present one is kept, if it is.
    fn edit(
        &self,
        id: &KeyId,
        master: Option<&Master>,
        change: impl Fn(Envelope, Option<&Secret>) -> Result<(Envelope, Option<Keep>)>,
    ) -> Result<KeyMeta> {
        let dir = self.dir()?.ok_or_else(|| missing(id))?;
        let read = |dir: &Dir| files::read(dir, id)?.ok_or_else(|| missing(id));
        let before = read(&dir)?;
        let (mut changed, mut keep) = change(before.envelope, None)?;
        let dir = dir.lock()?;
        let waiting = staging::ready(&dir)?;
        let passphrase = match (master, &waiting) {
            // Nobody here knows the passphrase that it would have to wait under.
            (Some(_), Some(_)) => return Err(Error::RekeyPending),
            (Some(master), None) => master.replaced()?,
            (None, _) => None,
        };
        let current = read(&dir)?;
        if current.bytes != before.bytes || passphrase.is_some() {
            (changed, keep) = change(current.envelope, passphrase.as_ref())?;
        }
        let publish = |dir: &Locked, envelope: &Envelope| {
            dir.publish(&id.file_name(), envelope.print().as_bytes(), Publish::Replacement)
        };
        if let Some(waiting) = waiting
            && let Some(next) = files::read(&waiting, id)?
        {
            publish(&waiting, &change(next.envelope, None)?.0)?;
        }
        if let Some(keep) = keep {
            keep(&dir, id, &current.bytes)?;
        }
        publish(&dir, &changed)?;
        Ok(changed.meta)
    }
}

fn missing(id: &KeyId) -> Error {
    Error::KeyNotFound(id.to_string())
}

/// More than a person has, and all that paired pages can make of it.
const MOST_KEYS: usize = 1000;
/// Fewer characters of an id are too easily those of another.
pub(crate) const MIN_PREFIX: usize = 4;
/// Characters of the longest id there may be.
pub(crate) const WHOLE: usize = 40;

#[cfg(test)]
mod tests;
