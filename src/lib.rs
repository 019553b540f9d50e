//! The encrypted key store behind `lf`: what a program that wants a key uses.
//!
//! ```no_run
//! use local_keys::system::host::Environment;
//! use local_keys::keychain::{Keychain, Patience};
//! use local_keys::vault::store::Store;
//!
//! let environment = Environment::read();
//! let store = Store::at(environment.keys()?);
//! let keychain = Keychain::new(environment.bus.clone(), Patience::SHORT);
//! let master = local_keys::vault::master::source::find(&environment.passphrase, &keychain)?;
//! let value = store.resolve(&store.select("Prod")?, &master)?;
//! assert!(value.expose().starts_with("sk-"));
//! # Ok::<(), local_keys::error::Error>(())
//! ```
//!
//! A folder imports only the folders above it in this list (tests/architecture.rs).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod error;

pub mod base;

pub mod system;

pub mod keychain;

pub mod vault;

pub mod gateway;

mod cli;

pub use cli::main;
