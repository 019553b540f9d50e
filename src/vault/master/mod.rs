//! The master passphrase: where it comes from, and how it changes.

pub mod passphrase;
pub mod rekey;
pub mod staging;
