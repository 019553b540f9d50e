//! The keyring project's own stores: macOS Keychain and Windows Credential Manager.
//!
//! They may wait for a dialog as long as they like, so each operation runs on a thread of its own
//! and is given up when the time is over. The thread and the dialog stay until a person answers;
//! so nothing more is asked before that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use keyring_core::api::CredentialStore;
use keyring_core::{Entry, Error as Refusal, Result as Answer};

use super::{Keychain, LOCK_PAUSE};
use crate::base::time::Deadline;
use crate::error::Result;
use crate::system::fs::{Dir, Locked};

/// What the act comes to on this entry, in time.
pub(super) fn ask<T: Send + 'static>(
    keychain: &Keychain,
    service: &str,
    account: &str,
    act: impl FnOnce(&Entry) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let (service, account) = (service.to_owned(), account.to_owned());
    let (patience, is_asking) = (keychain.patience, Arc::clone(&keychain.line));
    let too_late = |reason: &str| Err(Refusal::NoStorageAccess(reason.to_owned().into()));
    let take_turn = || Answer::Ok((!is_asking.swap(true, Ordering::AcqRel)).then_some(()));
    if Deadline::after(patience.service).poll(LOCK_PAUSE, take_turn)?.is_none() {
        return too_late("it still waits for an earlier answer");
    }
    let (sender, receiver) = mpsc::channel();
    let asked = thread::Builder::new().spawn(move || {
        let done = entry(&service, &account).and_then(|entry| act(&entry));
        is_asking.store(false, Ordering::Release);
        // Nobody listens any more when the time is over.
        let _ = sender.send(done);
    });
    asked.map_err(|error| Refusal::NoStorageAccess(error.into()))?;
    // That there is a dialog shows in nothing but the time that the answer takes.
    let answer = receiver.recv_timeout(AT_ONCE).or_else(|_| {
        (patience.on_dialog)();
        receiver.recv_timeout(patience.service.max(patience.person))
    });
    answer.unwrap_or_else(|_| too_late("no answer in time"))
}

/// Is a question on its way?
pub(super) type Line = AtomicBool;
/// A keychain that asks nobody answers in this time.
const AT_ONCE: Duration = Duration::from_millis(500);

#[cfg(target_os = "macos")]
fn entry(service: &str, account: &str) -> Answer<Entry> {
    let store: Arc<CredentialStore> = apple_native_keyring_store::keychain::Store::new()?;
    store.build(service, account, None)
}

/// keytar's target name, so that its entries are found.
#[cfg(windows)]
fn entry(service: &str, account: &str) -> Answer<Entry> {
    let store: Arc<CredentialStore> = windows_native_keyring_store::Store::new()?;
    let target = format!("{service}/{account}");
    let modifiers = [("target", target.as_str())].into();
    store.build(service, account, Some(&modifiers))
}

/// Every one of these systems has a keychain.
pub(super) fn is_absent(_: &Keychain) -> bool {
    false
}

pub(super) fn name(_: &Keychain) -> String {
    if cfg!(windows) {
        "the Windows Credential Manager".to_owned()
    } else {
        "the macOS Keychain".to_owned()
    }
}

/// The user's lock: a file in the temporary directory, which is the user's own on these systems.
pub(super) struct Held(#[allow(dead_code)] Locked);

impl Held {
    /// `None` if another process has it until the deadline.
    pub(super) fn take(_: &Keychain, deadline: Deadline) -> Result<Option<Held>> {
        let dir = Dir::create(&std::env::temp_dir().join("lenserfight-lock"))?;
        Ok(deadline.poll(LOCK_PAUSE, || dir.try_lock())?.map(Held))
    }
}
