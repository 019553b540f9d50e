//! The gateway's directory, and the JSON files in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use miniserde::{Deserialize, json};

use crate::error::Result;
use crate::system::fs::{Dir, Publish};

/// The gateway's directory, below the root.
pub(crate) fn dir(root: &Path) -> PathBuf {
    root.join("gateway")
}

/// What a file in a directory says: `None` if there is no such file, and `Some(None)` if it is not
/// JSON of this shape, or longer than [`MAX`] bytes.
pub(crate) fn read<T: Deserialize>(dir: &Path, name: &str) -> Result<Option<Option<T>>> {
    let Some(dir) = Dir::open(dir)? else { return Ok(None) };
    let bytes = dir.read(name, MAX)?;
    Ok(bytes.map(|bytes| parse(&bytes).filter(|_| bytes.len() <= MAX)))
}

pub(crate) fn parse<T: Deserialize>(bytes: &[u8]) -> Option<T> {
    json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

/// Records where a gateway listens, unless the directory is locked. A reader has to ask whether
/// one answers there.
pub(crate) fn record(dir: &Path, address: SocketAddr) -> Result<()> {
    Dir::create(dir)?.try_lock()?.map_or(Ok(()), |dir| {
        dir.publish(LISTENING, address.to_string().as_bytes(), Publish::Replacement)
    })
}

/// Where the last gateway to start listened.
pub(crate) fn recorded(dir: &Path) -> Option<SocketAddr> {
    let text = Dir::open(dir).ok()??.read(LISTENING, 100).ok()??;
    std::str::from_utf8(&text).ok()?.parse().ok()
}

const LISTENING: &str = "listening";
/// A file that the predecessor or a person wrote has a few hundred.
const MAX: usize = 64 * 1024;
