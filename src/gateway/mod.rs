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
#[cfg(unix)]
pub mod interface;
pub mod origin;
#[cfg(unix)]
pub mod page;
pub mod pairing;
#[cfg(unix)]
pub mod precondition;
#[cfg(unix)]
pub mod probe;
#[cfg(target_os = "linux")]
mod rtnetlink;
#[cfg(unix)]
pub mod sandbox;
#[cfg(unix)]
pub mod server;

#[cfg(unix)]
pub use server::{Gateway, Lifetime, listen};
