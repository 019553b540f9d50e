//! The pairings of a gateway: pair, list, revoke, recognise.
//!
//! `<root>/gateway/pairings.json` lists them by name and time; a running gateway looks at it before
//! every answer. A token is 32 random bytes. The keychain keeps it under its pairing's name, and is the
//! authority: a program that can only write the list cannot pair itself. On a host without a keychain the
//! list holds the token's SHA-256 instead, which is no secret: 256 random bits cannot be guessed from it.
//! Such a digest counts only while no keychain is in use, which is one of these:
//!
//! 1. The environment has a master passphrase and forces it, so that no keychain is asked.
//! 2. The keychain does not answer, and the environment has a master passphrase.
//! 3. There is no keychain: no session bus, or no service on it that provides one.
//!
//! Once a keychain has answered a running gateway, 2 and 3 no longer hold for that gateway, so that no
//! digest counts when the keychain is locked or ended later.
//! (tests/pairing.rs: `a_digest_in_the_list_counts_for_nothing_once_a_keychain_answers`)

mod recogniser;

use std::collections::HashMap;
use std::path::PathBuf;

use base64ct::{Base64UrlUnpadded, Encoding};
use miniserde::{Deserialize, Serialize, json};
use sha2::{Digest, Sha256};

use crate::base::rng;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::error::{Error, Result};
use crate::gateway::state;
use crate::keychain::Keychain;
use crate::system::environment::Sources;
use crate::system::fs::{self, Dir, Locked, Publish};
use crate::vault::key::Label;
use crate::vault::master::source;

pub(crate) use self::recogniser::Recogniser;

/// The pairings of one gateway.
#[derive(Debug)]
pub(crate) struct Pairings {
    dir: PathBuf,
    sources: Sources,
    keychain: Keychain,
}

/// What is known of a pairing without its token, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pairing {
    /// Its name, and its token's account in the keychain.
    pub(crate) name: Label,
    /// When its token was minted; `None` for one that the predecessor made.
    #[serde(rename = "createdAt")]
    pub(crate) created_at: Option<Timestamp>,
    /// When its token expires, if it does.
    #[serde(rename = "expiresAt")]
    pub(crate) expires_at: Option<Timestamp>,
    /// The token's SHA-256 in base64url, if the keychain does not have the token.
    sha256: Option<String>,
    /// The id of the envelope in which a former version kept the token. It is no longer opened.
    sealed: Option<String>,
}

/// What becomes of the other pairings when one is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Others {
    /// They stay.
    Keep,
    /// They are revoked.
    Revoke,
}

impl Pairing {
    /// One whose token the keychain has.
    fn new(name: Label) -> Pairing {
        Pairing { name, created_at: None, expires_at: None, sha256: None, sealed: None }
    }

    /// A former version sealed its token: it has to be paired again.
    pub(crate) fn is_outdated(&self) -> bool {
        self.sealed.is_some()
    }

    fn is_in_keychain(&self) -> bool {
        self.sha256.is_none() && self.sealed.is_none()
    }

    fn digest(&self) -> Option<[u8; 32]> {
        let bytes = Base64UrlUnpadded::decode_vec(self.sha256.as_ref()?).ok()?;
        bytes.try_into().ok()
    }
}

impl Pairings {
    /// The pairings in `<root>/gateway`, whether it is there yet or not.
    pub(crate) fn at(dir: PathBuf, sources: Sources, keychain: Keychain) -> Pairings {
        Pairings { dir, sources, keychain }
    }

    /// Makes a pairing, or gives the one of this name a new token. The old token is dead with it, or
    /// still good if this fails.
    pub(crate) fn pair(
        &self,
        name: &Label,
        expires_at: Option<Timestamp>,
        others: Others,
        now: Timestamp,
    ) -> Result<Secret> {
        let token = rng::token::<32>().map(Secret::new)?;
        let dir = Dir::create(&self.dir)?.lock()?;
        let list = read(&dir)?.unwrap_or_else(|| self.predecessors());
        let is_kept = |pairing: &Pairing| pairing.name != *name && others == Others::Keep;
        let (mut kept, mut gone): (Vec<Pairing>, Vec<Pairing>) =
            list.into_iter().partition(is_kept);
        let before = self.keychain_token(name);
        kept.push(Pairing {
            created_at: Some(now),
            expires_at,
            sha256: self.keep(name, &token)?,
            ..Pairing::new(name.clone())
        });
        if let Err(error) = write(&dir, kept) {
            // The old token is still the one that the list means.
            if let Some(before) = before {
                let _ = self.keychain.store(SERVICE, name.as_str(), &before);
            }
            return Err(error);
        }
        gone.retain(|pairing| pairing.name != *name);
        self.forget(&gone)?;
        sweep(&dir)?;
        Ok(token)
    }

    /// Takes over the token of the predecessor's one pairing, if that is still good: no pairing was made
    /// or revoked here yet, and the keychain has no token for it. `false` if it is dead.
    pub(crate) fn inherit(&self, token: &Secret) -> Result<bool> {
        let dir = Dir::create(&self.dir)?.lock()?;
        if read(&dir)?.is_some() || self.keychain.find(SERVICE, DEFAULT_NAME)?.is_some() {
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
    pub(crate) fn list(&self) -> Result<Vec<(Pairing, Option<Timestamp>)>> {
        let dir = Dir::open(&self.dir)?;
        let list = dir.as_ref().map(read).transpose()?.flatten();
        let used = dir.as_ref().map(read_used).transpose()?.unwrap_or_default();
        let mut pairings = list.unwrap_or_else(|| self.predecessors());
        pairings.sort_by_key(|pairing| pairing.created_at);
        let with_use = |pairing: Pairing| {
            let used = used.get(pairing.name.as_str()).copied();
            (pairing, used)
        };
        Ok(pairings.into_iter().map(with_use).collect())
    }

    /// The names in the list; asks no keychain.
    pub(crate) fn names(&self) -> Result<Vec<Label>> {
        let list = Dir::open(&self.dir)?.map(|dir| read(&dir)).transpose()?;
        let pairings = list.flatten().into_iter().flatten();
        Ok(pairings.map(|pairing| pairing.name).collect())
    }

    /// Revokes the pairing of this name, or all; a running gateway notices before its next answer.
    /// Tells which there were, and what kept a dead token in the keychain, if something did. Nothing is
    /// revoked if this fails.
    pub(crate) fn revoke(&self, name: Option<&Label>) -> Result<(Vec<Label>, Result<()>)> {
        let dir = Dir::create(&self.dir)?.lock()?;
        let is_gone = |pairing: &Pairing| name.is_none_or(|name| pairing.name == *name);
        // Without a list there may be the predecessor's token, even if the keychain does not answer;
        // with a list that does not mention it, it is dead.
        let (found, is_damaged) = match read(&dir) {
            // To revoke all, the names need not be readable.
            Err(Error::CorruptPairings(..)) if name.is_none() => (None, true),
            found => (found?, false),
        };
        let is_first = found.is_none();
        let list = found.unwrap_or_else(|| self.possible_predecessors());
        let (gone, kept): (Vec<Pairing>, Vec<Pairing>) = list.into_iter().partition(is_gone);
        if gone.is_empty() && !is_damaged {
            return Ok((Vec::new(), Ok(())));
        }
        let was_there =
            |pairing: &&Pairing| !is_first || self.keychain_token(&pairing.name).is_some();
        let names = gone.iter().filter(was_there);
        let names = names.map(|pairing| pairing.name.clone()).collect();
        // The list first: from here on the token is dead, whatever happens to the rest.
        write(&dir, kept)?;
        sweep(&dir)?;
        let forgotten = match self.forget(&gone) {
            // A host that never had a keychain has nothing in it.
            Err(_) if is_first && self.is_without_keychain() => Ok(()),
            forgotten => forgotten,
        };
        Ok((names, forgotten))
    }

    /// Keeps a token in the keychain; where none is in use, answers its digest for the list.
    fn keep(&self, name: &Label, token: &Secret) -> Result<Option<String>> {
        let digest = || Some(Base64UrlUnpadded::encode_string(&digest(token.expose())));
        if self.is_forced() {
            return Ok(digest());
        }
        match self.keychain.store(SERVICE, name.as_str(), token) {
            Ok(()) => Ok(None),
            Err(_) if self.is_without_keychain() => Ok(digest()),
            Err(error) => Err(error),
        }
    }

    /// Is the environment's passphrase used without a look into the keychain?
    fn is_forced(&self) -> bool {
        self.sources.force && self.has_passphrase()
    }

    /// Is no keychain in use here? Asked once it has failed.
    fn is_without_keychain(&self) -> bool {
        self.has_passphrase() || self.keychain.is_absent()
    }

    fn has_passphrase(&self) -> bool {
        matches!(source::from_environment(&self.sources), Ok(Some(_)))
    }

    fn keychain_token(&self, name: &Label) -> Option<Secret> {
        if self.sources.force {
            return None;
        }
        self.keychain.find(SERVICE, name.as_str()).ok().flatten()
    }

    /// Takes the tokens of these out of the keychain; a keychain that fails once is not asked again.
    fn forget(&self, pairings: &[Pairing]) -> Result<()> {
        for pairing in pairings.iter().filter(|pairing| pairing.is_in_keychain()) {
            self.keychain.delete(SERVICE, pairing.name.as_str())?;
        }
        Ok(())
    }

    /// What there is before the first list: the one token that the predecessor keeps in the keychain.
    fn predecessors(&self) -> Vec<Pairing> {
        let mut possible = self.possible_predecessors();
        possible.retain(|pairing| self.keychain_token(&pairing.name).is_some());
        possible
    }

    /// The same, whether the keychain has it or not.
    fn possible_predecessors(&self) -> Vec<Pairing> {
        let name = Label::parse(DEFAULT_NAME).ok();
        let name = name.filter(|_| !self.sources.force);
        name.map(Pairing::new).into_iter().collect()
    }
}

/// The list; `None` if there is none yet.
fn read(dir: &Dir) -> Result<Option<Vec<Pairing>>> {
    let is_good = |pairing: &Pairing| pairing.sha256.is_none() || pairing.digest().is_some();
    let found = state::read::<List>(dir, LIST, MAX_LIST)?.map(|list| {
        list.filter(|list| list.v == VERSION && list.pairings.iter().all(is_good))
            .map(|list| list.pairings)
            .ok_or_else(|| {
                Error::CorruptPairings(
                    dir.path().join(LIST),
                    "it is not a list of pairings of this version",
                )
            })
    });
    found.transpose()
}

fn write(dir: &Locked, pairings: Vec<Pairing>) -> Result<()> {
    let v = VERSION;
    let text = json::to_string(&List { v, pairings });
    dir.publish(LIST, text.as_bytes(), Publish::Replacement)
}

/// Removes temporary files that a killed process has left behind, and the envelopes of former versions.
fn sweep(dir: &Locked) -> Result<()> {
    for name in dir.names()? {
        let is_sealed = name.starts_with("bearer-") && name.ends_with(".json");
        if is_sealed || fs::is_temporary(&name) {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

fn read_used(dir: &Dir) -> Result<HashMap<String, Timestamp>> {
    let uses = state::read::<Vec<Use>>(dir, LAST_USED, MAX_LIST)?.flatten();
    let uses = uses.into_iter().flatten();
    Ok(uses.map(|Use { name, at }| (name, at)).collect())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[derive(Serialize, Deserialize)]
struct List {
    v: u64,
    pairings: Vec<Pairing>,
}

#[derive(Serialize, Deserialize)]
struct Use {
    name: String,
    at: Timestamp,
}

/// The name of a pairing that was given none, and of the predecessor's.
pub(crate) const DEFAULT_NAME: &str = "web-pair";
const SERVICE: &str = "lenserfight-gateway-bearer";
const LIST: &str = "pairings.json";
const VERSION: u64 = 1;
const LAST_USED: &str = "last-used.json";
const MAX_LIST: usize = 1024 * 1024;
