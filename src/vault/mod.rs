//! What decides about secrets: keys, their envelopes, the store of them and its master passphrase.

pub(crate) mod audit;
pub(crate) mod doctor;
pub(crate) mod dotenv;
pub(crate) mod envelope;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) mod key;
pub(crate) mod master;
pub(crate) mod predecessor;
pub(crate) mod project;
pub(crate) mod provider;
pub(crate) mod sheet;
pub(crate) mod store;

pub(crate) use self::audit::Kind;
pub(crate) use self::envelope::Envelope;
pub(crate) use self::files::KeyFile;
pub(crate) use self::key::{KeyId, KeyMeta, Label, Provider};
pub(crate) use self::master::record::Record;
pub(crate) use self::master::source::{Master, Origin};
pub(crate) use self::master::survey::{Opens, Survey};
pub(crate) use self::store::{Listing, Store};

#[cfg(test)]
pub(crate) mod tests;
