//! The encrypted key store behind `lf`.
//!
//! The rooms follow, each importing only those above it (tests/architecture.rs).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod error;
pub mod memory;
pub mod secret;
pub mod time;

pub mod crew;
pub mod rng;

pub mod key;

pub mod fs;

pub mod audit;
pub mod envelope;

pub mod keychain;

pub mod passphrase;

pub mod store;

