//! The plaintext files that the Node-based predecessor writes where it finds no keychain.
//!
//! `<root>/gateway/keys/<base64url(service)>__<base64url(account)>`, without padding: one file a secret.

use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::Dir;

/// Which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remain {
    /// The master passphrase.
    Passphrase,
    /// The bearer token of its one pairing.
    Token,
}

/// The content of a file.
#[derive(Debug)]
pub(crate) enum Found {
    /// The secret itself.
    Secret(Secret),
    /// Zeros: [`Remains::erase`] was cut short.
    Erased,
}

/// The directory with the files.
#[derive(Debug)]
pub(crate) struct Remains {
    dir: Dir,
}

/// The files, if there is one of ours to take over.
pub(crate) fn find(state: &Path) -> Result<Option<Remains>> {
    let Some(dir) = Dir::open(&state.join("keys"))? else {
        return Ok(None);
    };
    let is_there = dir.stat(&Remain::Passphrase.file())?.is_some()
        || dir.stat(&Remain::Token.file())?.is_some();
    Ok(is_there.then_some(Remains { dir }))
}

impl Remains {
    /// The secret in this file, without a trailing newline; `None` if there is no such file.
    pub(crate) fn read(&self, remain: Remain) -> Result<Option<Found>> {
        let Some(bytes) = self.dir.read(&remain.file(), MAX)? else {
            return Ok(None);
        };
        let unfit = |what| {
            let path = self.path(remain);
            Error::PassphraseInvalid(format!("the file {} {what}", path.display()))
        };
        if bytes.len() > MAX {
            return Err(unfit("is too large for a secret"));
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(Some(Found::Erased));
        }
        let mut secret = Secret::from_bytes(bytes).ok_or_else(|| unfit("is not UTF-8 text"))?;
        secret.drop_trailing_newline();
        Ok(Some(Found::Secret(secret)))
    }

    /// Overwrites the file and removes it, if it is there.
    pub(crate) fn erase(&self, remain: Remain) -> Result<()> {
        self.dir.lock()?.erase(&remain.file())
    }

    /// Where the file is.
    pub(crate) fn path(&self, remain: Remain) -> PathBuf {
        self.dir.path().join(remain.file())
    }
}

impl Remain {
    fn file(self) -> String {
        let (service, account) = match self {
            Remain::Passphrase => ("lenserfight-keys", "master"),
            Remain::Token => ("lenserfight-gateway-bearer", "web-pair"),
        };
        let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        format!("{}__{}", encode(service), encode(account))
    }
}

/// Bytes; a passphrase and a token have 43.
const MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_the_names_that_the_predecessor_gave_them() {
        assert_eq!(Remain::Passphrase.file(), "bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy");
        assert_eq!(Remain::Token.file(), "bGVuc2VyZmlnaHQtZ2F0ZXdheS1iZWFyZXI__d2ViLXBhaXI");
    }
}
