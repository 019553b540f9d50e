//! Recognises tokens, for a running gateway: by digests, with no token in memory between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use miniserde::json;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use super::{BOOK, LAST_USED, Pairing, Pairings, Use, read_used};
use crate::error::{Error, Result};
use crate::fs::{Dir, Publish, Stamp};
use crate::time::{Timestamp, monotonic};

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

/// How long a digest is trusted without another look into the keychain.
const TRUST: Duration = Duration::from_secs(10);
/// How long a failure to read the tokens stands before the next try.
const RETRY: Duration = Duration::from_secs(1);
