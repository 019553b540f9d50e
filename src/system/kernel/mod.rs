//! What no safe wrapper of the system's calls offers: the one room with `unsafe`.
#![allow(unsafe_code)]

use std::io;

#[cfg(windows)]
pub(crate) mod acl;
pub(crate) mod clock;
#[cfg(windows)]
pub(crate) mod console;
#[cfg(windows)]
pub(crate) use console as signal;
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
#[cfg(windows)]
pub(crate) mod windows;
#[cfg(windows)]
pub(crate) mod winsock;

/// What a system call answered; less than zero is an error.
#[cfg(unix)]
fn checked<T: PartialOrd + Default>(answer: T) -> io::Result<T> {
    if answer < T::default() { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// What a system call answered; zero is an error.
#[cfg(windows)]
fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
