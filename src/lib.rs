//! The encrypted key store behind `lf`, for a program that wants a key from it without running `lf`.
//!
//! ```
//! use local_keys::{Environment, Keychain, Patience, Store, find_passphrase};
//!
//! # let dir = std::env::temp_dir().join(format!("local-keys-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//! # let envelope = r#"{"v":1,"alg":"aes-256-gcm","kdf":"scrypt","salt":"4+9eAIBndK7VU74ZxiFwOA==",
//! #   "iv":"WJHevs3gYgrRix5a","tag":"WCD2iABqsfNFDtAb2BcIBA==",
//! #   "ciphertext":"kIseSL7sts/9WzdcY0kxyN5lRnL6pGAiTaeZLFIi5wo2TcfBjxL4Gi1QzqY=",
//! #   "meta":{"id":"mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-","provider":"openai","label":"Prod",
//! #   "createdAt":"2026-01-02T03:04:05.678Z"}}"#;
//! # std::fs::write(dir.join("mRSmhcH5ez4kSwWRlDoszXPnp95sOZ6-.json"), envelope)?;
//! # let keys = dir.clone();
//! // `Environment::read()` takes the variables of this process instead.
//! let environment = Environment::of(move |name| match name {
//!     "LENSERFIGHT_KEYS_DIR" => Some(keys.clone().into()),
//!     "LENSERFIGHT_KEYS_PASSPHRASE" => Some("correct horse battery staple".into()),
//!     "LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV" => Some("1".into()),
//!     _ => None,
//! });
//! let keychain = Keychain::new(&environment, Patience::SHORT);
//! let master = find_passphrase(&environment, &keychain)?;
//!
//! let store = Store::at(environment.keys()?);
//! let value = store.resolve(&store.select("Prod")?, &master)?;
//! assert!(value.expose().starts_with("sk-proj-"));
//!
//! let missing = store.select("Staging").unwrap_err();
//! assert_eq!((missing.code(), missing.exit_code()), ("key_not_found", 1));
//! assert_eq!(missing.hint().as_deref(), Some("lf keys list"));
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A key derivation takes about a tenth of a second and 32 MiB; [`Store::resolve`] does one, and waits
//! while as many as there are cores are running. Nothing here writes to the store or to its audit log.
//! The allocator of `lf`, which wipes all memory that is freed, is not part of this.
//!
//! A folder imports only the folders above it in this list (tests/architecture.rs).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;

mod base;

mod system;

mod keychain;

mod vault;

mod gateway;

mod cloud;

mod cli;

/// What reads bytes from outside, for tests/fuzz.
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzz/targets/mod.rs"]
pub mod fuzz;

pub use base::secret::Secret;
pub use error::{Error, Result};
pub use keychain::{Keychain, Patience};
pub use system::environment::Environment;
pub use vault::key::KeyId;
pub use vault::master::source::Master;
pub use vault::store::Store;

#[doc(hidden)]
pub use cli::main;

/// Looks for the master passphrase where `lf` does: in the keychain, and in `LENSERFIGHT_KEYS_PASSPHRASE`,
/// the file that `LENSERFIGHT_KEYS_PASSPHRASE_FILE` names, or the systemd credential
/// `lenserfight-keys-passphrase`. With `LENSERFIGHT_KEYS_PASSPHRASE_FORCE_ENV=1` the keychain is not asked.
///
/// It takes no longer than the keychain's [`Patience`], and tries the passphrase on nothing.
///
/// # Errors
/// [`Error::PassphraseMissing`] if there is none; [`Error::PassphraseConflict`] if both have one;
/// [`Error::KeychainUnavailable`] if the keychain does not answer and the variables have none;
/// [`Error::PassphraseInvalid`] for one that is not text, or in a file that others can read;
/// [`Error::Usage`] if two variables give one.
pub fn find_passphrase(environment: &Environment, keychain: &Keychain) -> Result<Master> {
    vault::master::source::find(&environment.passphrase, keychain)
}

/// The gateway's sandbox, for the test that attacks from inside.
#[doc(hidden)]
pub mod sandbox {
    pub use crate::gateway::sandbox::enter;
}

/// The allocator of `lf`, for its binary and the tests of the allocator.
#[doc(hidden)]
pub mod memory {
    pub use crate::system::kernel::memory::{Paged, Wiping};
}
