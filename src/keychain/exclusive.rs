//! One process of this user at a time: the lock under which the master passphrase is replaced.
//!
//! On Linux the lock is a name on the session bus, so that it belongs to the keychain and not to a
//! directory: every `lf` that reaches this keychain competes for the same name, whatever its HOME and
//! its other variables say, and the bus frees the name when the process ends (D-Bus specification,
//! `RequestName`). Elsewhere it is a file lock in the user's own temporary directory.

use std::thread;
use std::time::Duration;

use super::Keychain;
use crate::base::time::Deadline;
use crate::error::{Error, Result};

#[cfg(not(any(target_os = "macos", windows)))]
use bus as platform;
#[cfg(any(target_os = "macos", windows))]
use file as platform;

/// The lock, released on drop.
pub(crate) struct Exclusive {
    held: platform::Held,
}

impl Exclusive {
    /// Waits for a few seconds for another process to let go of it.
    pub(super) fn take(keychain: &Keychain) -> Result<Exclusive> {
        let mut held = platform::open(keychain)?;
        let deadline = Deadline::after(PATIENCE);
        loop {
            if held.claim(keychain)? {
                return Ok(Exclusive { held });
            }
            if deadline.left().is_none() {
                return Err(Error::Refused {
                    sentence: "another process is changing the master passphrase in the keychain; nothing was changed here".to_owned(),
                    hint: "wait for it to end (lf keys doctor tells how it went), and then the same command again".to_owned(),
                });
            }
            thread::sleep(PAUSE);
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

#[cfg(not(any(target_os = "macos", windows)))]
mod bus {
    use super::super::Keychain;
    use super::super::dbus::{BUS, Connection, Failure};
    use super::super::wire::Body;
    use crate::base::time::Deadline;
    use crate::error::{Error, Result};

    pub(super) struct Held {
        connection: Connection,
    }

    pub(super) fn open(keychain: &Keychain) -> Result<Held> {
        let deadline = Deadline::after(keychain.store.patience.service);
        let connection = Connection::open(&keychain.store.bus, deadline);
        let connection = connection.map_err(|failure| unavailable(keychain, &failure))?;
        Ok(Held { connection })
    }

    impl Held {
        /// Takes the name, or finds that this connection has it; `false` if another one has it.
        pub(super) fn claim(&mut self, keychain: &Keychain) -> Result<bool> {
            self.connection.deadline = Deadline::after(keychain.store.patience.service);
            let arguments = Body::new("su").string(NAME).uint32(DO_NOT_QUEUE);
            self.connection
                .call(&BUS, "RequestName", &arguments)
                .and_then(|reply| Ok(reply.body("u")?.uint32()?))
                .map(|reply| matches!(reply, PRIMARY_OWNER | ALREADY_OWNER))
                .map_err(|failure| unavailable(keychain, &failure))
        }
    }

    fn unavailable(keychain: &Keychain, failure: &Failure) -> Error {
        Error::KeychainUnavailable(format!("{keychain}: {failure}"))
    }

    const NAME: &str = "com.lenserfight.lf.Master";
    const DO_NOT_QUEUE: u32 = 4;
    const PRIMARY_OWNER: u32 = 1;
    const ALREADY_OWNER: u32 = 4;
}

#[cfg(any(target_os = "macos", windows))]
mod file {
    use super::super::Keychain;
    use crate::error::Result;
    use crate::system::fs::{Dir, Locked};

    pub(super) struct Held {
        dir: Dir,
        lock: Option<Locked>,
    }

    /// On these systems the temporary directory is the user's own.
    pub(super) fn open(_: &Keychain) -> Result<Held> {
        let dir = Dir::create(&std::env::temp_dir().join("lenserfight-lock"))?;
        Ok(Held { dir, lock: None })
    }

    impl Held {
        pub(super) fn claim(&mut self, _: &Keychain) -> Result<bool> {
            if self.lock.is_none() {
                self.lock = self.dir.try_lock()?;
            }
            Ok(self.lock.is_some())
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
