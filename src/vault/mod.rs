//! What decides about secrets: keys, their envelopes, the store of them and its master passphrase.

pub mod audit;
pub mod doctor;
pub mod dotenv;
pub mod envelope;
pub mod history;
pub mod key;
pub mod master;
pub mod predecessor;
pub mod provider;
pub mod sheet;
pub mod store;
