//! The OS keychain: find, store and delete one secret by service and account, within 3 seconds.
//!
//! Everything goes through `keyring-core`: on Linux with our own Secret Service store, on macOS and
//! Windows with the keyring project's native ones.

use std::fmt;
use std::time::Duration;

use keyring_core::{Entry, Error as Refusal};

use crate::base::secret::Secret;
use crate::error::{Error, Result};
use crate::system::environment::Environment;

#[cfg(not(any(target_os = "macos", windows)))]
mod dbus;
mod entry;
mod exclusive;
#[cfg(any(target_os = "macos", windows))]
mod native;
#[cfg(not(any(target_os = "macos", windows)))]
mod secret_service;
#[cfg(not(any(target_os = "macos", windows)))]
mod wire;

#[cfg(any(target_os = "macos", windows))]
use native as platform;
#[cfg(not(any(target_os = "macos", windows)))]
use secret_service as platform;

pub(crate) use self::exclusive::Exclusive;

/// How long to wait for whom.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the keychain, an operation.
    pub service: Duration,
    /// For a person to answer the keychain's dialog.
    pub person: Duration,
    /// Called once when a dialog has been asked for, so that the person can be told to look for it.
    pub on_dialog: fn(),
}

impl Patience {
    /// Three seconds for everything, in silence: for whoever has no person at a terminal.
    pub const SHORT: Patience = Patience {
        service: Duration::from_secs(3),
        person: Duration::from_secs(3),
        on_dialog: || {},
    };
}

/// The keychain of this user's session. Making one opens nothing.
#[derive(Clone, Debug)]
pub struct Keychain {
    store: platform::Store,
}

impl Keychain {
    /// The keychain that these variables lead to: on Linux by `DBUS_SESSION_BUS_ADDRESS`, else by the
    /// `bus` in `XDG_RUNTIME_DIR`; macOS and Windows have one without any.
    #[must_use]
    pub fn new(environment: &Environment, patience: Patience) -> Keychain {
        Keychain {
            store: platform::Store::new(environment.bus.clone(), patience),
        }
    }

    /// The same keychain, for use while a lock is held: it never opens a dialog, so that nobody waits
    /// for a person who holds a lock. (tests/rekey.rs: `no_dialog_is_opened_while_a_lock_is_held`)
    pub(crate) fn without_dialogs(&self) -> Keychain {
        let mut keychain = self.clone();
        keychain.store.patience.person = Duration::ZERO;
        keychain.store.patience.on_dialog = || {};
        keychain
    }

    /// The lock under which one process of this user at a time replaces what several stores share.
    pub(crate) fn lock(&self) -> Result<Exclusive> {
        Exclusive::take(self)
    }

    /// The secret, or `None` if a keychain that works has none.
    ///
    /// # Errors
    /// [`Error::KeychainUnavailable`] with what was tried; never later than [`Patience`] says.
    pub fn find(&self, service: &str, account: &str) -> Result<Option<Secret>> {
        let entry = self.entry(service, account);
        let Some(bytes) = self.answer(entry.and_then(|entry| entry.get_secret()))? else {
            return Ok(None);
        };
        let not_text = || {
            let sentence = format!("the entry {service}/{account} is not UTF-8 text");
            Error::KeychainUnavailable(sentence)
        };
        Secret::from_bytes(bytes).map(Some).ok_or_else(not_text)
    }

    /// Stores the secret; one that is there already is replaced.
    ///
    /// # Errors
    /// As [`Keychain::find`].
    pub fn store(&self, service: &str, account: &str, secret: &Secret) -> Result<()> {
        let entry = self.entry(service, account);
        let stored = entry.and_then(|entry| entry.set_secret(secret.expose().as_bytes()));
        let refused = || Error::KeychainUnavailable(format!("{}: it was not stored", self.store));
        self.answer(stored)?.ok_or_else(refused)
    }

    /// Deletes the secret; `false` if there was none.
    ///
    /// # Errors
    /// As [`Keychain::find`].
    pub fn delete(&self, service: &str, account: &str) -> Result<bool> {
        let entry = self.entry(service, account);
        let deleted = self.answer(entry.and_then(|entry| entry.delete_credential()))?;
        Ok(deleted.is_some())
    }

    /// Is there no keychain at all? One that is locked, or does not answer, is one.
    pub(crate) fn is_absent(&self) -> bool {
        self.store.is_absent()
    }

    fn entry(&self, service: &str, account: &str) -> keyring_core::Result<Entry> {
        keyring_core::api::CredentialStoreApi::build(&self.store, service, account, None)
    }

    /// `None` if there is no such entry; otherwise what was tried, and why it failed.
    fn answer<T>(&self, answer: keyring_core::Result<T>) -> Result<Option<T>> {
        let reason = match answer {
            Ok(value) => return Ok(Some(value)),
            Err(Refusal::NoEntry) => return Ok(None),
            Err(Refusal::NoStorageAccess(cause) | Refusal::PlatformFailure(cause)) => {
                cause.to_string()
            }
            Err(other) => other.to_string(),
        };
        let sentence = format!("{}: {reason}", self.store);
        Err(Error::KeychainUnavailable(sentence))
    }
}

impl fmt::Display for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}
