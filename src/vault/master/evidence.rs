//! What shows that a passphrase is a store's own: one of its envelopes opens with it.
//!
//! A passphrase with a typo would seal a new key, or the new value of one, so that nothing that is
//! configured ever opens it again. So nothing is sealed into a store that has keys before one of its
//! envelopes has opened, with the passphrase itself or with one that it has replaced.

use std::path::Path;

use super::source::{Master, Origin};
use crate::base::{pool, text};
use crate::error::{Error, Result};
use crate::system::fs::Dir;
use crate::vault::{KeyFile, envelope::MAX_FILE, files};

impl Master {
    /// Makes sure that this passphrase belongs to the store in `dir`; what has been shown once costs
    /// a look at the file, as long as that stays as it was.
    pub(crate) fn check(&self, dir: Option<&Dir>) -> Result<()> {
        let mut known = self.evidence();
        let Some(dir) = dir else {
            *known = None;
            return Ok(());
        };
        if let Some(KeyFile { envelope, bytes }) = &*known
            && dir.read(&envelope.meta.id.file_name(), MAX_FILE)?.as_ref() == Some(bytes)
        {
            return Ok(());
        }
        *known = self.find_evidence(dir)?;
        Ok(())
    }

    /// The newest key first, because it is the likeliest to be under the present passphrase; then all
    /// the others, on all cores. `None` if there is no envelope that anybody could open.
    fn find_evidence(&self, dir: &Dir) -> Result<Option<KeyFile>> {
        let (mut keys, unreadable) = files::read_all(dir)?;
        // A damaged file opens with nothing, but one that could not be read might.
        let is_damage = |error: &Error| matches!(error, Error::CorruptEnvelope { .. });
        let mut errors = unreadable.into_iter().map(|file| file.error);
        if let Some(error) = errors.find(|error| !is_damage(error)) {
            return Err(error);
        }
        keys.sort_by(|a, b| b.envelope.meta.age().cmp(&a.envelope.meta.age()));
        let opens = |file: &KeyFile| self.open(|passphrase| file.envelope.open(passphrase)).is_ok();
        let opened = match keys.split_first() {
            None => return Ok(None),
            Some((newest, _)) if opens(newest) => Some(0),
            Some((_, others)) => {
                others.chunks(pool::cores()).enumerate().find_map(|(nth, chunk)| {
                    let at =
                        pool::each(chunk, opens, &|_, _| {}).iter().position(|opens| *opens)?;
                    Some(1 + nth * pool::cores() + at)
                })
            }
        };
        let opened = opened.ok_or_else(|| self.wrong(keys.len(), dir.path()))?;
        Ok(Some(keys.swap_remove(opened)))
    }

    pub(super) fn wrong(&self, keys: usize, place: &Path) -> Error {
        let (opens, place) = (text::opens_none(keys), place.display());
        Error::WrongPassphrase {
            sentence: format!(
                "the master passphrase from {} {opens} in {place}; nothing was stored",
                &self.origin
            ),
            hint: match &self.origin {
                Origin::Keychain => "lf keys recovery import, with the sheet of their passphrase; lf keys doctor tells more".to_owned(),
                origin => format!("correct or unset {origin}; lf keys doctor tells whether it opens them"),
            },
        }
    }
}
