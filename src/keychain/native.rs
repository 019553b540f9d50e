//! The keyring project's own stores: macOS Keychain and Windows Credential Manager.
//!
//! They may wait for a dialog as long as they like, so each operation runs on a thread of its own
//! and is given up when the time is over.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;

use keyring_core::api::{Credential, CredentialApi, CredentialStore, CredentialStoreApi};
use keyring_core::{Entry, Error as Refusal, Result};

use super::Patience;
use crate::system::host::Bus;

/// The platform's store, with our patience.
#[derive(Clone, Debug)]
pub(super) struct Store {
    patience: Patience,
}

#[derive(Debug)]
struct Item {
    store: Store,
    service: String,
    account: String,
}

impl Store {
    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    pub(super) fn with(&self, patience: Patience) -> Store {
        Store { patience }
    }

    pub(super) fn new(_: Bus, patience: Patience) -> Store {
        Store { patience }
    }

    /// Every one of these systems has a keychain.
    #[allow(clippy::unused_self)] // as the Secret Service has it
    pub(super) fn is_absent(&self) -> bool {
        false
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

impl CredentialStoreApi for Store {
    fn vendor(&self) -> String {
        "lf".to_owned()
    }

    fn id(&self) -> String {
        NAME.to_owned()
    }

    fn build(
        &self,
        service: &str,
        account: &str,
        _: Option<&HashMap<&str, &str>>,
    ) -> Result<Entry> {
        let item = Item {
            store: self.clone(),
            service: service.to_owned(),
            account: account.to_owned(),
        };
        Ok(Entry::new_with_credential(Arc::new(item)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Item {
    fn in_time<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Entry) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (service, account) = (self.service.clone(), self.account.clone());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let done = entry(&service, &account).and_then(|entry| work(&entry));
            // Nobody listens any more when the time is over.
            let _ = sender.send(done);
        });
        let patience = self.store.patience.service.max(self.store.patience.person);
        receiver
            .recv_timeout(patience)
            .unwrap_or_else(|_| Err(Refusal::NoStorageAccess("no answer in time".into())))
    }
}

impl CredentialApi for Item {
    fn get_secret(&self) -> Result<Vec<u8>> {
        self.in_time(Entry::get_secret)
    }

    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        let secret = zeroize::Zeroizing::new(secret.to_vec());
        self.in_time(move |entry| entry.set_secret(&secret))
    }

    fn delete_credential(&self) -> Result<()> {
        self.in_time(Entry::delete_credential)
    }

    fn get_credential(&self) -> Result<Option<Arc<Credential>>> {
        self.get_secret().map(|_| None)
    }

    fn get_specifiers(&self) -> Option<(String, String)> {
        Some((self.service.clone(), self.account.clone()))
    }

    fn as_any(&self) -> &dyn Any {
        self
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
    store.build(
        service,
        account,
        Some(&HashMap::from([("target", target.as_str())])),
    )
}

#[cfg(target_os = "macos")]
const NAME: &str = "the macOS Keychain";
#[cfg(windows)]
const NAME: &str = "the Windows Credential Manager";
