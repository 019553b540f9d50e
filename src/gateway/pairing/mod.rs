//! Bearer tokens of paired browsers: mint, list, revoke, recognise.
//!
//! A token is 32 random bytes, kept in the keychain under its pairing's name; on a host without one,
//! in an envelope under the operator's passphrase. The book beside it, `<root>/gateway/pairings.json`,
//! has names and times and no secret: a running gateway looks at it before every answer, and holds
//! digests only.

mod recogniser;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use miniserde::{Deserialize, Serialize, json};

use crate::base::rng;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::keychain::Keychain;
use crate::system::fs::{self, Dir, Locked, Publish};
use crate::system::host::Sources;
use crate::vault::envelope::{self, Envelope};
use crate::vault::key::{KeyId, KeyMeta, Label, Provider};
use crate::vault::master::source;
use crate::vault::master::staging;

pub use self::recogniser::Recogniser;

/// The pairings of one gateway.
#[derive(Debug)]
pub struct Pairings {
    dir: PathBuf,
    sources: Sources,
    keychain: Keychain,
}

/// What is known of a pairing without its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// Its name, and its token's account in the keychain.
    pub name: Label,
    /// When its token was minted; `None` for one that the predecessor made.
    pub created_at: Option<Timestamp>,
    /// When its token ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// The envelope that holds the token, if the keychain does not.
    sealed: Option<KeyId>,
}

/// What becomes of the other pairings when one is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They stay.
    Keep,
    /// They are revoked.
    Revoke,
}

impl Pairings {
    /// The pairings in `<root>/gateway`, whether it is there yet or not.
    #[must_use]
    pub fn at(dir: PathBuf, sources: Sources, keychain: Keychain) -> Pairings {
        Pairings {
            dir,
            sources,
            keychain,
        }
    }

    /// Makes a pairing, or gives the one of this name a new token. The old token is dead with it.
    ///
    /// # Errors
    /// [`Error::KeychainUnavailable`] if the token can neither be kept in the keychain nor sealed;
    /// the pairing's old token is still good then.
    pub fn pair(
        &self,
        name: &Label,
        expires_at: Option<Timestamp>,
        others: Others,
        now: Timestamp,
    ) -> Result<Secret> {
        let token = rng::token::<32>().map(Secret::new)?;
        let dir = Dir::create(&self.dir)?.lock()?;
        let book = self.read(&dir)?.unwrap_or_else(|| self.predecessors());
        let is_kept = |pairing: &Pairing| pairing.name != *name && others == Others::Keep;
        let (mut kept, gone): (Vec<Pairing>, Vec<Pairing>) = book.into_iter().partition(is_kept);
        let before = self.keychain_token(name);
        let sealed = if self.store_in_keychain(name, &token)? {
            None
        } else {
            if staging::ready(&dir)?.is_some() {
                return Err(Error::RekeyPending); // it would not move along
            }
            let envelope = self.seal(name, &token, now)?;
            let file = sealed_name(&envelope.meta.id);
            dir.publish(&file, envelope.print().as_bytes(), Publish::New)?;
            Some(envelope.meta.id)
        };
        kept.push(Pairing {
            name: name.clone(),
            created_at: Some(now),
            expires_at,
            sealed,
        });
        if let Err(error) = write(&dir, &kept) {
            // The old token is still the one that the book means.
            if let Some(before) = before {
                let _ = self.keychain.store(SERVICE, name.as_str(), &before);
            }
            return Err(error);
        }
        let is_replaced = |pairing: &&Pairing| pairing.name != *name || pairing.sealed.is_some();
        let gone: Vec<Pairing> = gone.iter().filter(is_replaced).cloned().collect();
        self.forget(&gone)?;
        sweep(&dir, &kept)?;
        Ok(token)
    }

    /// Takes over the token of the predecessor's one pairing, if that is still good: nobody has made
    /// or revoked a pairing here yet, and the keychain has no token for it. `false` if it is dead.
    ///
    /// # Errors
    /// [`Error::KeychainUnavailable`]; what reading says.
    pub fn inherit(&self, token: &Secret) -> Result<bool> {
        let dir = Dir::create(&self.dir)?.lock()?;
        if self.read(&dir)?.is_some() || self.keychain.find(SERVICE, DEFAULT_NAME)?.is_some() {
            return Ok(false);
        }
        self.keychain.store(SERVICE, DEFAULT_NAME, token)?;
        let kept = self.keychain.find(SERVICE, DEFAULT_NAME)?;
        if kept.is_some_and(|kept| kept.expose() == token.expose()) {
            return Ok(true);
        }
        let reason = "the keychain took the token, but gives back something else";
        Err(Error::KeychainUnavailable(reason.to_owned()))
    }

    /// Every pairing, oldest first, with the time of its last use.
    ///
    /// # Errors
    /// What reading says; [`Error::CorruptPairings`] for a book that is none.
    pub fn list(&self) -> Result<Vec<(Pairing, Option<Timestamp>)>> {
        let Some(dir) = Dir::open(&self.dir)? else {
            return Ok(without_use(self.predecessors()));
        };
        let Some(book) = self.read(&dir)? else {
            return Ok(without_use(self.predecessors()));
        };
        let used = read_used(&dir)?;
        let mut pairings: Vec<_> = book
            .into_iter()
            .map(|pairing| (used.get(pairing.name.as_str()).copied(), pairing))
            .map(|(used, pairing)| (pairing, used))
            .collect();
        pairings.sort_by_key(|(pairing, _)| pairing.created_at);
        Ok(pairings)
    }

    /// The names in the book; asks no keychain.
    ///
    /// # Errors
    /// As [`Pairings::list`].
    pub fn names(&self) -> Result<Vec<Label>> {
        let book = Dir::open(&self.dir)?
            .map(|dir| self.read(&dir))
            .transpose()?;
        let pairings = book.flatten().into_iter().flatten();
        Ok(pairings.map(|pairing| pairing.name).collect())
    }

    /// Revokes the pairing of this name, or all; a running gateway hears of it before its next
    /// answer. Tells which there were, and what kept a dead token in the keychain, if something did.
    ///
    /// # Errors
    /// What reading and writing say; nothing is revoked then.
    pub fn revoke(&self, name: Option<&Label>) -> Result<(Vec<Label>, Result<()>)> {
        let dir = Dir::create(&self.dir)?.lock()?;
        let is_gone = |pairing: &Pairing| name.is_none_or(|name| pairing.name == *name);
        // Without a book there may be the predecessor's token, even if the keychain does not answer;
        // with a book that does not mention it, it is dead.
        let (found, is_damaged) = match self.read(&dir) {
            // To revoke all takes no list of them.
            Err(Error::CorruptPairings { .. }) if name.is_none() => (None, true),
            found => (found?, false),
        };
        let (book, is_first) = match found {
            Some(book) => (book, false),
            None => (self.possible_predecessors(), true),
        };
        let (gone, kept): (Vec<Pairing>, Vec<Pairing>) = book.into_iter().partition(is_gone);
        if gone.is_empty() && !is_damaged {
            return Ok((Vec::new(), Ok(())));
        }
        let was_there =
            |pairing: &Pairing| !is_first || self.keychain_token(&pairing.name).is_some();
        let names = gone
            .iter()
            .filter(|pairing| was_there(pairing))
            .map(|pairing| pairing.name.clone())
            .collect();
        // The book first: from here on the token is dead, whatever happens to the rest.
        write(&dir, &kept)?;
        sweep(&dir, &kept)?;
        let forgotten = match self.forget(&gone) {
            // A host that never had a keychain has nothing in it.
            Err(_) if is_first && self.has_passphrase() => Ok(()),
            forgotten => forgotten,
        };
        Ok((names, forgotten))
    }

    /// `false` if there is no keychain, but a passphrase to seal under instead.
    fn store_in_keychain(&self, name: &Label, token: &Secret) -> Result<bool> {
        let given = source::from_environment(&self.sources)?;
        if self.sources.force && given.is_some() {
            return Ok(false);
        }
        match self.keychain.store(SERVICE, name.as_str(), token) {
            Ok(()) => Ok(true),
            Err(_) if given.is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn seal(&self, name: &Label, token: &Secret, now: Timestamp) -> Result<Envelope> {
        let master = source::find(&self.sources, &self.keychain)?;
        let provider = Provider::parse("gateway")?;
        envelope::seal(
            master.secret(),
            token,
            KeyMeta {
                id: KeyId::mint()?,
                provider,
                label: name.clone(),
                created_at: now,
            },
        )
    }

    /// The token of a pairing whose envelope this is; `None` if it has gone.
    fn sealed_token(&self, id: &KeyId, passphrase: &Secret) -> Result<Option<Secret>> {
        let Some(dir) = Dir::open(&self.dir)? else {
            return Ok(None);
        };
        staging::open(&dir, &sealed_name(id), id, passphrase)
    }

    fn keychain_token(&self, name: &Label) -> Option<Secret> {
        let asked = (!self.sources.force).then(|| self.keychain.find(SERVICE, name.as_str()));
        asked.and_then(|found| found.ok().flatten())
    }

    /// Takes the tokens of these out of the keychain; a keychain that fails once is not asked again.
    fn forget(&self, pairings: &[Pairing]) -> Result<()> {
        let mut kept = pairings.iter().filter(|pairing| pairing.sealed.is_none());
        kept.try_for_each(|pairing| {
            let deleted = self.keychain.delete(SERVICE, pairing.name.as_str());
            deleted.map(drop)
        })
    }

    fn has_passphrase(&self) -> bool {
        matches!(source::from_environment(&self.sources), Ok(Some(_)))
    }

    /// The book; `None` if there is none yet.
    fn read(&self, dir: &Dir) -> Result<Option<Vec<Pairing>>> {
        let corrupt = |reason| Error::CorruptPairings {
            file: dir.path().join(BOOK),
            reason,
        };
        let Some(bytes) = dir.read(BOOK, MAX_BOOK)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| corrupt("it is not UTF-8 text"))?;
        let book: Book =
            json::from_str(text).map_err(|_| corrupt("it is not a list of pairings"))?;
        if book.v != VERSION {
            return Err(corrupt("it is of another version"));
        }
        let pairings = book
            .pairings
            .iter()
            .map(Page::check)
            .collect::<Option<Vec<_>>>();
        pairings
            .map(Some)
            .ok_or_else(|| corrupt("a pairing has a bad name, time or id"))
    }

    /// What there is before the first book: the one token that the predecessor keeps in the keychain.
    fn predecessors(&self) -> Vec<Pairing> {
        let is_kept = |pairing: &Pairing| self.keychain_token(&pairing.name).is_some();
        self.possible_predecessors()
            .into_iter()
            .filter(is_kept)
            .collect()
    }

    /// The same, whether the keychain has it or not.
    fn possible_predecessors(&self) -> Vec<Pairing> {
        let name = Label::parse(DEFAULT_NAME)
            .ok()
            .filter(|_| !self.sources.force);
        let unknown = |name| Pairing {
            name,
            created_at: None,
            expires_at: None,
            sealed: None,
        };
        name.map(unknown).into_iter().collect()
    }
}

fn write(dir: &Locked, pairings: &[Pairing]) -> Result<()> {
    let pairings = pairings.iter().map(Page::of).collect();
    dir.publish(
        BOOK,
        json::to_string(&Book {
            v: VERSION,
            pairings,
        })
        .as_bytes(),
        Publish::Replacement,
    )
}

/// Removes what a process that was killed has left behind: envelopes that no pairing means, and
/// temporary files.
fn sweep(dir: &Locked, book: &[Pairing]) -> Result<()> {
    let meant: Vec<String> = book
        .iter()
        .filter_map(|pairing| pairing.sealed.as_ref())
        .map(sealed_name)
        .collect();
    for name in dir.names()? {
        if fs::is_temporary(&name) || (sealed_id(&name).is_some() && !meant.contains(&name)) {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

fn read_used(dir: &Dir) -> Result<HashMap<String, Timestamp>> {
    let bytes = dir.read(LAST_USED, MAX_BOOK)?.unwrap_or_default();
    let uses: Vec<Use> = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| json::from_str(text).ok())
        .unwrap_or_default();
    Ok(uses
        .into_iter()
        .filter_map(|Use { name, at }| Some((name, Timestamp::parse(&at)?)))
        .collect())
}

fn without_use(pairings: Vec<Pairing>) -> Vec<(Pairing, Option<Timestamp>)> {
    pairings
        .into_iter()
        .map(|pairing| (pairing, None))
        .collect()
}

fn sealed_name(id: &KeyId) -> String {
    format!("{SEALED_PREFIX}{}", id.file_name())
}

#[derive(Serialize, Deserialize)]
struct Book {
    v: u64,
    pairings: Vec<Page>,
}

#[derive(Serialize, Deserialize)]
struct Page {
    name: String,
    #[serde(rename = "createdAt")]
    created_at: Option<String>,
    #[serde(rename = "expiresAt")]
    expires_at: Option<String>,
    sealed: Option<String>,
}

impl Page {
    fn of(pairing: &Pairing) -> Page {
        Page {
            name: pairing.name.as_str().to_owned(),
            created_at: pairing.created_at.map(|at| at.to_string()),
            expires_at: pairing.expires_at.map(|at| at.to_string()),
            sealed: pairing.sealed.as_ref().map(ToString::to_string),
        }
    }

    fn check(&self) -> Option<Pairing> {
        let time = |text: &Option<String>| {
            text.as_deref()
                .map(|text| Timestamp::parse(text).ok_or(()))
                .transpose()
                .ok()
        };
        Some(Pairing {
            name: Label::parse(&self.name).ok()?,
            created_at: time(&self.created_at)?,
            expires_at: time(&self.expires_at)?,
            sealed: self.sealed.as_deref().map(KeyId::parse).transpose().ok()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Use {
    name: String,
    at: String,
}

/// The name of a pairing that was given none, and of the predecessor's.
pub const DEFAULT_NAME: &str = "web-pair";
/// The gateway's directory, below the root.
pub fn dir(root: &Path) -> PathBuf {
    root.join("gateway")
}
const SERVICE: &str = "lenserfight-gateway-bearer";
const BOOK: &str = "pairings.json";
const VERSION: u64 = 1;
const LAST_USED: &str = "last-used.json";
const MAX_BOOK: usize = 1024 * 1024;
const SEALED_PREFIX: &str = "bearer-";

/// The id of a sealed token, if that is what this file's name says.
fn sealed_id(name: &str) -> Option<KeyId> {
    KeyId::from_file_name(name.strip_prefix(SEALED_PREFIX)?)
}
