//! Bearer tokens of paired browsers: mint, list, revoke, recognise.
//!
//! A token is 32 random bytes, kept in the keychain under its pairing's name; on a host without one,
//! in an envelope under the operator's passphrase. The book beside it, `<root>/gateway/pairings.json`,
//! has names and times and no secret: a running gateway looks at it before every answer, and holds
//! digests only.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use miniserde::{Deserialize, Serialize, json};
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use crate::envelope::{self, Envelope};
use crate::error::{Error, Result};
use crate::fs::{Dir, Lock, Publish, Stamp};
use crate::key::{KeyId, KeyMeta, Label, Provider};
use crate::keychain::Keychain;
use crate::passphrase::{self, Sources};
use crate::rng;
use crate::secret::Secret;
use crate::time::{Timestamp, monotonic};

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
    /// [`Error::KeychainUnavailable`] if the token can neither be kept in the keychain nor sealed.
    pub fn pair(
        &self,
        name: &Label,
        expires_at: Option<Timestamp>,
        others: Others,
        now: Timestamp,
    ) -> Result<Secret> {
        let token = rng::token::<32>().map(Secret::new)?;
        // What can fail for want of a keychain or a passphrase fails before anything is made.
        let sealed = if self.store_in_keychain(name, &token)? {
            None
        } else {
            Some(self.seal(name, &token, now)?)
        };
        let dir = Dir::create(&self.dir)?;
        let lock = dir.lock()?;
        let (mut kept, gone): (Vec<Pairing>, Vec<Pairing>) = match self.read(&dir)? {
            Some(book) => book,
            None => self.predecessors(),
        }
        .into_iter()
        .partition(|pairing| pairing.name != *name && others == Others::Keep);
        if let Some(envelope) = &sealed {
            dir.publish(
                &lock,
                &sealed_name(&envelope.meta.id),
                envelope.print().as_bytes(),
                Publish::New,
            )?;
        }
        kept.push(Pairing {
            name: name.clone(),
            created_at: Some(now),
            expires_at,
            sealed: sealed.map(|envelope| envelope.meta.id),
        });
        write(&dir, &lock, &kept)?;
        for pairing in gone
            .iter()
            .filter(|pairing| pairing.name != *name || pairing.sealed.is_some())
        {
            self.forget(&dir, &lock, pairing)?;
        }
        Ok(token)
    }

    /// Every pairing, oldest first, with the time of its last use.
    ///
    /// # Errors
    /// What reading says; [`Error::CorruptEnvelope`] for a book that is none.
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

    /// Revokes the pairing of this name, or all; a running gateway hears of it before its next
    /// answer. Tells which there were.
    ///
    /// # Errors
    /// What reading and writing say. [`Error::KeychainUnavailable`] if a token could not be taken out
    /// of the keychain: it is dead all the same.
    pub fn revoke(&self, name: Option<&Label>) -> Result<Vec<Label>> {
        let book = match Dir::open(&self.dir)? {
            Some(dir) => self.read(&dir)?,
            None => None,
        };
        if book.is_none() && self.predecessors().is_empty() {
            return Ok(Vec::new());
        }
        let dir = Dir::create(&self.dir)?;
        let lock = dir.lock()?;
        let book = self.read(&dir)?.unwrap_or_else(|| self.predecessors());
        let (gone, kept): (Vec<Pairing>, Vec<Pairing>) = book
            .into_iter()
            .partition(|pairing| name.is_none_or(|name| pairing.name == *name));
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        // The book first: from here on the token is dead, whatever happens to the rest.
        write(&dir, &lock, &kept)?;
        let forgotten: Vec<Result<()>> = gone
            .iter()
            .map(|pairing| self.forget(&dir, &lock, pairing))
            .collect();
        forgotten.into_iter().collect::<Result<()>>()?;
        Ok(gone.into_iter().map(|pairing| pairing.name).collect())
    }

    /// `false` if there is no keychain, but a passphrase to seal under instead.
    fn store_in_keychain(&self, name: &Label, token: &Secret) -> Result<bool> {
        let given = passphrase::from_environment(&self.sources)?;
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
        let master = passphrase::find(&self.sources, &self.keychain)?;
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

    /// The token of a pairing; `None` if it has gone.
    fn token(&self, pairing: &Pairing) -> Result<Option<Secret>> {
        let Some(id) = &pairing.sealed else {
            return self.keychain.find(SERVICE, pairing.name.as_str());
        };
        let Some(dir) = Dir::open(&self.dir)? else {
            return Ok(None);
        };
        let Some(bytes) = dir.read(&sealed_name(id), envelope::MAX_FILE)? else {
            return Ok(None);
        };
        let master = passphrase::find(&self.sources, &self.keychain)?;
        Envelope::parse(&bytes, id)?.open(master.secret()).map(Some)
    }

    fn forget(&self, dir: &Dir, lock: &Lock, pairing: &Pairing) -> Result<()> {
        match &pairing.sealed {
            Some(id) => dir.remove(lock, &sealed_name(id)).map(drop),
            None => self
                .keychain
                .delete(SERVICE, pairing.name.as_str())
                .map(drop),
        }
    }

    /// The book; `None` if there is none yet.
    fn read(&self, dir: &Dir) -> Result<Option<Vec<Pairing>>> {
        let corrupt = |reason: &str| Error::CorruptEnvelope {
            file: dir.path().join(BOOK).display().to_string(),
            reason: reason.to_owned(),
        };
        let Some(bytes) = dir.read(BOOK, MAX_BOOK)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| corrupt("it is not UTF-8 text"))?;
        let book: Book =
            json::from_str(text).map_err(|_| corrupt("it is not a list of pairings"))?;
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
        let is_kept = |pairing: &Pairing| matches!(self.token(pairing), Ok(Some(_)));
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

/// Knows tokens by their digests; kept by a running gateway.
///
/// The book is looked at for every request, and is enough to revoke. The keychain, which may take its
/// time, is asked only for what is not known yet, and now and then in case somebody else has changed
/// it: nobody whose token is known waits for it.
/// (tests/pairing.rs: `a_keychain_that_hangs_delays_nobody_who_is_known`)
#[derive(Debug)]
pub struct Recogniser {
    pairings: Pairings,
    known: Mutex<Known>,
    /// Held by the one who asks the keychain.
    loading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The book's version, and its content; `None` before the first look.
    book: Option<(Option<Stamp>, Vec<Pairing>)>,
    digests: Vec<(Pairing, [u8; 32])>,
    loaded: Option<Loaded>,
    used: HashMap<String, Timestamp>,
    used_saved: HashMap<String, Timestamp>,
}

/// A time when the tokens were read.
#[derive(Clone, Debug)]
struct Loaded {
    of: Option<Stamp>,
    at: Instant,
    /// Why some could not be.
    failure: Option<Arc<Error>>,
}

impl Recogniser {
    /// Knows nobody yet; looks at the first request.
    #[must_use]
    pub fn new(pairings: Pairings) -> Recogniser {
        Recogniser {
            pairings,
            known: Mutex::new(Known::default()),
            loading: Mutex::new(()),
        }
    }

    /// Whose token is this? `None`: nobody's, or no longer. The comparison takes the same time for
    /// every token, right or wrong.
    ///
    /// # Errors
    /// Whatever keeps the tokens from being known, if it might be one of those.
    pub fn recognise(
        &self,
        token: &str,
        now: Timestamp,
    ) -> std::result::Result<Option<String>, Arc<Error>> {
        let digest = digest(token);
        self.follow_book()?;
        let is_known = self.known().name_of(&digest).is_some();
        if self.known().needs_loading() {
            // Who is known does not wait for another who asks already; who is not, has to.
            let turn = if is_known {
                self.loading.try_lock().ok()
            } else {
                Some(lock(&self.loading))
            };
            if turn.is_some() && self.known().needs_loading() {
                self.load();
            }
        }
        let mut known = self.known();
        let failure = known
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.failure.clone());
        match (known.name_of(&digest), failure) {
            (Some(pairing), _) if pairing.expires_at.is_some_and(|end| end <= now) => Ok(None),
            (Some(pairing), _) => {
                let name = pairing.name.as_str().to_owned();
                known.used.insert(name.clone(), now);
                Ok(Some(name))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(None),
        }
    }

    /// Takes notice of a changed book: whoever is no longer in it, as it was, is forgotten at once.
    fn follow_book(&self) -> Result<()> {
        let mut known = self.known();
        let dir = Dir::open(&self.pairings.dir)?;
        let stamp = match &dir {
            Some(dir) => dir.look(BOOK)?.map(|look| look.stamp),
            None => None,
        };
        if known.book.as_ref().is_some_and(|(seen, _)| *seen == stamp) {
            return Ok(());
        }
        let book = match &dir {
            Some(dir) => self.pairings.read(dir)?,
            None => None,
        };
        let book = book.unwrap_or_else(|| self.pairings.possible_predecessors());
        known.digests.retain(|(pairing, _)| book.contains(pairing));
        known.book = Some((stamp, book));
        Ok(())
    }

    /// Reads the tokens of the book, without keeping anybody from being recognised meanwhile.
    fn load(&self) {
        let (of, book, mut digests) = {
            let known = self.known();
            let (stamp, book) = known.book.clone().unwrap_or_default();
            (stamp, book, known.digests.clone())
        };
        let mut failure = None;
        for pairing in &book {
            let before = digests.iter().position(|(known, _)| known == pairing);
            if before.is_some() && pairing.sealed.is_some() {
                continue; // an envelope does not change; only a keychain can, behind the book's back
            }
            match (self.pairings.token(pairing), before) {
                (Ok(Some(token)), Some(at)) => digests[at].1 = digest(token.expose()),
                (Ok(Some(token)), None) => digests.push((pairing.clone(), digest(token.expose()))),
                (Ok(None), Some(at)) => drop(digests.swap_remove(at)),
                (Ok(None), None) => {}
                // A keychain that is locked for a while revokes nobody whom the book still has.
                (Err(_), Some(_)) => {}
                // Without a book this is only where a predecessor's token might be.
                (Err(_), None) if of.is_none() => {}
                (Err(error), None) => failure = Some(Arc::new(error)),
            }
        }
        let mut known = self.known();
        let is_current = known.book.as_ref().is_some_and(|(stamp, _)| *stamp == of);
        if is_current {
            known.digests = digests;
        }
        known.loaded = Some(Loaded {
            of,
            at: monotonic(),
            failure,
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Writes down when each pairing was last used, if that has changed. Best effort: it is for a
    /// person to look at.
    pub fn save(&self) {
        let used = {
            let mut known = self.known();
            if known.used == known.used_saved {
                return;
            }
            known.used_saved = known.used.clone();
            known.used.clone()
        };
        let Ok(Some(dir)) = Dir::open(&self.pairings.dir) else {
            return;
        };
        let _ = dir.lock().and_then(|lock| {
            let mut all = read_used(&dir)?;
            all.extend(used);
            let members: Vec<Use> = all
                .into_iter()
                .map(|(name, at)| Use {
                    name,
                    at: at.to_string(),
                })
                .collect();
            dir.publish(
                &lock,
                LAST_USED,
                json::to_string(&members).as_bytes(),
                Publish::Replacement,
            )
        });
    }
}

impl Known {
    fn name_of(&self, digest: &[u8; 32]) -> Option<&Pairing> {
        let mut found = None;
        for (pairing, known) in &self.digests {
            if is_same(digest, known) {
                found = Some(pairing);
            }
        }
        found
    }

    /// Have the tokens not been read since the book changed, or too long ago?
    fn needs_loading(&self) -> bool {
        let stamp = self.book.as_ref().and_then(|(stamp, _)| *stamp);
        self.loaded.as_ref().is_none_or(|loaded| {
            let trust = if loaded.failure.is_some() {
                RETRY
            } else {
                TRUST
            };
            loaded.of != stamp || monotonic().duration_since(loaded.at) >= trust
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    optimization_barrier(&difference);
    difference == 0
}

fn write(dir: &Dir, lock: &Lock, pairings: &[Pairing]) -> Result<()> {
    let pairings = pairings.iter().map(Page::of).collect();
    dir.publish(
        lock,
        BOOK,
        json::to_string(&Book { v: 1, pairings }).as_bytes(),
        Publish::Replacement,
    )
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
    format!("bearer-{id}.json")
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
const LAST_USED: &str = "last-used.json";
const MAX_BOOK: usize = 1024 * 1024;
/// How long a digest is trusted without another look into the keychain.
const TRUST: Duration = Duration::from_secs(10);
/// How long a failure to read the tokens stands before the next try.
const RETRY: Duration = Duration::from_secs(1);
