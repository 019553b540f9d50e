//! The keyring project's own stores: macOS Keychain and Windows Credential Manager.
//!
//! They may wait for a dialog as long as they like, so each operation runs on a thread of its own
//! and is given up when the time is over.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;

use keyring_core::api::CredentialStore;
use keyring_core::{Entry, Error as Refusal, Result};
use zeroize::Zeroizing;

use super::Patience;
use crate::system::environment::Bus;

/// The platform's store, with our patience.
#[derive(Clone, Debug)]
pub(super) struct Store {
    pub(super) patience: Patience,
}

impl Store {
    pub(super) fn new(_: Bus, patience: Patience) -> Store {
        Store { patience }
    }

    /// Every one of these systems has a keychain.
    #[allow(clippy::unused_self)] // as the Secret Service has it
    pub(super) fn is_absent(&self) -> bool {
        false
    }

    pub(super) fn find(&self, service: &str, account: &str) -> Result<Option<Vec<u8>>> {
        self.in_time(service, account, Entry::get_secret)
    }

    pub(super) fn replace(&self, service: &str, account: &str, secret: &[u8]) -> Result<()> {
        let secret = Zeroizing::new(secret.to_vec());
        let stored = self.in_time(service, account, move |entry| entry.set_secret(&secret));
        stored?.ok_or(Refusal::NoEntry)
    }

    pub(super) fn delete(&self, service: &str, account: &str) -> Result<bool> {
        let deleted = self.in_time(service, account, Entry::delete_credential)?;
        Ok(deleted.is_some())
    }

    /// What the work gives; `None` if there is no such entry.
    fn in_time<T: Send + 'static>(
        &self,
        service: &str,
        account: &str,
        work: impl FnOnce(&Entry) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (service, account) = (service.to_owned(), account.to_owned());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let done = entry(&service, &account).and_then(|entry| work(&entry));
            // Nobody listens any more when the time is over.
            let _ = sender.send(done);
        });
        let patience = self.patience.service.max(self.patience.person);
        match receiver.recv_timeout(patience) {
            Ok(Err(Refusal::NoEntry)) => Ok(None),
            Ok(done) => done.map(Some),
            Err(_) => Err(Refusal::NoStorageAccess("no answer in time".into())),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[cfg(target_os = "macos")]
fn entry(service: &str, account: &str) -> Result<Entry> {
    let store: Arc<CredentialStore> = apple_native_keyring_store::keychain::Store::new()?;
    store.build(service, account, None)
}

/// keytar's target name, so that its entries are found.
#[cfg(windows)]
fn entry(service: &str, account: &str) -> Result<Entry> {
    let store: Arc<CredentialStore> = windows_native_keyring_store::Store::new()?;
    let target = format!("{service}/{account}");
    let modifiers = [("target", target.as_str())].into();
    store.build(service, account, Some(&modifiers))
}

#[cfg(target_os = "macos")]
const NAME: &str = "the macOS Keychain";
#[cfg(windows)]
const NAME: &str = "the Windows Credential Manager";
