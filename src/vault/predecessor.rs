//! The plaintext files that the Node-based predecessor writes where it finds no keychain.
//!
//! `<root>/gateway/keys/<base64url(service)>__<base64url(account)>`, without padding: one file a secret.

use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::fs::{self, Dir};

/// Which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remain {
    /// The master passphrase.
    Passphrase,
    /// The bearer token of its one pairing.
    Token,
    /// The private key of the device's identity, which only full mode asks for.
    Device,
}

/// The content of a file.
pub(crate) enum Found {
    /// The secret itself.
    Secret(Secret),
    /// Zeros: [`Remains::erase`] was cut short.
    Erased,
}

/// The directory with the files.
pub(crate) struct Remains {
    /// The root that it is in.
    pub(crate) root: PathBuf,
    dir: Dir,
}

/// Those of these roots that have a file of ours to take over.
pub(crate) fn find(roots: &[PathBuf]) -> Result<Vec<Remains>> {
    let mut found = Vec::new();
    for root in roots {
        let Some(dir) = Dir::open(&root.join("gateway/keys"))? else { continue };
        let names = dir.names()?;
        if ALL.iter().any(|remain| names.contains(&remain.file())) {
            found.push(Remains { root: root.clone(), dir });
        }
    }
    Ok(found)
}

impl Remains {
    /// The secret in this file, without a trailing newline unless it is the device's; `None` if there is
    /// no such file.
    pub(crate) fn read(&self, remain: Remain) -> Result<Option<Found>> {
        let Some(bytes) = self.dir.read(&remain.file(), MAX)? else { return Ok(None) };
        let unfit = |what| {
            let path = self.path(remain);
            Error::PassphraseInvalid(format!("the file {} {what}", path.display()))
        };
        if bytes.len() > MAX {
            return Err(unfit("is too large for a secret"));
        }
        // No secret has a zero byte: a power cut may end the overwriting in the middle.
        if bytes.is_empty() || bytes.contains(&0) {
            return Ok(Some(Found::Erased));
        }
        let mut secret = Secret::from_bytes(bytes).ok_or_else(|| unfit("is not UTF-8 text"))?;
        if remain != Remain::Device {
            secret.drop_trailing_newline();
        }
        Ok(Some(Found::Secret(secret)))
    }

    /// Overwrites the file and removes it, if it is there.
    pub(crate) fn erase(&self, remain: Remain) -> Result<()> {
        self.dir.lock()?.erase(&remain.file())
    }

    /// Is this path the file itself, or a link to it of either kind?
    pub(crate) fn is(&self, remain: Remain, path: &Path) -> Result<bool> {
        let path = fs::real(path);
        let there = path.parent().map(Dir::open).transpose()?.flatten();
        let there = there.zip(path.file_name().and_then(|name| name.to_str()));
        let there = there.map(|(dir, name)| dir.stat(name)).transpose()?.flatten();
        let own = self.dir.stat(&remain.file())?;
        Ok(there.map(|stat| stat.stamp) == own.map(|stat| stat.stamp))
    }

    /// Where the file is.
    pub(crate) fn path(&self, remain: Remain) -> PathBuf {
        self.dir.path().join(remain.file())
    }
}

impl Remain {
    /// The service and the account that it has in a keychain, and what it is, for a person.
    pub(crate) fn names(self) -> [&'static str; 3] {
        match self {
            Remain::Passphrase => ["lenserfight-keys", "master", "the master passphrase"],
            Remain::Token => {
                ["lenserfight-gateway-bearer", "web-pair", "the token of a paired browser"]
            }
            Remain::Device => {
                ["lenserfight-gateway", "device:active", "the private key of the device"]
            }
        }
    }

    fn file(self) -> String {
        let [service, account, _] = self.names();
        let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
        format!("{}__{}", encode(service), encode(account))
    }
}

/// All of them; first the one that a person may have to be asked about.
pub(crate) const ALL: [Remain; 3] = [Remain::Device, Remain::Passphrase, Remain::Token];
/// Bytes; a passphrase and a token have 43.
const MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_the_names_that_the_predecessor_gave_them() {
        assert_eq!(Remain::Passphrase.file(), "bGVuc2VyZmlnaHQta2V5cw__bWFzdGVy");
        assert_eq!(Remain::Token.file(), "bGVuc2VyZmlnaHQtZ2F0ZXdheS1iZWFyZXI__d2ViLXBhaXI");
        assert_eq!(Remain::Device.file(), "bGVuc2VyZmlnaHQtZ2F0ZXdheQ__ZGV2aWNlOmFjdGl2ZQ");
    }

    #[test]
    fn a_file_is_a_secret_or_zeros_or_not_fit() {
        let root = std::env::temp_dir().join(format!("lf-test-remains-{}", std::process::id()));
        let keys = root.join("gateway/keys");
        std::fs::create_dir_all(&keys).unwrap();
        assert!(find(std::slice::from_ref(&root)).unwrap().is_empty());
        let file = keys.join(Remain::Token.file());
        let read = |bytes: &[u8], remain: Remain| {
            std::fs::write(keys.join(remain.file()), bytes).unwrap();
            let remains = find(std::slice::from_ref(&root)).unwrap().pop().unwrap();
            match remains.read(remain) {
                Ok(Some(Found::Secret(secret))) => Ok(secret.expose().to_owned()),
                Ok(Some(Found::Erased)) => Ok("erased".to_owned()),
                Ok(None) => panic!("it is there"),
                Err(error) => Err(error.code()),
            }
        };
        for (bytes, found) in [
            (b"a token\n".as_slice(), Ok("a token")),
            (b"", Ok("erased")),
            (b"\0\0\0", Ok("erased")),
            (b"\0\0ken", Ok("erased")),
            (b"\xff", Err("passphrase_invalid")),
        ] {
            assert_eq!(read(bytes, Remain::Token), found.map(str::to_owned), "{bytes:?}");
        }
        assert_eq!(read(b"a key\n", Remain::Device).as_deref(), Ok("a key\n"), "as it is");
        let largest = "x".repeat(64 * 1024);
        assert_eq!(read(largest.as_bytes(), Remain::Token).as_ref(), Ok(&largest));
        let too_large = read(format!("{largest}x").as_bytes(), Remain::Token);
        assert_eq!(too_large, Err("passphrase_invalid"));
        let remains = find(std::slice::from_ref(&root)).unwrap().pop().unwrap();
        assert!(remains.is(Remain::Token, &file).unwrap());
        assert!(!remains.is(Remain::Device, &file).unwrap());
        remains.erase(Remain::Token).unwrap();
        assert!(!file.exists() && remains.read(Remain::Token).unwrap().is_none());
        std::fs::remove_dir_all(root).unwrap();
    }
}
