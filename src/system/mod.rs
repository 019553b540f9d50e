//! The platform: files, the process, the terminal, programs, service managers, and the one unsafe room.

pub mod environment;
pub mod fs;
pub mod host;
pub mod kernel;
pub mod program;
pub mod service;
pub mod term;
