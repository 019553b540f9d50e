//! One process of this user at a time: the lock under which the master passphrase is replaced.
//!
//! On Linux the lock is a name on the session bus, so that it belongs to the keychain and not to a
//! directory: every `lf` that reaches this keychain competes for the same name, whatever its HOME and
//! its other variables say, and the bus frees the name when the process ends (D-Bus specification,
//! `RequestName`). Elsewhere it is a file lock in the user's own temporary directory.

use std::time::Duration;

use super::{Keychain, platform};
use crate::base::time::Deadline;
use crate::error::{Error, Result};

/// The lock, released on drop.
pub(crate) struct Exclusive {
    held: platform::Held,
}

impl Exclusive {
    /// Waits for a few seconds for another process to let go of it.
    pub(super) fn take(keychain: &Keychain) -> Result<Exclusive> {
        let mut held = platform::Held::open(keychain)?;
        let claim = || Ok(held.claim(keychain)?.then_some(()));
        match Deadline::after(PATIENCE).poll(PAUSE, claim)? {
            Some(()) => Ok(Exclusive { held }),
            None => Err(Error::Refused {
                sentence: "another process is changing the master passphrase in the keychain; nothing was changed here".to_owned(),
                hint: "wait for it to end (lf keys doctor tells how it went), and then the same command again".to_owned(),
            }),
        }
    }

    /// Is the lock still this process's own? A session bus that was restarted has forgotten it.
    pub(crate) fn confirm(&mut self, keychain: &Keychain) -> Result<()> {
        if self.held.claim(keychain)? {
            return Ok(());
        }
        Err(Error::KeychainUnavailable(
            "the session bus was restarted in the middle; nothing was replaced".to_owned(),
        ))
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
