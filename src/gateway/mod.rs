//! The loopback gateway: HTTP, the guard, pairings, the API, the page and the sandbox.

pub(crate) mod api;
pub(crate) mod connections;
pub(crate) mod consent;
pub(crate) mod guard;
pub(crate) mod helper;
pub(crate) mod http;
pub(crate) mod openapi;
pub(crate) mod origin;
pub(crate) mod page;
pub(crate) mod pairing;
pub(crate) mod precondition;
pub(crate) mod probe;
pub(crate) mod sandbox;
pub(crate) mod server;
pub(crate) mod state;

pub(crate) use self::origin::{EXTRA_HOSTS, EXTRA_ORIGINS, Hosts, Origins};
pub(crate) use self::pairing::{ACTS, Pairing, Pairings};

pub(crate) use server::{Gateway, is_own, listen, unusable};
