//! Which keys of a store open with a passphrase, which with another one on record, and which with none.

use super::record::Record;
use super::staging;
use crate::base::pool;
use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::envelope::Envelope;
use crate::vault::files::{self, Unreadable};
use crate::vault::key::KeyMeta;

/// How a key opens.
#[derive(Debug)]
pub(crate) enum Opens {
    /// With the passphrase in question.
    Yes,
    /// Not with that, but with this one of [`Record::all`].
    Recorded(usize),
    /// With nothing that is known.
    No(Error),
}

/// The readable keys of one directory.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Each with its file's name.
    pub(crate) keys: Vec<(String, KeyMeta, Opens)>,
    /// The other files that are named like keys.
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Survey {
    /// Tries the passphrase on every key, and then the others on record. `progress` hears how many of
    /// how many are done.
    pub(crate) fn of(
        dir: &Dir,
        passphrase: Option<&Secret>,
        record: &Record,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Survey> {
        let (mut envelopes, mut unreadable) = (Vec::new(), Vec::new());
        for (name, read) in files::envelopes(dir)? {
            match read {
                Ok(Some(envelope)) => envelopes.push((name, envelope)),
                Ok(None) => {}
                Err(error) => unreadable.push(Unreadable { name, error }),
            }
        }
        let opens = |(file, envelope): &(String, Envelope)| -> Opens {
            let id = &envelope.meta.id;
            let open = |passphrase: &Secret| match envelope.open(passphrase) {
                Err(error) => match staging::open_staged(dir, file, id, passphrase) {
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
        let opened = pool::each(&envelopes, opens, |done| progress(done, envelopes.len()));
        let keys = envelopes
            .into_iter()
            .zip(opened)
            .map(|((file, envelope), opens)| (file, envelope.meta, opens))
            .collect();
        Ok(Survey { keys, unreadable })
    }

    /// How many open with the passphrase in question.
    pub(crate) fn opened(&self) -> usize {
        self.keys
            .iter()
            .filter(|(_, _, opens)| matches!(opens, Opens::Yes))
            .count()
    }

    /// How many open only with another passphrase on record.
    pub(crate) fn recorded(&self) -> usize {
        let is_recorded = |opens: &Opens| matches!(opens, Opens::Recorded(_));
        self.keys
            .iter()
            .filter(|(_, _, opens)| is_recorded(opens))
            .count()
    }

    /// The files of those that open with nothing.
    pub(crate) fn shut(&self) -> impl Iterator<Item = &String> {
        let shut = self
            .keys
            .iter()
            .filter(|(_, _, opens)| matches!(opens, Opens::No(_)));
        shut.map(|(file, _, _)| file)
    }
}
