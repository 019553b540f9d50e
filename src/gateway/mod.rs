//! The loopback gateway: HTTP, who may ask, pairings, the API, the page and the sandbox.

#[cfg(unix)]
pub mod api;
#[cfg(unix)]
pub mod connections;
#[cfg(unix)]
pub mod consent;
#[cfg(unix)]
pub mod diagnosis;
#[cfg(unix)]
pub mod guard;
#[cfg(unix)]
pub mod http;
pub mod origin;
#[cfg(unix)]
pub mod page;
pub mod pairing;
#[cfg(unix)]
pub mod precondition;
#[cfg(unix)]
pub mod probe;
#[cfg(unix)]
pub mod sandbox;
#[cfg(unix)]
pub mod server;

#[cfg(unix)]
pub use server::{Gateway, Lifetime, listen};
