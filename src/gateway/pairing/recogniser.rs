//! Recognises tokens by their digests, for a running gateway: no token is in memory between
//! requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{mem, thread};

use zeroize::optimization_barrier;

use super::{DEFAULT_NAME, LIST, Pairing, Pairings, SERVICE};
use super::{digest, keep_used};
use crate::base::{Deadline, Timestamp, lock::lock};
use crate::error::{Error, ErrorInfo};
use crate::system::fs::{Dir, Stamp};

/// Knows tokens by their digests.
///
/// Every request looks at the list, so that a revocation counts at once. A token that is not in it
/// is refused without any other look. The keychain may be slow. It is asked when a token of the
/// list comes for the first time, and every ten seconds in the background, in case another program
/// has changed it: a request with a known token never waits for it.
/// (tests/pairing.rs: `a_keychain_that_hangs_delays_nobody_who_is_known`)
pub(crate) struct Recogniser {
    pairings: Pairings,
    known: Mutex<Known>,
    /// Held by the thread that asks the keychain.
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Known {
    /// The list's version; `None` before the first look.
    stamp: Option<Option<Stamp>>,
    /// The list by the first bytes of the digests. However long it is, a token is looked up once.
    list: HashMap<[u8; 8], Entry>,
    /// May the keychain know a token that the list does not know yet?
    is_open: bool,
    /// Uses that are not written down yet, by digest.
    used: BTreeMap<String, Timestamp>,
}

struct Entry {
    pairing: Arc<Pairing>,
    digest: [u8; 32],
    /// What the keychain says of the token, and until when it need not be asked again.
    answer: Option<(Result<bool>, Deadline)>,
}

/// What is known of the keychain.
#[derive(Default)]
struct Asking {
    /// Has it ever answered?
    has_answered: bool,
    /// How it failed, and until when it is not asked again: each failure may take seconds.
    failure: Option<(&'static ErrorInfo, Deadline)>,
}

type Result<T> = std::result::Result<T, &'static ErrorInfo>;

impl Recogniser {
    /// Knows no token yet; the first request has the list read.
    pub(crate) fn new(pairings: Pairings) -> Arc<Recogniser> {
        Arc::new(Recogniser { pairings, known: Mutex::default(), asking: Mutex::default() })
    }

    /// The pairing that this token belongs to; `None` if it belongs to none, or to one that has
    /// expired. An error says why that cannot be known now. The comparison takes the same time for
    /// every token of the list, right or wrong.
    pub(crate) fn recognise(
        self: &Arc<Self>,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Pairing>>> {
        let digest = digest(token);
        for _ in 0..MOST_TRIES {
            let mut known = self.follow_list()?;
            let is_open = known.is_open;
            let Some(entry) = known.entry(&digest) else {
                drop(known);
                if !is_open {
                    return Ok(None);
                }
                self.settle(now)?;
                continue;
            };
            if entry.pairing.is_expired(now) {
                return Ok(None);
            }
            let pairing = Arc::clone(&entry.pairing);
            match &mut entry.answer {
                Some((Ok(true), until)) => {
                    if until.left().is_none() {
                        *until = Deadline::after(TRUST);
                        let (this, pairing) = (Arc::clone(self), Arc::clone(&pairing));
                        let ask = move || this.ask(&pairing, &digest, &mut lock(&this.asking));
                        drop(thread::Builder::new().spawn(ask));
                    }
                    known.used.extend(pairing.sha256.clone().map(|digest| (digest, now)));
                    return Ok(Some(pairing));
                }
                Some((answer, until)) if until.left().is_some() => {
                    return (*answer).map(|_| None);
                }
                _ => drop(known),
            }
            // The list may change while the keychain is asked: then there is more to know.
            let mut asking = lock(&self.asking);
            let is_answered =
                |entry: &mut Entry| entry.answer.is_some_and(|(_, until)| until.left().is_some());
            if !lock(&self.known).entry(&digest).is_some_and(is_answered) {
                self.ask(&pairing, &digest, &mut asking);
            }
        }
        Err(Error::StoreBusy(self.pairings.dir.clone()).info())
    }

    /// Writes down when each pairing was last used, if that has changed, without waiting for a
    /// lock.
    pub(crate) fn save(&self) {
        if lock(&self.known).used.is_empty() {
            return;
        }
        let dir = Dir::open(&self.pairings.dir).ok().flatten();
        let Some(dir) = dir.and_then(|dir| dir.try_lock().ok().flatten()) else { return };
        if let Ok(list) = self.pairings.read(&dir) {
            keep_used(&dir, &list.unwrap_or_default(), mem::take(&mut lock(&self.known).used));
        }
    }

    /// Reads the list again if it has changed. What the keychain has confirmed is still known of
    /// tokens that are still in it.
    fn follow_list(&self) -> Result<MutexGuard<'_, Known>> {
        let mut known = lock(&self.known);
        let dir = Dir::open(&self.pairings.dir)?;
        let stat = dir.as_ref().map(|dir| dir.stat(LIST)).transpose()?;
        let stamp = stat.flatten().map(|stat| stat.stamp);
        if known.stamp == Some(stamp) {
            return Ok(known);
        }
        let list = dir.map(|dir| self.pairings.read(&dir)).transpose()?.flatten();
        known.is_open = list.is_none() && !self.pairings.sources.force;
        let before = mem::take(&mut known.list);
        for pairing in list.into_iter().flatten() {
            let Some(digest) = pairing.digest() else {
                known.is_open |= !pairing.is_outdated();
                continue;
            };
            let is_same = |entry: &&Entry| is_same(&entry.digest, &digest);
            let answer = before.get(&place(&digest)).filter(is_same);
            let answer =
                answer.and_then(|entry| entry.answer).filter(|(it, _)| matches!(it, Ok(true)));
            known.list.insert(place(&digest), Entry { pairing: pairing.into(), digest, answer });
        }
        known.stamp = Some(stamp);
        Ok(known)
    }

    /// Completes the list with what the keychain knows.
    fn settle(&self, now: Timestamp) -> Result<()> {
        let mut asking = lock(&self.asking);
        asking.may_ask()?;
        match self.pairings.settle(now) {
            Err(error) if !self.pairings.is_without_keychain() => return Err(asking.fail(&error)),
            _ => lock(&self.known).is_open = false,
        }
        Ok(())
    }

    /// Asks the keychain for the token of a pairing, and remembers the answer.
    fn ask(&self, pairing: &Arc<Pairing>, digest: &[u8; 32], asking: &mut Asking) {
        let answer = self.answer(pairing, digest, asking);
        let mut known = lock(&self.known);
        if let Some(entry) = known.entry(digest).filter(|entry| entry.pairing == *pairing) {
            let is_known = matches!(entry.answer, Some((Ok(true), _)));
            let span = if answer.is_ok() { TRUST } else { RETRY };
            // A keychain that fails for a while revokes no pairing that is still in the list.
            let answer = if is_known { answer.or(Ok(true)) } else { answer };
            entry.answer = Some((answer, Deadline::after(span)));
        }
    }

    /// Does the keychain have this token for the pairing, or does the list's digest count without
    /// one? The comment on top of this folder says when.
    fn answer(&self, pairing: &Pairing, digest: &[u8; 32], asking: &mut Asking) -> Result<bool> {
        match &pairing.account {
            Some(account) => {
                let found = self.find(account, asking)?;
                Ok(found.is_some_and(|found| is_same(&found, digest)))
            }
            None if self.pairings.is_forced() => Ok(true),
            None => match self.find(DEFAULT_NAME, asking) {
                Err(_) if !asking.has_answered && self.pairings.is_without_keychain() => Ok(true),
                found => found.map(|_| false),
            },
        }
    }

    fn find(&self, account: &str, asking: &mut Asking) -> Result<Option<[u8; 32]>> {
        asking.may_ask()?;
        let found = self.pairings.keychain.find(SERVICE, account);
        let found = found.map_err(|error| asking.fail(&error))?;
        asking.has_answered = true;
        Ok(found.map(|token| digest(token.expose())))
    }
}

impl Asking {
    fn may_ask(&self) -> Result<()> {
        let failure = self.failure.filter(|(_, until)| until.left().is_some());
        failure.map_or(Ok(()), |(failure, _)| Err(failure))
    }

    fn fail(&mut self, error: &Error) -> &'static ErrorInfo {
        self.failure = Some((error.info(), Deadline::after(RETRY)));
        error.info()
    }
}

impl Known {
    fn entry(&mut self, digest: &[u8; 32]) -> Option<&mut Entry> {
        self.list.get_mut(&place(digest)).filter(|entry| is_same(&entry.digest, digest))
    }
}

/// Where a digest is in the list. Nobody can choose it, and it tells nothing of the token.
fn place(digest: &[u8; 32]) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    optimization_barrier(&difference);
    difference == 0
}

/// How long what the keychain has said is trusted without another look into it.
const TRUST: Duration = Duration::from_secs(10);
/// How long after a failure the keychain is asked again.
const RETRY: Duration = Duration::from_secs(1);
/// A list that changes more often than this during one request is not followed further.
const MOST_TRIES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::pairing::encoded;
    use crate::keychain::{Keychain, Patience};
    use crate::system::environment::Environment;
    use crate::vault::key::Label;

    /// One that knows the tokens of these pairings, where no keychain is asked.
    fn recogniser(pairings: &[Pairing]) -> Recogniser {
        let environment = Environment::of(|name| match name {
            "LENSERFIGHT_KEYS_PASSPHRASE" => Some("correct horse battery staple".into()),
            "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" => Some("1".into()),
            _ => None,
        });
        let keychain = Keychain::new(&environment, Patience::SHORT);
        let root = std::env::temp_dir().join("lf-test-recogniser-without-files");
        let list = pairings.iter().map(|pairing| {
            let (pairing, digest) = (Arc::new(pairing.clone()), pairing.digest().unwrap());
            (place(&digest), Entry { pairing, digest, answer: None })
        });
        let known = Known { list: list.collect(), ..Known::default() };
        Recogniser {
            pairings: Pairings::at(root, &environment, keychain),
            known: Mutex::new(known),
            asking: Mutex::default(),
        }
    }

    fn pairing(token: &str, keys: Option<Vec<String>>) -> Pairing {
        let sha256 = Some(encoded(&crate::Secret::new(token.to_owned())));
        Pairing { sha256, keys, ..Pairing::new(Label::parse("web").unwrap()) }
    }

    #[test]
    fn digests_are_the_same_only_if_every_bit_is() {
        let one: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).unwrap());
        assert!(is_same(&one, &one.clone()));
        // Where two bytes differ in the same bits, a sum without carry would be zero again.
        for (first, second) in (0..32).flat_map(|first| (0..32).map(move |second| (first, second)))
        {
            for bits in [1, 0x80, 0xFF] {
                let mut other = one;
                other[first] ^= bits;
                if second != first {
                    other[second] ^= bits;
                }
                assert!(!is_same(&one, &other) && !is_same(&other, &one), "{first} {second}");
            }
        }
    }

    #[test]
    fn a_token_is_looked_for_by_its_whole_digest() {
        let wanted = pairing("token", None);
        let mut digest = wanted.digest().unwrap();
        let mut known = recogniser(&[wanted]).known.into_inner().unwrap();
        assert!(known.entry(&digest).is_some());
        digest[31] ^= 1;
        assert!(known.entry(&digest).is_none(), "the same place, and another digest");
    }

    #[test]
    fn what_the_keychain_says_of_a_pairing_counts_for_no_other_that_has_its_token() {
        let (narrow, wide) =
            (pairing("token", Some(vec!["id".to_owned()])), pairing("token", None));
        let digest = wide.digest().unwrap();
        // The list was read again while the keychain was asked for the pairing of before.
        let recogniser = recogniser(std::slice::from_ref(&narrow));
        let is_answered = || lock(&recogniser.known).entry(&digest).unwrap().answer.is_some();
        recogniser.ask(&wide.into(), &digest, &mut Asking::default());
        assert!(!is_answered());
        recogniser.ask(&narrow.into(), &digest, &mut Asking::default());
        assert!(is_answered());
    }
}
