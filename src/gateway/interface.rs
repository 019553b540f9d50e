//! The interfaces through which Tailscale reaches this machine: up, with an address of its range.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use crate::error::{Error, Result};
use crate::gateway::origin::is_cgnat;

/// An IPv4 address, and the interface that has it. Written `name:address/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// The address.
    pub address: Ipv4Addr,
    /// How many of its bits name the network.
    pub prefix: u8,
}

/// Those of 100.64.0.0/10 that are up. A provider's own CGNAT looks the same.
///
/// # Errors
/// What the system says; on other systems than Linux, that it is not for them.
pub fn live() -> Result<Vec<Interface>> {
    let failed = |error| Error::from_io("list", "the network interfaces".as_ref(), error);
    let mut live = list().map_err(failed)?;
    live.retain(|interface| is_cgnat(interface.address));
    Ok(live)
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.name, self.address, self.prefix)
    }
}

#[cfg(target_os = "linux")]
fn list() -> io::Result<Vec<Interface>> {
    super::rtnetlink::list()
}

#[cfg(not(target_os = "linux"))]
fn list() -> io::Result<Vec<Interface>> {
    let sentence = "lf can do that on Linux only";
    Err(io::Error::new(io::ErrorKind::Unsupported, sentence))
}
