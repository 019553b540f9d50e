//! What `keyring-core` asks of a store and its entries, passed on to the platform's store.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use keyring_core::api::{Credential, CredentialApi, CredentialStoreApi};
use keyring_core::{Entry, Error, Result};

use super::platform::Store;

/// One entry, there or not.
#[derive(Debug)]
struct Item {
    store: Store,
    service: String,
    account: String,
}

impl CredentialStoreApi for Store {
    fn vendor(&self) -> String {
        "lf".to_owned()
    }

    fn id(&self) -> String {
        self.to_string()
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

impl CredentialApi for Item {
    fn get_secret(&self) -> Result<Vec<u8>> {
        let found = self.store.find(&self.service, &self.account)?;
        found.ok_or(Error::NoEntry)
    }

    fn set_secret(&self, secret: &[u8]) -> Result<()> {
        self.store.replace(&self.service, &self.account, secret)
    }

    fn delete_credential(&self) -> Result<()> {
        match self.store.delete(&self.service, &self.account)? {
            true => Ok(()),
            false => Err(Error::NoEntry),
        }
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
