//! What shows that a passphrase is a store's own: one of its envelopes opens with it.
//!
//! A passphrase with a typo would seal a new key, or the new value of one, so that nothing that is
//! configured ever opens it again. So nothing is sealed into a store that has keys before one of its
//! envelopes has opened, with the passphrase itself or with one that it has replaced.

use std::path::Path;

use super::source::{Evidence, Master, Origin};
use crate::base::{pool, text};
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::envelope::{self, Envelope};
use crate::vault::files;
use crate::vault::key::KeyId;

/// A key with its file and the bytes of it.
type Key = (Envelope, String, Vec<u8>);

impl Master {
    /// Makes sure that this passphrase belongs to the store in `dir`; what has been shown once costs
    /// a look at the file, as long as that stays as it was.
    pub(crate) fn check(&self, dir: Option<&Dir>) -> Result<()> {
        let mut known = self.evidence();
        let Some(dir) = dir else {
            *known = Some(Evidence::Empty);
            return Ok(());
        };
        if let Some(Evidence::Opened { file, bytes }) = &*known
            && dir.read(file, envelope::MAX_FILE)?.as_ref() == Some(bytes)
        {
            return Ok(());
        }
        *known = Some(self.find_evidence(dir)?);
        Ok(())
    }

    /// Takes note of a file that was sealed under this passphrase.
    pub(crate) fn has_sealed(&self, file: String, bytes: Vec<u8>) {
        *self.evidence() = Some(Evidence::Opened { file, bytes });
    }

    /// The newest key first, because it is the likeliest to be under the present passphrase; then all
    /// the others, on all cores.
    fn find_evidence(&self, dir: &Dir) -> Result<Evidence> {
        let mut keys = Vec::new();
        for file in files::names(dir)? {
            let Some(id) = KeyId::from_file_name(&file) else {
                continue;
            };
            let bytes = dir.read(&file, envelope::MAX_FILE)?.unwrap_or_default();
            if let Ok(envelope) = Envelope::parse(&bytes, &id) {
                keys.push((envelope, file, bytes));
            }
        }
        keys.sort_by(|(a, ..), (b, ..)| b.meta.age().cmp(&a.meta.age()));
        let total = keys.len();
        let opens =
            |(envelope, ..): &Key| self.open(|passphrase| envelope.open(passphrase)).is_ok();
        let opened = match keys.split_first() {
            None => return Ok(Evidence::Empty),
            Some((newest, _)) if opens(newest) => Some(0),
            Some((_, others)) => {
                let mut chunks = others.chunks(pool::cores()).enumerate();
                chunks.find_map(|(nth, chunk)| {
                    let tried = pool::each(chunk, opens, |_| {});
                    let at = tried.iter().position(|opens| *opens)?;
                    Some(1 + nth * pool::cores() + at)
                })
            }
        };
        let opened = opened.ok_or_else(|| self.wrong(total, dir.path()))?;
        let (_, file, bytes) = keys.swap_remove(opened);
        Ok(Evidence::Opened { file, bytes })
    }

    pub(super) fn wrong(&self, keys: usize, place: &Path) -> Error {
        let (opens, place) = (text::opens_none(keys), place.display());
        Error::WrongPassphrase {
            sentence: format!(
                "the master passphrase from {} {opens} in {place}; nothing was stored",
                self.origin()
            ),
            hint: match self.origin() {
                Origin::Keychain => "lf keys recovery import, with the sheet of the passphrase that they are under; lf keys doctor tells more".to_owned(),
                origin => format!("correct it in {origin}, or unset that; lf keys doctor tells whether it opens them"),
            },
        }
    }
}
