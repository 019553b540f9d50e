//! The OS keychain: find, store and delete one secret by service and account, within 3 seconds.
//!
//! Everything goes through `keyring-core`: on Linux with our own Secret Service store, on macOS and
//! Windows with the keyring project's native ones.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use keyring_core::{Entry, Error as Refusal};
use zeroize::Zeroizing;

use crate::base::{secret::Secret, time::Deadline};
use crate::error::{Error, Result};
use crate::system::environment::{Bus, Environment};

#[cfg(not(any(target_os = "macos", windows)))]
mod dbus;
#[cfg_attr(windows, path = "inside.rs")]
pub(crate) mod helper;
#[cfg(any(target_os = "macos", windows))]
mod native;
#[cfg(not(any(target_os = "macos", windows)))]
mod secret_service;
#[cfg(not(any(target_os = "macos", windows)))]
pub(crate) mod wire;

#[cfg(any(target_os = "macos", windows))]
use native as platform;
#[cfg(not(any(target_os = "macos", windows)))]
use secret_service as platform;

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
    /// Three seconds for everything, in silence: where no person sits at a terminal.
    pub const SHORT: Patience = Patience {
        service: Duration::from_secs(3),
        person: Duration::from_secs(3),
        on_dialog: || {},
    };
}

/// The keychain of this user's session. Making one opens nothing.
#[derive(Clone)]
pub struct Keychain {
    #[cfg_attr(any(target_os = "macos", windows), allow(dead_code))]
    bus: Bus,
    patience: Patience,
    /// What it shares with its copies.
    line: Arc<platform::Line>,
    /// The user's lock, if this is [`Keychain::lock`]'s.
    #[cfg_attr(any(target_os = "macos", windows), allow(dead_code))]
    held: Option<Arc<platform::Held>>,
    /// Who asks it in this process's place.
    helper: Option<Arc<helper::Helper>>,
}

impl Keychain {
    /// The keychain that these variables lead to: on Linux by `DBUS_SESSION_BUS_ADDRESS`, else by the
    /// `bus` in `XDG_RUNTIME_DIR`; macOS and Windows have one without any.
    pub fn new(environment: &Environment, patience: Patience) -> Keychain {
        let bus = environment.bus.clone();
        Keychain { bus, patience, line: Arc::default(), held: None, helper: None }
    }

    /// The keychain that a helper asks. It can only be read.
    pub(crate) fn through(helper: &Arc<helper::Helper>) -> Keychain {
        let (bus, helper) = (Bus::default(), Some(Arc::clone(helper)));
        Keychain { bus, patience: Patience::SHORT, line: Arc::default(), held: None, helper }
    }

    /// Has the helper do this, if there is one.
    pub(crate) fn delegate(&self, what: &str) -> Option<Result<()>> {
        self.helper.as_ref().map(|helper| helper.ask(&[what]).map(drop))
    }

    /// The same keychain, for use while a lock is held: it never opens a dialog, so that nobody waits
    /// for a person who holds a lock. (tests/rekey.rs: `no_dialog_is_opened_while_a_lock_is_held`)
    pub(crate) fn without_dialogs(&self) -> Keychain {
        let mut keychain = self.clone();
        keychain.patience.person = Duration::ZERO;
        keychain.patience.on_dialog = || {};
        keychain
    }

    /// The same keychain with the user's lock, which one process at a time has, and which is released
    /// on drop; it opens no dialog. Waits for a few seconds for another process to let go of it.
    ///
    /// On Linux the lock is a name on the session bus, so that it belongs to the keychain and not to a
    /// directory: every `lf` that reaches this keychain competes for the same name, whatever its HOME
    /// and its other variables say. Everything goes over the connection that has the name, and nothing
    /// takes its place, so that a bus which was restarted, and has forgotten the name, fails the write.
    /// Elsewhere it is a file lock in the user's own temporary directory.
    /// (tests/keychain.rs: `a_bus_that_forgets_the_lock_fails_the_write`)
    pub(crate) fn lock(&self) -> Result<Keychain> {
        let mut keychain = self.without_dialogs();
        let held = platform::Held::take(&keychain, Deadline::after(LOCK_PATIENCE))?;
        let busy = || {
            Error::Refused {
            sentence: "another process is changing the master passphrase in the keychain; this command changed nothing".to_owned(),
            hint: "wait until it has ended (lf keys doctor tells the result), and run this command again".to_owned(),
        }
        };
        keychain.held = Some(Arc::new(held.ok_or_else(busy)?));
        Ok(keychain)
    }

    /// The secret, or `None` if a keychain that works has none.
    ///
    /// # Errors
    /// [`Error::KeychainUnavailable`] with what was tried; never later than [`Patience`] says.
    pub fn find(&self, service: &str, account: &str) -> Result<Option<Secret>> {
        if let Some(helper) = &self.helper {
            let word = if self.patience.person.is_zero() { "silently" } else { "entry" };
            return helper.ask(&[word, service, account]);
        }
        let not_text = || format!("the entry {service}/{account} is not UTF-8 text");
        let not_text = || Error::KeychainUnavailable(not_text());
        let found = self.ask(service, account, Entry::get_secret)?;
        found.map(|bytes| Secret::from_bytes(bytes).ok_or_else(not_text)).transpose()
    }

    /// Stores the secret; one that is there already is replaced.
    ///
    /// # Errors
    /// As [`Keychain::find`].
    pub fn store(&self, service: &str, account: &str, secret: &Secret) -> Result<()> {
        let secret = Zeroizing::new(secret.expose().as_bytes().to_vec());
        let stored = self.ask(service, account, move |entry| entry.set_secret(&secret))?;
        stored.ok_or_else(|| self.unavailable("it was not stored"))
    }

    /// Deletes the secret; `false` if there was none.
    ///
    /// # Errors
    /// As [`Keychain::find`].
    pub fn delete(&self, service: &str, account: &str) -> Result<bool> {
        Ok(self.ask(service, account, Entry::delete_credential)?.is_some())
    }

    /// Is there no keychain at all? One that is locked, or does not answer, is one.
    pub(crate) fn is_absent(&self) -> bool {
        if let Some(helper) = &self.helper {
            return matches!(helper.ask(&["absent"]), Ok(Some(_)));
        }
        platform::is_absent(self)
    }

    /// `None` if there is no such entry; otherwise what was tried, and why it failed.
    fn ask<T: Send + 'static>(
        &self,
        service: &str,
        account: &str,
        act: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        match platform::ask(self, service, account, act) {
            Ok(value) => Ok(Some(value)),
            Err(Refusal::NoEntry) => Ok(None),
            Err(Refusal::NoStorageAccess(cause) | Refusal::PlatformFailure(cause)) => {
                Err(self.unavailable(cause))
            }
            Err(other) => Err(self.unavailable(other)),
        }
    }

    fn unavailable(&self, reason: impl fmt::Display) -> Error {
        Error::KeychainUnavailable(format!("{}: {reason}", platform::name(self)))
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keychain(..)")
    }
}

const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

#[cfg(test)]
pub(crate) mod tests;
