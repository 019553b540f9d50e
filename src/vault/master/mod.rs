//! The master passphrase: where it comes from, what the keychain has on record, and how it changes.
//!
//! The promise: every key opens with the passphrase that is configured, whatever is killed, stopped
//! or run beside it, in this directory of keys or in another one on the same keychain. It rests on
//! these rules:
//!
//! 1. Nothing is sealed under a passphrase that opens nothing in a store that has keys ([`evidence`]).
//! 2. `master` in the keychain is replaced by one function, which first puts it on record ([`record`]).
//! 3. What belongs to one store is named after it: the next passphrase of a rekey has an account of
//!    its own, and its envelopes lie in the store's own `.rekey/` (`staging`, `change`, [`rekey`]).
//! 4. No lock is held while a person is asked.

mod change;
pub(crate) mod evidence;
pub(crate) mod record;
pub(crate) mod rekey;
pub(crate) mod source;
pub(crate) mod staging;
pub(crate) mod survey;

#[cfg(test)]
mod tests;
