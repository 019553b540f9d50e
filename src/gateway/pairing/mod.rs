//! The pairings of a gateway: pair, list, revoke, recognise.
//!
//! `<root>/gateway/pairings.json` lists them; a running gateway looks at it before every answer. A
//! token is 32 random bytes. It counts only if both of these hold:
//!
//! 1. The list of this root has its SHA-256, and the pairing has not expired. So a token of another
//!    root counts for nothing, and where the list is lost none counts: `lf gateway pair` makes new
//!    ones. (tests/pairing.rs: `a_token_is_good_for_its_own_root_alone`,
//!    `without_its_list_no_token_is_good`)
//! 2. The keychain has it, under an account that belongs to this root. So a program that can only
//!    write the list cannot pair itself. It can change the scope and the end of a pairing.
//!    (tests/pairing.rs: `a_digest_in_the_list_counts_for_nothing_once_a_keychain_answers`)
//!
//! On a host without a keychain the list has the SHA-256 alone, which is no secret: 256 random bits
//! cannot be guessed from it. It is enough while no keychain is in use, which is one of these:
//!
//! 1. The environment has a master passphrase and forces it, so that no keychain is asked.
//! 2. The keychain does not answer, and the environment has a master passphrase.
//! 3. There is no keychain: no session bus, or no service on it that provides one.
//!
//! Once a keychain has answered a running gateway, 2 and 3 no longer hold for that gateway, so that
//! no such digest counts when the keychain is locked or ended later.
//!
//! In the default root, `~/.lenserfight`, a pairing's account is its name, as the predecessor's
//! clients know it. In another root the digest of the root's path follows the name, so that one
//! which was moved or copied has none of its tokens in the keychain, and has to be paired again.
//! (tests/pairing.rs: `a_root_that_was_copied_or_moved_is_paired_again`)
//!
//! The predecessor left one token in the keychain, and no list. The default root takes it over
//! once, for 90 days, as a pairing that the list marks. An entry in the keychain says that it was
//! done, so that it is not done again when the list is lost.
//! (tests/pairing.rs: `the_predecessors_token_is_taken_over_once`)

mod recogniser;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use miniserde::{Deserialize, Serialize, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::base::{rng, secret::Secret, time::Timestamp};
use crate::error::{Error, Result};
use crate::gateway::state;
use crate::keychain::Keychain;
use crate::system::{Dir, Environment, Locked, Publish, Sources, fs};
use crate::vault::{key::Label, master::source};

pub(crate) use self::recogniser::Recogniser;

/// The pairings of one root.
pub(crate) struct Pairings {
    root: PathBuf,
    /// `<root>/gateway`
    dir: PathBuf,
    /// `~/.lenserfight`, if there is a home.
    default_root: Option<PathBuf>,
    sources: Sources,
    keychain: Keychain,
}

/// What is known of a pairing without its token, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pairing {
    pub(crate) name: Label,
    /// When its token was minted; `None` for one that the predecessor made.
    #[serde(rename = "createdAt")]
    pub(crate) created_at: Option<Timestamp>,
    /// When its token expires, if it does.
    #[serde(rename = "expiresAt")]
    pub(crate) expires_at: Option<Timestamp>,
    /// When it was taken over from the predecessor, if it was.
    #[serde(rename = "takenOverAt")]
    pub(crate) taken_over: Option<Timestamp>,
    /// The ids of the only keys that there are for it; `None` for all. No key gets the id of one
    /// that was removed.
    pub(crate) keys: Option<Vec<String>>,
    /// The only ones of [`ACTS`] that it may do; `None` for all, but for adding where there are
    /// only certain keys.
    pub(crate) allow: Option<Vec<String>>,
    /// The token's SHA-256 in base64url; a list of the first version has none for a token in the
    /// keychain.
    sha256: Option<String>,
    /// The token's account in the keychain, if it is there.
    account: Option<String>,
    /// In a list of the first version: the id of the envelope that has the token. It is no longer
    /// opened.
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
    /// One that may do everything, for ever, and has no token yet.
    pub(crate) fn new(name: Label) -> Pairing {
        let (created_at, expires_at, taken_over) = (None, None, None);
        let (keys, allow, sha256, account, sealed) = (None, None, None, None, None);
        Pairing { name, created_at, expires_at, taken_over, keys, allow, sha256, account, sealed }
    }

    /// What its page may know of it, and its owner, as JSON.
    pub(crate) fn view(&self, last_used: Option<Timestamp>) -> String {
        let allow: Vec<&str> = ACTS.into_iter().filter(|act| self.allows(act)).collect();
        json::to_string(&BTreeMap::<&str, &dyn Serialize>::from([
            ("name", &self.name as &dyn Serialize),
            ("keys", &self.keys),
            ("allow", &allow),
            ("createdAt", &self.created_at),
            ("expiresAt", &self.expires_at),
            ("takenOverAt", &self.taken_over),
            ("lastUsedAt", &last_used),
        ]))
    }

    /// May it do this one of [`ACTS`]?
    pub(crate) fn allows(&self, act: &str) -> bool {
        let by_default = act != "add" || self.keys.is_none();
        self.allow.as_ref().map_or(by_default, |acts| acts.iter().any(|one| one == act))
    }

    /// Is there this key for it? The id is as it was sent.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == id))
    }

    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Can its token be good?
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        !self.is_expired(now) && !self.is_outdated()
    }

    /// A former version sealed its token, or the root was moved or copied here: it has to be paired
    /// again.
    pub(crate) fn is_outdated(&self) -> bool {
        self.sha256.is_none() && self.account.is_none()
    }

    fn digest(&self) -> Option<[u8; 32]> {
        Base64UrlUnpadded::decode_vec(self.sha256.as_ref()?).ok()?.try_into().ok()
    }
}

impl Pairings {
    /// The pairings of a root, whether it is there yet or not.
    pub(crate) fn at(root: PathBuf, environment: &Environment, keychain: Keychain) -> Pairings {
        let (dir, sources) = (state::dir(&root), environment.passphrase.clone());
        Pairings { root, dir, default_root: environment.default_root(), sources, keychain }
    }

    /// The same, with a helper's sources and keychain.
    pub(crate) fn through(self, sources: Sources, keychain: Keychain) -> Pairings {
        Pairings { sources, keychain, ..self }
    }

    /// Is this the entry of a token of this root?
    pub(crate) fn is_token(&self, service: &str, account: &str) -> bool {
        let name = account.split(TAG).next().map(Label::parse);
        let is_one = |name: &Label| self.accounts()(name).iter().any(|own| own == account);
        service == SERVICE && matches!(name, Some(Ok(name)) if is_one(&name))
    }

    /// Makes a pairing, or gives the one of this name a new token. An error means that nothing has
    /// changed. Otherwise the token was given to `print`, with the pairing that it replaces, and is
    /// the only one of its name; what could not be tidied up after that is told.
    ///
    /// 1. Lock the directory, and read the list.
    /// 2. Store the token in the keychain, under that of the name's two accounts which the list
    ///    does not name.
    /// 3. Print the token.
    /// 4. Publish the list, which has its digest and its account. From here on the new token is
    ///    good, and the old one is not.
    /// 5. Store the token under the name's usual account too, publish the list with that, delete
    ///    the other.
    /// 6. Delete the revoked tokens from the keychain.
    ///
    /// If it fails or is killed before step 4, the list names the tokens of before, which are where
    /// it says; a token that was printed is good for nothing. After step 4 the token is where the
    /// list says at every moment. A keychain that carries out later what it did not answer in time
    /// changes nothing of this: until the list names an account, what is stored there is good for
    /// nothing.
    /// (tests/pairing.rs: `a_pairing_is_the_old_one_or_the_new_one_and_its_token_is_printed`)
    pub(crate) fn pair(
        &self,
        wanted: Pairing,
        others: Others,
        now: Timestamp,
        print: impl FnOnce(&Secret, Option<&Pairing>) -> Result<()>,
    ) -> Result<Result<()>> {
        let token = rng::token::<32>().map(Secret::new)?;
        match self.settle(now) {
            Err(Error::StoreBusy(_)) => {}
            Err(Error::KeychainUnavailable(_)) if self.is_without_keychain() => {}
            settled => settled?,
        }
        let dir = Dir::create(&self.dir)?.lock()?;
        let name = wanted.name.clone();
        let is_kept = |it: &Pairing| it.name != name && others == Others::Keep;
        let list = self.read(&dir)?.unwrap_or_default().into_iter();
        let (mut list, mut gone): (Vec<_>, Vec<_>) = list.partition(is_kept);
        let old = gone.iter().position(|it| it.name == name).map(|at| gone.swap_remove(at));
        let [usual, other] = self.accounts()(&name);
        let is_taken = old.as_ref().is_some_and(|old| old.account.as_ref() == Some(&usual));
        let account = if is_taken { other } else { usual };
        let store = |()| self.keychain.store(SERVICE, &account, &token).map(|()| account);
        let account = match self.is_forced() {
            true => None,
            false => match self.mark(now).map(drop).and_then(store) {
                Err(_) if self.is_without_keychain() => None,
                kept => Some(kept?),
            },
        };
        list.push(Pairing { sha256: Some(encoded(&token)), account: account.clone(), ..wanted });
        let published = print(&token, old.as_ref()).and_then(|()| write(&dir, &list));
        // The list may be in its place, and only its directory not synced.
        if published.is_err() && self.read(&dir).ok().flatten().as_ref() != Some(&list) {
            let _ = account.map(|account| self.keychain.delete(SERVICE, &account));
            return published.map(Ok);
        }
        keep_used(&dir, &list, BTreeMap::new());
        let tidied = self.settle_account(&dir, &mut list, &token);
        Ok(tidied.and_then(|()| self.forget(&gone)).and_then(|()| sweep(&dir)))
    }

    /// Moves the token of the list's last pairing to its usual account.
    fn settle_account(&self, dir: &Locked, list: &mut [Pairing], token: &Secret) -> Result<()> {
        let Some(pairing) = list.last_mut().filter(|pairing| pairing.account.is_some()) else {
            return Ok(());
        };
        let [usual, other] = self.accounts()(&pairing.name);
        if pairing.account.as_ref() == Some(&other) {
            self.keychain.store(SERVICE, &usual, token)?;
            pairing.account = Some(usual);
            write(dir, list)?;
        }
        self.keychain.delete(SERVICE, &other).map(drop)
    }

    /// Takes over the token of the predecessor's one pairing, if that is still good: no pairing was
    /// made or revoked here yet, and the keychain has no token for it. `false` if it is dead. Without a
    /// keychain the list has its digest, which is enough of a token that cannot be guessed.
    pub(crate) fn inherit(&self, token: &Secret, now: Timestamp) -> Result<bool> {
        let (first, is_forced) = (self.first(now)?, self.is_forced());
        let account = first.account.clone().unwrap_or_default();
        let found = if is_forced { Ok(None) } else { self.keychain.find(SERVICE, &account) };
        if !self.list()?.is_empty() || matches!(found, Ok(Some(_))) {
            return Ok(false);
        }
        if is_forced || found.is_err() && self.is_without_keychain() {
            let dir = Dir::create(&self.dir)?.lock()?;
            let bytes = Base64UrlUnpadded::decode_vec(token.expose()).map(Zeroizing::new);
            if self.read(&dir)?.is_some() || !bytes.is_ok_and(|bytes| bytes.len() == 32) {
                return Ok(false);
            }
            let sha256 = Some(encoded(token));
            return write(&dir, &[Pairing { account: None, sha256, ..first }]).map(|()| true);
        }
        found?;
        self.keychain.store(SERVICE, &account, token)?;
        self.settle(now)?;
        match self.list()?.first() {
            None => Ok(false),
            Some((pairing, _)) if pairing.sha256 == Some(encoded(token)) => Ok(true),
            _ => Err(Error::KeychainUnavailable(
                "it took the token but does not return it".to_owned(),
            )),
        }
    }

    /// Every pairing, oldest first, with the time of its last use; asks no keychain.
    pub(crate) fn list(&self) -> Result<Vec<(Pairing, Option<Timestamp>)>> {
        let Some(dir) = Dir::open(&self.dir)? else { return Ok(Vec::new()) };
        let (mut list, used) = (self.read(&dir)?.unwrap_or_default(), read_used(&dir));
        list.sort_by_key(|pairing| pairing.created_at);
        let used = |it: &Pairing| used.get(it.sha256.as_ref()?).copied();
        Ok(list.into_iter().map(|pairing| (pairing.clone(), used(&pairing))).collect())
    }

    /// Writes down what the keychain knows and the list does not: the digests that a list of the
    /// first version lacks, and where there is no list, the predecessor's pairing. Waits for no
    /// lock.
    pub(crate) fn settle(&self, now: Timestamp) -> Result<()> {
        if let Some(settled) = self.keychain.delegate(SETTLE) {
            return settled;
        }
        if fs::open_named(&self.root)?.is_none() {
            return Ok(());
        }
        let dir = Dir::create(&self.dir)?.try_lock()?;
        let dir = dir.ok_or_else(|| Error::StoreBusy(self.dir.clone()))?;
        let (found, mut is_new) = (self.read(&dir)?, false);
        let is_first = found.is_none();
        let mut list = found.map_or_else(|| self.first(now).map(|first| vec![first]), Ok)?;
        let is_asked = !(is_first && self.sources.force);
        for pairing in list.iter_mut().filter(|it| is_asked && it.sha256.is_none()) {
            let token = pairing.account.as_ref().map(|at| self.keychain.find(SERVICE, at));
            pairing.sha256 = token.transpose()?.flatten().as_ref().map(encoded);
            is_new |= pairing.sha256.is_some();
        }
        // If it ends behind the mark, the predecessor's browser has to be paired again; but never
        // is it taken over twice.
        if is_new && !(self.mark(now)? && is_first) {
            write(&dir, &list)?;
        }
        Ok(())
    }

    /// Revokes the pairing of this name, or all; a running gateway notices before its next answer.
    /// Tells which there were, and what kept a dead token in the keychain, if something did.
    /// Nothing is revoked if this fails.
    pub(crate) fn revoke(
        &self,
        name: Option<&Label>,
        now: Timestamp,
    ) -> Result<(Vec<Label>, Result<()>)> {
        let settled = self.settle(now);
        let dir = Dir::create(&self.dir)?.lock()?;
        let is_gone = |pairing: &Pairing| name.is_none_or(|name| pairing.name == *name);
        let (list, is_whole) = match self.read(&dir) {
            // To revoke all, the names need not be readable.
            Err(Error::CorruptPairings(..)) if name.is_none() => (Vec::new(), false),
            // The keychain may have the predecessor's token, and not tell it now.
            Ok(None) if name.is_none_or(|name| name.as_str() == DEFAULT_NAME) => {
                (Vec::new(), settled.is_ok())
            }
            found => (found?.unwrap_or_default(), true),
        };
        let (gone, kept): (Vec<Pairing>, Vec<Pairing>) = list.into_iter().partition(is_gone);
        if gone.is_empty() && is_whole {
            return Ok((Vec::new(), Ok(())));
        }
        // The list first: from here on the token is dead, whatever happens to the rest.
        write(&dir, &kept)?;
        keep_used(&dir, &kept, BTreeMap::new());
        sweep(&dir)?;
        let forgotten = match settled {
            Err(Error::KeychainUnavailable(_)) if !self.is_without_keychain() => settled,
            _ => self.forget(&gone),
        };
        Ok((gone.into_iter().map(|pairing| pairing.name).collect(), forgotten))
    }

    /// The accounts that a name has in the keychain: the usual one, and the one for the time of a
    /// change. One with the digest of a root is longer than any name.
    fn accounts(&self) -> impl Fn(&Label) -> [String; 2] {
        let root = fs::real(&self.root);
        let digest = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let tag = format!("{TAG}{}", Base64UrlUnpadded::encode_string(&digest));
        let is_default = self.default_root.as_ref().is_some_and(|it| fs::real(it) == root);
        let usual = if is_default { "" } else { &tag }.to_owned();
        move |name| [format!("{}{usual}", name.as_str()), format!("{}{tag}~", name.as_str())]
    }

    /// What there is before the first list, if the keychain has its token: the predecessor's.
    fn first(&self, now: Timestamp) -> Result<Pairing> {
        let name = Label::parse(DEFAULT_NAME)?;
        let [account, _] = self.accounts()(&name);
        let (taken_over, expires_at) = (Some(now), Some(now.after(TERM)));
        Ok(Pairing { account: Some(account), taken_over, expires_at, ..Pairing::new(name) })
    }

    /// Marks in the keychain that this root has taken over the predecessor's token, or has made one
    /// of its own. Was it marked before?
    fn mark(&self, now: Timestamp) -> Result<bool> {
        let account = self.first(now)?.account.unwrap_or_default();
        let is_marked = self.keychain.find(MARK, &account)?.is_some();
        if !is_marked {
            self.keychain.store(MARK, &account, &Secret::new("done".to_owned()))?;
        }
        Ok(is_marked)
    }

    /// Is the environment's passphrase used without a look into the keychain?
    fn is_forced(&self) -> bool {
        self.sources.force && self.has_passphrase()
    }

    /// Is no keychain in use here? Asked once it has failed. The passphrase may come from a slow
    /// command, so that is not asked for where there is no keychain at all.
    fn is_without_keychain(&self) -> bool {
        self.keychain.is_absent() || self.has_passphrase()
    }

    fn has_passphrase(&self) -> bool {
        matches!(source::from_environment(&self.sources), Ok(Some(_)))
    }

    /// Takes the tokens of these out of the keychain; a keychain that fails once is not asked
    /// again.
    fn forget(&self, pairings: &[Pairing]) -> Result<()> {
        let accounts = self.accounts();
        let kept = pairings.iter().filter(|pairing| pairing.account.is_some());
        for account in kept.flat_map(|pairing| accounts(&pairing.name)) {
            self.keychain.delete(SERVICE, &account)?;
        }
        Ok(())
    }

    /// The list; `None` if there is none yet.
    fn read(&self, dir: &Dir) -> Result<Option<Vec<Pairing>>> {
        let file = dir.path().join(LIST);
        let corrupt = |reason| Error::CorruptPairings(file.clone(), reason);
        let [owner, above] = [LIST, "."].map(|name| dir.stat(name));
        let (owner, above) = (owner?.map(|stat| stat.owner), above?.map(|stat| stat.owner));
        if owner.is_some() && ![Some(0), Some(fs::own_user()), above].contains(&owner) {
            return Err(corrupt("it belongs to another user"));
        }
        let Some(bytes) = dir.read(LIST, MAX_LIST)? else { return Ok(None) };
        if state::parse::<Version>(&bytes).is_some_and(|version| version.v > VERSION) {
            return Err(Error::Refused {
                sentence: "a later version of lf wrote the list of pairings".to_owned(),
                hint: format!("use that version; to revoke all pairings: rm {}", file.display()),
            });
        }
        let list = List::parse(&bytes);
        let mut list = list.ok_or_else(|| corrupt("it is not a list of pairings"))?;
        let accounts = self.accounts();
        for pairing in &mut list.pairings {
            let is_sealed = pairing.sealed.take().is_some();
            if list.v == 1 && pairing.sha256.is_none() && !is_sealed {
                pairing.account = Some(pairing.name.as_str().to_owned());
            }
            let is_foreign = |account| !accounts(&pairing.name).contains(account);
            if pairing.account.as_ref().is_some_and(is_foreign) {
                (pairing.account, pairing.sha256) = (None, None);
            }
        }
        Ok(Some(list.pairings))
    }
}

fn write(dir: &Locked, pairings: &[Pairing]) -> Result<()> {
    let text = List { v: VERSION, pairings: pairings.to_vec() }.print();
    if text.len() > MAX_LIST {
        return Err(Error::usage("the list of pairings is full; lf gateway unpair makes room"));
    }
    dir.publish(LIST, text.as_bytes(), Publish::Replacement)
}

/// Removes temporary files that a killed process has left behind, and the envelopes of former
/// versions.
fn sweep(dir: &Locked) -> Result<()> {
    for name in dir.names()? {
        let is_sealed = name.starts_with("bearer-") && name.ends_with(".json");
        if is_sealed || fs::is_temporary(&name) {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

fn read_used(dir: &Dir) -> BTreeMap<String, Timestamp> {
    let bytes = dir.read(LAST_USED, MAX_LIST).ok().flatten();
    bytes.and_then(|bytes| state::parse(&bytes)).unwrap_or_default()
}

/// Adds these uses to those on record, and drops those of tokens that are not in the list. Best
/// effort: it is for a person to look at.
fn keep_used(dir: &Locked, list: &[Pairing], more: BTreeMap<String, Timestamp>) {
    let before = read_used(dir);
    let mut uses = before.clone();
    uses.extend(more);
    let listed: HashSet<_> = list.iter().filter_map(|pairing| pairing.sha256.as_ref()).collect();
    uses.retain(|digest, _| listed.contains(digest));
    if uses != before {
        let _ = dir.publish(LAST_USED, json::to_string(&uses).as_bytes(), Publish::Replacement);
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn encoded(token: &Secret) -> String {
    Base64UrlUnpadded::encode_string(&digest(token.expose()))
}

/// What the file says.
#[derive(Serialize, Deserialize)]
pub(crate) struct List {
    v: u64,
    pairings: Vec<Pairing>,
}

impl List {
    /// Parses the file's content; `None` if it is no list.
    pub(crate) fn parse(bytes: &[u8]) -> Option<List> {
        let is_good = |pairing: &Pairing| pairing.sha256.is_none() || pairing.digest().is_some();
        let is_list = |it: &List| it.v > 0 && it.pairings.iter().all(is_good);
        state::parse(bytes).filter(|it| bytes.len() <= MAX_LIST && is_list(it))
    }

    /// The file's content.
    pub(crate) fn print(&self) -> String {
        json::to_string(self)
    }
}

#[derive(Deserialize)]
struct Version {
    v: u64,
}

/// What a page can do with keys.
pub(crate) const ACTS: [&str; 6] = ["list", "resolve", "add", "update", "rotate", "remove"];
/// The name of a pairing that was given none, and of the predecessor's.
pub(crate) const DEFAULT_NAME: &str = "web-pair";
/// How long a token is good, unless its owner says otherwise.
pub(crate) const TERM: Duration = Duration::from_secs(90 * 24 * 3600);
/// What the gateway asks its helper, which can write to the keychain.
pub(crate) const SETTLE: &str = "settle pairings";
const TAG: &str = "@root-with-the-sha256:";
const SERVICE: &str = "lenserfight-gateway-bearer";
/// The service of the entries that [`Pairings::mark`] makes.
const MARK: &str = "lenserfight-gateway-pairings";
const LIST: &str = "pairings.json";
/// Of the list. A version that does not know scopes refuses it, so that it never widens one.
const VERSION: u64 = 2;
/// When tokens were last used, by their digests, so that a new one does not show the uses of an old
/// one.
const LAST_USED: &str = "last-used.json";
const MAX_LIST: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests;
