//! Recognises tokens by their digests, for a running gateway: no token is in memory between requests.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use miniserde::json;
use zeroize::optimization_barrier;

use super::{DEFAULT_NAME, LAST_USED, LIST, Pairing, Pairings, SERVICE, Use};
use super::{digest, read_used};
use crate::base::time::{Timestamp, monotonic};
use crate::error::Error;
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
    /// Held by the thread that asks the keychain.
    loading: Mutex<()>,
    is_refreshing: AtomicBool,
    /// Has the keychain ever answered?
    has_keychain: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// The list's version, and its content; `None` before the first look.
    list: Option<(Option<Stamp>, Vec<Pairing>)>,
    digests: Vec<(Pairing, [u8; 32])>,
    loaded: Option<Loaded>,
    /// Uses that are not written down yet.
    used: HashMap<String, Timestamp>,
}

/// A time when the tokens were read.
#[derive(Debug)]
struct Loaded {
    of: Option<Stamp>,
    at: Instant,
    /// Why some could not be read.
    failure: Option<Arc<Error>>,
}

type Result<T> = std::result::Result<T, Arc<Error>>;

impl Recogniser {
    /// Knows no token yet; the first request has them read.
    pub(crate) fn new(pairings: Pairings) -> Arc<Recogniser> {
        Arc::new(Recogniser {
            pairings,
            known: Mutex::default(),
            loading: Mutex::default(),
            is_refreshing: AtomicBool::default(),
            has_keychain: AtomicBool::default(),
        })
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
            self.follow_list()?;
            let (is_known, needs_loading) = {
                let known = self.known();
                (known.name_of(&digest).is_some(), known.needs_loading())
            };
            if !needs_loading {
                break;
            }
            if is_known {
                self.refresh();
                break;
            }
            // The list may change while the keychain is asked: then there is more to know.
            self.load_once();
        }
        self.known().answer(&digest, now)
    }

    /// Reads the tokens again in a thread of its own.
    fn refresh(self: &Arc<Self>) {
        if self.is_refreshing.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Arc::clone(self);
        let started = thread::Builder::new().spawn(move || {
            let _ = catch_unwind(AssertUnwindSafe(|| this.load_once()));
            this.is_refreshing.store(false, Ordering::SeqCst);
        });
        if started.is_err() {
            self.is_refreshing.store(false, Ordering::SeqCst);
        }
    }

    /// Writes down when each pairing was last used, if that has changed. Best effort, and without
    /// waiting for a lock: it is for a person to look at.
    pub(crate) fn save(&self) {
        let used = self.known().used.clone();
        if used.is_empty() {
            return;
        }
        let dir = Dir::open(&self.pairings.dir).ok().flatten();
        let Some(dir) = dir.and_then(|dir| dir.try_lock().ok().flatten()) else {
            return;
        };
        let saved = read_used(&dir).and_then(|mut all| {
            all.extend(used.clone());
            let uses = all.into_iter().map(|(name, at)| Use { name, at });
            let text = json::to_string(&uses.collect::<Vec<_>>());
            dir.publish(LAST_USED, text.as_bytes(), Publish::Replacement)
        });
        if saved.is_ok() {
            let is_newer = |name: &String, at: &mut Timestamp| used.get(name) != Some(at);
            self.known().used.retain(is_newer);
        }
    }

    /// Reads the list again if it has changed, and forgets the pairings that are no longer in it as they
    /// were.
    fn follow_list(&self) -> Result<()> {
        let mut known = self.known();
        let dir = Dir::open(&self.pairings.dir)?;
        let look = dir.as_ref().map(|dir| dir.look(LIST)).transpose()?;
        let stamp = look.flatten().map(|look| look.stamp);
        if known.list.as_ref().is_some_and(|(seen, _)| *seen == stamp) {
            return Ok(());
        }
        let list = dir.map(|dir| self.pairings.read(&dir)).transpose()?;
        let list = list.flatten();
        let list = list.unwrap_or_else(|| self.pairings.possible_predecessors());
        known.digests.retain(|(pairing, _)| list.contains(pairing));
        known.list = Some((stamp, list));
        Ok(())
    }

    /// Reads the tokens of the list, if that is due. Requests are recognised meanwhile.
    fn load_once(&self) {
        let _turn = lock(&self.loading);
        if !self.known().needs_loading() {
            return;
        }
        let (of, list) = self.known().list.clone().unwrap_or_default();
        let found = self.digests(&list);
        let mut known = self.known();
        let current = known.list.clone().map(|(_, list)| list).unwrap_or_default();
        let mut failure = None;
        for (pairing, found) in list.into_iter().zip(found) {
            let is_it = |(known, _): &(Pairing, _)| *known == pairing;
            match found {
                // A keychain that fails for a while revokes no pairing that is still in the list.
                Err(_) if known.digests.iter().any(is_it) => continue,
                // Without a list this is only where a predecessor's token might be.
                Err(error) => failure = failure.or(of.map(|_| error)),
                Ok(found) => {
                    known.digests.retain(|entry| !is_it(entry));
                    let found = found.filter(|_| current.contains(&pairing));
                    known.digests.extend(found.map(|digest| (pairing, digest)));
                }
            }
        }
        let at = monotonic();
        known.loaded = Some(Loaded { of, at, failure });
    }

    /// The digest of each pairing's token; `None` if nothing is its token.
    fn digests(&self, list: &[Pairing]) -> Vec<Result<Option<[u8; 32]>>> {
        // After its first failure the keychain is not asked again, because each failure may take seconds.
        let mut failure: Option<Arc<Error>> = None;
        let mut find = |name: &str| {
            if let Some(failure) = &failure {
                return Err(Arc::clone(failure));
            }
            let found = self.pairings.keychain.find(SERVICE, name).map_err(Arc::new);
            self.has_keychain.fetch_or(found.is_ok(), Ordering::SeqCst);
            failure = found.as_ref().err().cloned();
            found
        };
        // Do digests in the list count? The comment on top of this folder says when.
        let counts = match list.iter().any(|pairing| pairing.sha256.is_some()) {
            false => Ok(false),
            true if self.pairings.is_forced() => Ok(true),
            true => match find(DEFAULT_NAME) {
                Err(_) if !self.has_keychain() && self.pairings.is_without_keychain() => Ok(true),
                found => found.map(|_| false),
            },
        };
        let digest_of = |pairing: &Pairing| {
            if pairing.is_in_keychain() {
                let token = find(pairing.name.as_str())?;
                return Ok(token.map(|token| digest(token.expose())));
            }
            match pairing.digest() {
                None => Ok(None),
                Some(digest) => counts.clone().map(|counts| counts.then_some(digest)),
            }
        };
        list.iter().map(digest_of).collect()
    }

    fn has_keychain(&self) -> bool {
        self.has_keychain.load(Ordering::SeqCst)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
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

    fn answer(&mut self, digest: &[u8; 32], now: Timestamp) -> Result<Option<String>> {
        let Some(pairing) = self.name_of(digest) else {
            let loaded = self.loaded.as_ref();
            let failure = loaded.and_then(|loaded| loaded.failure.clone());
            return failure.map_or(Ok(None), Err);
        };
        if pairing.expires_at.is_some_and(|end| end <= now) {
            return Ok(None);
        }
        let name = pairing.name.as_str().to_owned();
        self.used.insert(name.clone(), now);
        Ok(Some(name))
    }

    /// Have the tokens not been read since the list changed, or too long ago?
    fn needs_loading(&self) -> bool {
        let stamp = self.list.as_ref().and_then(|(stamp, _)| *stamp);
        self.loaded.as_ref().is_none_or(|loaded| {
            let has_failed = loaded.failure.is_some();
            let trust = if has_failed { RETRY } else { TRUST };
            loaded.of != stamp || monotonic().duration_since(loaded.at) >= trust
        })
    }
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
