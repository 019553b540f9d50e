//! What no safe wrapper of the system's calls offers: the one room with `unsafe`.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
pub mod inherit;
pub mod landlock;
pub mod memory;
#[cfg(unix)]
pub mod signal;
