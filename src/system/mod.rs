//! The platform: files, the process, the terminal, programs, service managers, and the one unsafe room.

pub(crate) mod environment;
pub(crate) mod fs;
pub(crate) mod host;
pub(crate) mod kernel;
pub(crate) mod program;
pub(crate) mod service;
pub(crate) mod stream;
pub(crate) mod term;

pub(crate) use self::environment::{Environment, Sources};
pub(crate) use self::fs::{Dir, Locked, Publish};
