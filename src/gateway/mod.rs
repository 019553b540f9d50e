//! The loopback gateway: HTTP, the guard, pairings, the API, the page and the sandbox.

#[cfg(unix)]
pub(crate) mod api;
#[cfg(unix)]
pub(crate) mod connections;
#[cfg(unix)]
pub(crate) mod consent;
#[cfg(unix)]
pub(crate) mod guard;
#[cfg(unix)]
pub(crate) mod helper;
#[cfg(unix)]
pub(crate) mod http;
#[cfg(unix)]
pub(crate) mod openapi;
pub(crate) mod origin;
#[cfg(unix)]
pub(crate) mod page;
pub(crate) mod pairing;
#[cfg(unix)]
pub(crate) mod precondition;
#[cfg(unix)]
pub(crate) mod probe;
#[cfg(unix)]
pub(crate) mod sandbox;
#[cfg(unix)]
pub(crate) mod server;
pub(crate) mod state;

#[cfg(unix)]
pub(crate) use server::{Gateway, is_own, listen, unusable};
