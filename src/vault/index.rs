//! A listing that is remembered: files that have not changed since are not read again, and no listing
//! is ever older than the question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Look, Stamp};
use crate::vault::envelope::Envelope;
use crate::vault::key::{KeyId, KeyMeta};
use crate::vault::store::{self, Store};

/// What the last listing found.
#[derive(Debug, Default)]
pub struct Index(Mutex<Arc<Seen>>);

/// A directory as it was.
#[derive(Debug, Default)]
pub struct Seen {
    directory: Option<Stamp>,
    /// The readable ones oldest first.
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    name: String,
    /// Of the version that was read; `None` if the next one could look the same.
    stamp: Option<Stamp>,
    meta: Option<KeyMeta>,
}

impl Index {
    /// As [`Store::list`], but for what is not readable.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list(&self, store: &Store, now: Timestamp) -> Result<Arc<Seen>> {
        let before = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(dir) = store.dir()? else {
            return Ok(Arc::default());
        };
        let directory = stamp(dir.look(".")?, now);
        if directory.is_some() && directory == before.directory && before.is_unchanged(&dir, now) {
            return Ok(before);
        }
        let seen = Arc::new(Seen::now(&dir, directory, &before, now)?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&seen);
        Ok(seen)
    }
}

impl Seen {
    /// The readable keys, oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &KeyMeta> {
        self.files.iter().filter_map(|file| file.meta.as_ref())
    }

    fn is_unchanged(&self, dir: &Dir, now: Timestamp) -> bool {
        let is_same = |file: &File| {
            let look = dir.look(&file.name).unwrap_or_default();
            file.stamp.is_some() && file.stamp == stamp(look, now)
        };
        self.files.iter().all(is_same)
    }

    /// `directory` was looked at before its names are read here, and each file before its content, so
    /// that what changes in between looks changed the next time.
    fn now(dir: &Dir, directory: Option<Stamp>, before: &Seen, now: Timestamp) -> Result<Seen> {
        let known = before.files.iter().map(|file| (file.name.as_str(), file));
        let known: HashMap<&str, &File> = known.collect();
        let mut files = Vec::with_capacity(known.len());
        for name in store::names(dir)? {
            let stamp = stamp(dir.look(&name).unwrap_or_default(), now);
            let known = known.get(name.as_str());
            let (meta, stamp) =
                match known.filter(|file| file.stamp.is_some() && file.stamp == stamp) {
                    Some(file) => (file.meta.clone(), stamp),
                    None => match store::read_as(dir, &name, Envelope::peek) {
                        Ok(meta) => (meta, stamp),
                        Err(Error::CorruptEnvelope { .. }) => (None, stamp),
                        // Out of descriptors, say: the same version may be read the next time.
                        Err(_) => (None, None),
                    },
                };
            files.push(File { name, stamp, meta });
        }
        files.sort_by(|a, b| a.age().cmp(&b.age()));
        Ok(Seen { directory, files })
    }
}

impl File {
    fn age(&self) -> Option<(Timestamp, &KeyId)> {
        self.meta.as_ref().map(KeyMeta::age)
    }
}

/// What tells this version from the next. A clock has ticks: what changed just now may change once
/// more and look the same, so only what has been left alone for a while is trusted.
/// (tests/index.rs)
fn stamp(look: Option<Look>, now: Timestamp) -> Option<Stamp> {
    let look = look?;
    (look.changed?.after(SETTLED) < now).then_some(look.stamp)
}

/// The coarsest clock of a file system that anybody uses (FAT: 2 s), in seconds.
const SETTLED: Duration = Duration::from_secs(2);
