//! The encrypted key store behind `lf`: what a program that wants a key uses.
//!
//! ```no_run
//! use local_keys::host::Environment;
//! use local_keys::keychain::{Keychain, Patience};
//! use local_keys::store::Store;
//!
//! let environment = Environment::read();
//! let store = Store::at(environment.keys()?);
//! let keychain = Keychain::new(environment.bus.clone(), Patience::SHORT);
//! let master = local_keys::passphrase::find(&environment.passphrase, &keychain)?;
//! let value = store.resolve(&store.select("Prod")?, &master)?;
//! assert!(value.expose().starts_with("sk-"));
//! # Ok::<(), local_keys::error::Error>(())
//! ```
//!
//! The rooms follow, each importing only those above it (tests/architecture.rs).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod error;
pub mod kernel;
pub mod secret;
pub mod time;

pub mod archive;
pub mod bucket;
pub mod crew;
pub mod dotenv;
pub mod origin;
pub mod provider;
pub mod rng;
pub mod sheet;
pub mod shell;
pub mod width;

pub mod key;

pub mod fs;

pub mod audit;
pub mod envelope;
pub mod predecessor;

pub mod history;
pub mod keychain;
pub mod staging;

pub mod passphrase;

pub mod store;

pub mod index;

pub mod pairing;

pub mod rekey;

pub mod doctor;

#[cfg(unix)]
pub mod gateway;

pub mod service;

pub mod host;

pub mod program;
