//! What no safe wrapper of the system's calls offers: the one room with `unsafe`.
#![allow(unsafe_code)]

pub(crate) mod clock;
#[cfg(target_os = "linux")]
pub(crate) mod fork;
#[cfg(target_os = "linux")]
pub(crate) mod inherit;
#[cfg(target_os = "linux")]
pub(crate) mod landlock;
pub(crate) mod memory;
#[cfg(target_os = "linux")]
pub(crate) mod seccomp;
#[cfg(unix)]
pub(crate) mod signal;
#[cfg(unix)]
pub(crate) mod terminal;
