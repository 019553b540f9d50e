//! What no safe wrapper of the system's calls offers: the one room with `unsafe`.
#![allow(unsafe_code)]

#[cfg(unix)]
use std::io;

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
#[cfg(target_os = "macos")]
pub(crate) mod trace;

/// What a system call answered; less than zero is an error.
#[cfg(unix)]
fn checked<T: PartialOrd + Default>(answer: T) -> io::Result<T> {
    if answer < T::default() { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
