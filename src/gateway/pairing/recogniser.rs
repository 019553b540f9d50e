//! Recognises tokens by their digests, for a running gateway: no token is in memory between requests.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{mem, thread};

use miniserde::json;
use zeroize::optimization_barrier;

use super::{DEFAULT_NAME, LAST_USED, LIST, Pairing, Pairings, SERVICE, Use};
use super::{digest, read, read_used};
use crate::base::time::{Deadline, Timestamp};
use crate::error::ErrorInfo;
use crate::system::fs::{Dir, Publish, Stamp};

/// Knows tokens by their digests.
///
/// Every request looks at the list, so that a revocation counts at once. The keychain may be slow. It is
/// asked only for tokens that are not known yet, and every ten seconds in the background, in case another
/// program has changed it: a request with a known token never waits for it.
/// (tests/pairing.rs: `a_keychain_that_hangs_delays_nobody_who_is_known`)
#[derive(Debug)]
pub(crate) struct Recogniser {
    pairings: Pairings,
    known: Mutex<Known>,
    /// Held by the thread that asks the keychain. Has the keychain ever answered?
    loading: Mutex<bool>,
}

#[derive(Debug, Default)]
struct Known {
    /// The list's version; `None` before the first look.
    stamp: Option<Option<Stamp>>,
    /// The list, with the digests that are known.
    list: Vec<(Pairing, Option<[u8; 32]>)>,
    /// Until when the digests need no other look into the keychain; `None` until the first after a change of
    /// the list.
    trusted: Option<Deadline>,
    /// Why some could not be read.
    failure: Option<&'static ErrorInfo>,
    /// Until when no other thread is started to read them in the background.
    refreshing: Option<Deadline>,
    /// Uses that are not written down yet.
    used: HashMap<String, Timestamp>,
}

type Result<T> = std::result::Result<T, &'static ErrorInfo>;

impl Recogniser {
    /// Knows no token yet; the first request has them read.
    pub(crate) fn new(pairings: Pairings) -> Arc<Recogniser> {
        Arc::new(Recogniser { pairings, known: Mutex::default(), loading: Mutex::default() })
    }

    /// The pairing that this token belongs to; `None` if it belongs to none, or to one that has expired.
    /// An error says why the tokens could not be read, if this might be one of them. The comparison takes
    /// the same time for every token, right or wrong.
    pub(crate) fn recognise(
        self: &Arc<Self>,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        let digest = digest(token);
        for _ in 0..MOST_TRIES {
            let mut known = self.follow_list()?;
            if !is_over(known.trusted) {
                break;
            }
            if known.name_of(&digest).is_some() {
                if is_over(known.refreshing) {
                    known.refreshing = Some(Deadline::after(TRUST));
                    let this = Arc::clone(self);
                    drop(thread::Builder::new().spawn(move || this.load()));
                }
                break;
            }
            drop(known);
            // The list may change while the keychain is asked: then there is more to know.
            self.load();
        }
        self.known().answer(&digest, now)
    }

    /// Writes down when each pairing was last used, if that has changed. Best effort, and without
    /// waiting for a lock: it is for a person to look at.
    pub(crate) fn save(&self) {
        if self.known().used.is_empty() {
            return;
        }
        let dir = Dir::open(&self.pairings.dir).ok().flatten();
        let Some(dir) = dir.and_then(|dir| dir.try_lock().ok().flatten()) else {
            return;
        };
        let used = mem::take(&mut self.known().used);
        let _ = read_used(&dir).and_then(|mut all| {
            all.extend(used);
            let uses = all.into_iter().map(|(name, at)| Use { name, at });
            let text = json::to_string(&uses.collect::<Vec<_>>());
            dir.publish(LAST_USED, text.as_bytes(), Publish::Replacement)
        });
    }

    /// Reads the list again if it has changed, and forgets the pairings that are no longer in it as they
    /// were.
    fn follow_list(&self) -> Result<MutexGuard<'_, Known>> {
        let mut known = self.known();
        let dir = Dir::open(&self.pairings.dir)?;
        let stat = dir.as_ref().map(|dir| dir.stat(LIST)).transpose()?;
        let stamp = stat.flatten().map(|stat| stat.stamp);
        if known.stamp == Some(stamp) {
            return Ok(known);
        }
        let list = dir.map(|dir| read(&dir)).transpose()?.flatten();
        let list = list.unwrap_or_else(|| self.pairings.possible_predecessors());
        let before = mem::take(&mut known.list);
        let with_digest = |pairing| {
            let same = before.iter().find(|(before, _)| *before == pairing);
            (pairing, same.and_then(|(_, digest)| *digest))
        };
        known.list = list.into_iter().map(with_digest).collect();
        known.stamp = Some(stamp);
        (known.trusted, known.refreshing) = (None, None);
        Ok(known)
    }

    /// Reads the tokens of the list, if that is due. Requests are recognised meanwhile.
    fn load(&self) {
        let mut has_keychain = lock(&self.loading);
        let known = self.known();
        if !is_over(known.trusted) {
            return;
        }
        let (stamp, list) = (known.stamp, known.list.clone());
        drop(known);
        let found = self.digests(&list, &mut has_keychain);
        let mut known = self.known();
        if known.stamp != stamp {
            return;
        }
        known.failure = None;
        let Known { list, failure, .. } = &mut *known;
        for ((_, digest), found) in list.iter_mut().zip(found) {
            match found {
                Ok(found) => *digest = found,
                // A keychain that fails for a while revokes no pairing that is still in the list.
                Err(_) if digest.is_some() => {}
                // Without a list this is only where a predecessor's token might be.
                Err(info) => *failure = stamp.flatten().map(|_| info),
            }
        }
        let span = if failure.is_some() { RETRY } else { TRUST };
        known.trusted = Some(Deadline::after(span));
    }

    /// The digest of each pairing's token; `None` if nothing is its token.
    fn digests(
        &self,
        list: &[(Pairing, Option<[u8; 32]>)],
        has_keychain: &mut bool,
    ) -> Vec<Result<Option<[u8; 32]>>> {
        // After its first failure the keychain is not asked again, because each failure may take seconds.
        let (has_keychain, mut failure) = (Cell::from_mut(has_keychain), None);
        let mut find = |name: &str| {
            if let Some(failure) = failure {
                return Err(failure);
            }
            let found = self.pairings.keychain.find(SERVICE, name);
            let found = found.map_err(|error| error.info());
            has_keychain.set(has_keychain.get() || found.is_ok());
            failure = found.as_ref().err().copied();
            found.map(|token| token.map(|token| digest(token.expose())))
        };
        // Do digests in the list count? The comment on top of this folder says when.
        let counts = match list.iter().any(|(pairing, _)| pairing.sha256.is_some()) {
            false => Ok(false),
            true if self.pairings.is_forced() => Ok(true),
            true => match find(DEFAULT_NAME) {
                Err(_) if !has_keychain.get() && self.pairings.is_without_keychain() => Ok(true),
                found => found.map(|_| false),
            },
        };
        let digest_of = |(pairing, _): &(Pairing, _)| match pairing.digest() {
            _ if pairing.is_in_keychain() => find(pairing.name.as_str()),
            None => Ok(None),
            digest => counts.map(|counts| digest.filter(|_| counts)),
        };
        list.iter().map(digest_of).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

impl Known {
    fn name_of(&self, digest: &[u8; 32]) -> Option<&Pairing> {
        let mut found = None;
        // All are compared, so that the time does not tell which it is.
        for (pairing, known) in &self.list {
            if known.is_some_and(|known| is_same(digest, &known)) {
                found = Some(pairing);
            }
        }
        found
    }

    fn answer(&mut self, digest: &[u8; 32], now: Timestamp) -> Result<Option<String>> {
        let Some(pairing) = self.name_of(digest) else {
            return self.failure.map_or(Ok(None), Err);
        };
        if pairing.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let name = pairing.name.as_str().to_owned();
        self.used.insert(name.clone(), now);
        Ok(Some(name))
    }
}

/// Is it over, or was there none?
fn is_over(deadline: Option<Deadline>) -> bool {
    deadline.and_then(|deadline| deadline.left()).is_none()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    optimization_barrier(&difference);
    difference == 0
}

/// How long a digest is trusted without another look into the keychain.
const TRUST: Duration = Duration::from_secs(10);
/// How long after a failure to read the tokens the next try is made.
const RETRY: Duration = Duration::from_secs(1);
/// A list that changes more often than this during one request is not followed further.
const MOST_TRIES: usize = 4;
