//! Recognises tokens, for a running gateway: by digests, with no token in memory between requests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use miniserde::json;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use super::{BOOK, LAST_USED, Pairing, Pairings, SERVICE, Use, read_used};
use crate::base::time::{Timestamp, monotonic};
use crate::error::{Error, Result};
use crate::system::fs::{Dir, Publish, Stamp};
use crate::vault::master::source;

/// Knows tokens by their digests; kept by a running gateway.
///
/// The book is looked at for every request, and is enough to revoke. The keychain, which may take its
/// time, is asked only for what is not known yet, and now and then, in the background, in case
/// somebody else has changed it: nobody whose token is known waits for it.
/// (tests/pairing.rs: `a_keychain_that_hangs_delays_nobody_who_is_known`)
#[derive(Clone, Debug)]
pub struct Recogniser {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pairings: Pairings,
    known: Mutex<Known>,
    /// Held by the one who asks the keychain.
    loading: Mutex<()>,
    is_refreshing: AtomicBool,
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
        let known = Mutex::new(Known::default());
        let shared = Shared {
            pairings,
            known,
            loading: Mutex::new(()),
            is_refreshing: AtomicBool::new(false),
        };
        Recogniser {
            shared: Arc::new(shared),
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
        for _ in 0..MOST_TRIES {
            self.shared.follow_book()?;
            let (is_known, needs_loading) = {
                let known = self.shared.known();
                (known.name_of(&digest).is_some(), known.needs_loading())
            };
            match (is_known, needs_loading) {
                (true, true) => self.refresh(),
                // The book may change while the keychain is asked: then there is more to know.
                (false, true) => {
                    self.shared.load_once();
                    continue;
                }
                (_, false) => {}
            }
            break;
        }
        self.shared.known().answer(&digest, now)
    }

    /// Reads the tokens again, beside whoever is being answered.
    fn refresh(&self) {
        if self.shared.is_refreshing.swap(true, Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new().spawn(move || {
            shared.load_once();
            shared.is_refreshing.store(false, Ordering::SeqCst);
        });
        if started.is_err() {
            self.shared.is_refreshing.store(false, Ordering::SeqCst);
        }
    }

    /// Writes down when each pairing was last used, if that has changed. Best effort, and without
    /// waiting for anybody: it is for a person to look at.
    pub fn save(&self) {
        self.shared.save();
    }
}

impl Shared {
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

    fn load_once(&self) {
        let _turn = lock(&self.loading);
        if self.known().needs_loading() {
            self.load();
        }
    }

    /// Reads the tokens of the book, without keeping anybody from being recognised meanwhile. The
    /// first failure of the keychain, or of the passphrase, is everybody's: nobody waits for more.
    fn load(&self) {
        let (of, book, digests) = {
            let known = self.known();
            let (stamp, book) = known.book.clone().unwrap_or_default();
            (stamp, book, known.digests.clone())
        };
        let (mut keychain, mut passphrase) = (Ok(()), None);
        let mut loaded = Vec::new();
        for pairing in book {
            let before = digests
                .iter()
                .find(|(known, _)| *known == pairing)
                .map(|(_, digest)| *digest);
            let token = match &pairing.sealed {
                // An envelope does not change; only a keychain can, behind the book's back.
                Some(_) if before.is_some() => Err(None),
                Some(id) => {
                    let master = passphrase.get_or_insert_with(|| {
                        source::find(&self.pairings.sources, &self.pairings.keychain)
                            .map_err(Arc::new)
                    });
                    match master {
                        Ok(master) => self
                            .pairings
                            .sealed_token(id, master.secret())
                            .map_err(|_| None),
                        Err(error) => Err(Some(Arc::clone(error))),
                    }
                }
                None => match &keychain {
                    Ok(()) => self
                        .pairings
                        .keychain
                        .find(SERVICE, pairing.name.as_str())
                        .map_err(|error| {
                            let error = Arc::new(error);
                            keychain = Err(Arc::clone(&error));
                            Some(error)
                        }),
                    Err(error) => Err(Some(Arc::clone(error))),
                },
            };
            loaded.push((pairing, before, token));
        }
        let mut failure = None;
        let mut known = self.known();
        let current = known.book.clone().map(|(_, book)| book).unwrap_or_default();
        for (pairing, before, token) in loaded {
            known.digests.retain(|(known, _)| *known != pairing);
            let digest = match token {
                Ok(token) => token.map(|token| digest(token.expose())),
                // What does not answer for a while revokes nobody whom the book still has.
                Err(error) => {
                    // Without a book this is only where a predecessor's token might be.
                    failure = failure.or(error.filter(|_| before.is_none() && of.is_some()));
                    before
                }
            };
            if let Some(digest) = digest.filter(|_| current.contains(&pairing)) {
                known.digests.push((pairing, digest));
            }
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

    fn save(&self) {
        let used = {
            let known = self.known();
            if known.used == known.used_saved {
                return;
            }
            known.used.clone()
        };
        let Ok(Some(dir)) = Dir::open(&self.pairings.dir) else {
            return;
        };
        let Ok(Some(dir)) = dir.try_lock() else {
            return;
        };
        let saved = read_used(&dir).and_then(|mut all| {
            all.extend(used.clone());
            let uses: Vec<Use> = all
                .into_iter()
                .map(|(name, at)| Use {
                    name,
                    at: at.to_string(),
                })
                .collect();
            let text = json::to_string(&uses);
            dir.publish(LAST_USED, text.as_bytes(), Publish::Replacement)
        });
        if saved.is_ok() {
            self.known().used_saved = used;
        }
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

    fn answer(
        &mut self,
        digest: &[u8; 32],
        now: Timestamp,
    ) -> std::result::Result<Option<String>, Arc<Error>> {
        let failure = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.failure.clone());
        match (self.name_of(digest), failure) {
            (Some(pairing), _) if pairing.expires_at.is_some_and(|end| end <= now) => Ok(None),
            (Some(pairing), _) => {
                let name = pairing.name.as_str().to_owned();
                self.used.insert(name.clone(), now);
                Ok(Some(name))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(None),
        }
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
/// A book that changes more often than this during one request is not worth chasing.
const MOST_TRIES: usize = 4;
