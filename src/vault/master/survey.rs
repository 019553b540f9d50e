//! Which keys of a store open with a passphrase, which with another one on record, and which with none.

use super::{record::Record, staging};
use crate::base::{Secret, pool, pool::Progress};
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::{KeyFile, KeyMeta, files, files::Unreadable};

/// How a key opens.
pub(crate) enum Opens {
    /// With the passphrase in question.
    Yes,
    /// Not with that, but with this one of [`Record::all`].
    Recorded(usize),
    /// With nothing that is known.
    No(Error),
}

/// The readable keys of one directory.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) keys: Vec<(KeyMeta, Opens)>,
    /// The other files that are named like keys.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Survey {
    /// Tries the passphrase on every key, and then the others on record. `tell` is told how many
    /// are done.
    pub(crate) fn of(
        dir: &Dir,
        passphrase: Option<&Secret>,
        record: &Record,
        tell: &Progress,
    ) -> Result<Survey> {
        let (files, unreadable) = files::read_all(dir)?;
        let opens = |file: &KeyFile| -> Opens {
            let id = &file.envelope.meta.id;
            let open = |passphrase: &Secret| match file.envelope.open(passphrase) {
                Err(error) => match staging::open_staged(dir, id, passphrase) {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) | Err(_) => Err(error),
                },
                Ok(_) => Ok(()),
            };
            let error = match passphrase.map(open) {
                Some(Ok(())) => return Opens::Yes,
                Some(Err(error)) => error,
                None => Error::DecryptionFailed(id.to_string()),
            };
            match record.all().position(|known| open(known).is_ok()) {
                Some(at) => Opens::Recorded(at),
                None => Opens::No(error),
            }
        };
        let opened = pool::each(&files, opens, tell);
        let keys = files.into_iter().map(|file| file.envelope.meta).zip(opened).collect();
        Ok(Survey { keys, unreadable })
    }

    /// How many open with the passphrase in question.
    pub(crate) fn opened(&self) -> usize {
        self.that(|opens| matches!(opens, Opens::Yes)).count()
    }

    /// How many open only with another passphrase on record.
    pub(crate) fn recorded(&self) -> usize {
        self.that(|opens| matches!(opens, Opens::Recorded(_))).count()
    }

    /// Those that open with nothing.
    pub(crate) fn shut(&self) -> Vec<&KeyMeta> {
        self.that(|opens| matches!(opens, Opens::No(_))).collect()
    }

    /// The keys that open in one way.
    pub(crate) fn that(&self, is_meant: impl Fn(&Opens) -> bool) -> impl Iterator<Item = &KeyMeta> {
        self.keys.iter().filter(move |(_, opens)| is_meant(opens)).map(|(meta, _)| meta)
    }
}
